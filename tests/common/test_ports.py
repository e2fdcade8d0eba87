"""Free ports."""

import socket

import pytest

from common import ports
from common.ports import free_ports


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "", "::1"])
def test_free_ports_differ_and_a_server_may_listen_on_each(host: str) -> None:
    chosen = free_ports(5, host)
    assert len(set(chosen)) == 5
    family, *_, address = socket.getaddrinfo(host or "0.0.0.0", 0, type=socket.SOCK_STREAM)[0]
    for port in chosen:
        with socket.socket(family) as listener:
            listener.bind((address[0], port, *address[2:]))


def test_a_busy_port_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    busy, free = free_ports(2)
    monkeypatch.setattr(ports, "RANGE", [busy, free])
    with socket.create_server(("127.0.0.1", busy)):
        assert free_ports(1) == [free]


def test_another_machine_s_address_has_no_free_ports() -> None:
    with pytest.raises(OSError, match="Cannot assign requested address"):
        free_ports(1, "192.0.2.1")
