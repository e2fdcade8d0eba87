"""Signatures of archives and releases, in the form of OpenSSF model signing with elliptic-curve keys."""
