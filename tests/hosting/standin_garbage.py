"""A broken server: it logs bytes that are no text, and answers bytes that are no HTTP. Its argument is a port."""

import socket
import sys

sys.stdout.buffer.write(b"logged: \xff\xfe\n")
sys.stdout.flush()
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listener:
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"\x00\x01\r\n\r\n")
