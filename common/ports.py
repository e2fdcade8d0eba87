"""Free ports of this machine."""

import errno
import random
import socket
from typing import Any

# Below the ports that systems give to outgoing connections, one of which could take a port before its server listens.
RANGE = range(20_000, 30_000)
ATTEMPTS = 1000


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """Return different ports of an address of this machine that nobody listens on.

    Raises:
        OSError: the host is no address of this machine, or no port is free.
    """
    addresses = socket.getaddrinfo(host or "0.0.0.0", 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, address = addresses[0][0], addresses[0][4]
    ports: set[int] = set()
    for _ in range(ATTEMPTS):
        if len(ports) == count:
            return list(ports)
        port = random.choice(RANGE)
        with socket.socket(family) as probe:
            try:
                probe.bind(at_port(address, port))
            except OSError as error:
                if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                    raise
            else:
                ports.add(port)
    raise OSError(errno.EADDRINUSE, "No free port was found.")


def at_port(address: tuple[Any, ...], port: int) -> tuple[Any, ...]:
    """Return a socket's address, of IPv4 or IPv6, with another port."""
    return (address[0], port, *address[2:])
