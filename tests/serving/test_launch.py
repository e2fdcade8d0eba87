import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from common.ports import free_ports
from handler.files import UserError
from serving.gateway.caddy import Ports
from serving.server.addresses import choose_ports, is_free, reachable_addresses, resolve
from serving.server.launch import HERE


def test_free_ports_are_free_and_differ() -> None:
    ports = free_ports(5)
    assert len(set(ports)) == 5
    assert all(is_free("127.0.0.1", port) for port in ports)


def test_a_busy_port_is_replaced_only_where_that_is_allowed() -> None:
    free = free_ports(2)
    with socket.create_server(("127.0.0.1", 0)) as busy:
        wanted = Ports(busy.getsockname()[1], *free)
        with pytest.raises(UserError, match=f"Port {wanted.rest} is in use"):
            choose_ports("127.0.0.1", wanted, any_port=False)
        chosen = choose_ports("127.0.0.1", wanted, any_port=True)
    assert chosen.rest != wanted.rest
    assert (chosen.grpc, chosen.metrics) == (wanted.grpc, wanted.metrics)


def test_two_equal_ports_are_one_sentence() -> None:
    with pytest.raises(UserError, match="--port and --metrics-port are both 8080"):
        choose_ports("127.0.0.1", Ports(8080, 7070, 8080), any_port=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "::1", "::"])
def test_every_way_to_name_this_machine_has_free_ports_and_busy_ones(host: str) -> None:
    (port,) = free_ports(1, host)
    assert is_free(host, port)
    family, address = resolve(host, port)[0]
    with socket.socket(family) as busy:
        busy.bind(address)
        busy.listen()
        assert not is_free(host, port)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_a_server_of_this_machine_alone_names_no_address_for_others(host: str) -> None:
    assert reachable_addresses(host) == []


def test_an_address_for_others_is_one_that_this_machine_has() -> None:
    own = {address.address for addresses in psutil.net_if_addrs().values() for address in addresses}
    reachable = reachable_addresses("::")
    assert set(reachable) <= own
    assert not any(address.startswith("127.") or address == "::1" for address in reachable)
    outside = [address for address in own if address.count(".") == 3 and not address.startswith("127.")]
    if outside:
        assert any(address in outside for address in reachable_addresses("0.0.0.0"))


@pytest.mark.parametrize("host", ["nowhere.invalid", "203.0.113.1"])
def test_a_host_that_is_not_this_machine_is_one_sentence(host: str) -> None:
    with pytest.raises(UserError, match=f"Cannot listen on {host}"):
        choose_ports(host, Ports(), any_port=False)


def test_the_janitor_leaves_alone_what_has_ended_before() -> None:
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    try:
        lines = f"group {sleeper.pid}\nended {sleeper.pid}\n"
        subprocess.run([sys.executable, str(HERE / "janitor.py")], input=lines, text=True, check=True, timeout=30)
        assert sleeper.poll() is None
    finally:
        sleeper.kill()
        sleeper.wait()


@pytest.mark.parametrize("called_off", [True, False])
def test_the_janitor_ends_what_it_was_told_unless_it_is_called_off(tmp_path: Path, called_off: bool) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    try:
        lines = f"folder {folder}\ngroup {sleeper.pid}\n" + ("done\n" if called_off else "")
        subprocess.run([sys.executable, str(HERE / "janitor.py")], input=lines, text=True, check=True, timeout=30)
        assert folder.exists() is called_off
        if called_off:
            assert psutil.Process(sleeper.pid).is_running()
        else:
            assert sleeper.wait(10) == -9
    finally:
        sleeper.kill()
        sleeper.wait()
