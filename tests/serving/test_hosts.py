import socket

import pytest

from handler.files import UserError
from serving.gateway.hosts import check_hosts, hosts_to_check, own_hosts


def test_without_keys_this_machines_names_are_accepted_and_those_that_are_allowed() -> None:
    names = hosts_to_check(["pets.example.org"], has_keys=False)
    assert {"localhost", "pets.example.org"} <= set(names)
    assert set(own_hosts()) <= set(names)
    assert socket.gethostname() in names


def test_with_keys_only_a_list_of_ones_own_is_checked() -> None:
    assert hosts_to_check([], has_keys=True) == ()
    assert "pets.example.org" in hosts_to_check(["pets.example.org"], has_keys=True)


def test_an_asterisk_accepts_every_name() -> None:
    assert hosts_to_check(["*"], has_keys=False) == ()


@pytest.mark.parametrize("name", ["localhost", "a", "a.b-c.example", "*.example.org", "under_score", "xn--3ya.de"])
def test_a_name_is_accepted(name: str) -> None:
    check_hosts([name])


@pytest.mark.parametrize(
    "name", ["", "http://a", "a:80", "a b", "{a}", "a\n", "-a", "a-", "a..b", "*", "*.*.a", "a" * 254, "ä.de", "a/b"]
)
def test_what_is_no_name_is_refused_in_a_sentence(name: str) -> None:
    with pytest.raises(UserError, match="is not a host name"):
        check_hosts([name])
