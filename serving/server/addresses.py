"""Addresses and ports: those to listen on, and those by which others reach a server."""

import contextlib
import errno
import itertools
import socket
from dataclasses import replace
from typing import Any

from common.ports import free_ports
from handler.files import UserError
from serving.gateway.caddy import Ports


def bracketed(host: str) -> str:
    """Return a host as it stands before a port: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def resolve(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[Any, ...]]]:
    """Return the addresses that a host to listen on stands for.

    Raises:
        UserError: it stands for none.
    """
    try:
        addresses = socket.getaddrinfo(host or "0.0.0.0", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise UserError(f"Cannot listen on {bracketed(host)}:{port}: {error.strerror}.") from error
    return [(family, address) for family, _, _, _, address in addresses]


def is_free(host: str, port: int) -> bool:
    """Whether nobody listens there.

    Raises:
        UserError: we may not listen there at all, or the host is no address of this machine.
    """
    for family, address in resolve(host, port):
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(address)
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    return False
                raise UserError(f"Cannot listen on {bracketed(host)}:{port}: {error.strerror}.") from error
    return True


def choose_ports(host: str, wanted: Ports, any_port: bool) -> Ports:
    """The wanted ports, each replaced by a free one where it is busy and `any_port` allows.

    Raises:
        UserError: two are the same, or one is busy and must not be replaced.
    """
    named = {"--port": wanted.rest, "--grpc-port": wanted.grpc, "--metrics-port": wanted.metrics}
    for (first, port), (second, other) in itertools.combinations(named.items(), 2):
        if port == other:
            raise UserError(f"{first} and {second} are both {port}: give each a port of its own.")
    busy = [name for name in ("rest", "grpc", "metrics") if not is_free(host, getattr(wanted, name))]
    if busy and not any_port:
        port = getattr(wanted, busy[0])
        raise UserError(f"Port {port} is in use. Choose another (see --help), or take a free one by --any-port.")
    return replace(wanted, **dict(zip(busy, free_ports(len(busy), host), strict=True)))


def reachable_addresses(host: str) -> list[str]:
    """Return this machine's addresses by which others may reach a server that listens on `host`.

    None where it listens on this machine alone. No packet is sent: the kernel says from where it would send one.
    """
    outside = {"": ["192.0.2.1"], "0.0.0.0": ["192.0.2.1"], "::": ["192.0.2.1", "2001:db8::1"]}.get(host, [])
    addresses: list[str] = []
    for target in outside:
        with contextlib.suppress(OSError), socket.socket(resolve(target, 9)[0][0], socket.SOCK_DGRAM) as probe:
            probe.connect((target, 9))
            addresses.append(str(probe.getsockname()[0]))
    if outside:
        with contextlib.suppress(OSError):
            family = socket.AF_UNSPEC if host == "::" else socket.AF_INET
            own = socket.getaddrinfo(socket.gethostname(), None, family, socket.SOCK_STREAM)
            addresses += [str(address[0]) for _, _, _, _, address in own]
    # A scoped address works from one interface only, and loopback from here alone.
    usable = [
        address for address in addresses if not address.startswith("127.") and address != "::1" and "%" not in address
    ]
    return list(dict.fromkeys(usable))
