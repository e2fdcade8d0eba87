"""Operations on pictures, by the decoding that predictions have: the command line's and the server's."""
