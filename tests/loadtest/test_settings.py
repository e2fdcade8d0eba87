"""Options -> what is to be done, and what is said of those that make no test."""

from argparse import ArgumentParser
from pathlib import Path

import pytest

from handler.files import UserError
from loadtest.options import add_options
from loadtest.settings import Settings, settle


def settled(*arguments: str, host: str | None = "http://127.0.0.1:8080") -> Settings:
    parser = ArgumentParser()
    parser.add_argument("--host", default=host)
    add_options(parser)
    return settle(parser.parse_args(arguments))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--gate", "none"), "has no gate none; it has quick, full"),
        (("--gate", "quick", "--rate", "3"), "sets --rate itself: leave out --rate, or leave out the gate"),
        (("--gate", "quick", "--protocol", "kserve"), "tests rest, grpc, not kserve"),
        (("--gate", "quick", "--max-models", "0"), "--max-models must be 1 or more"),
        (("--rate", "3"), "A test without a gate needs --rate and --duration"),
        (("--rate", "-3", "--duration", "5s"), "rate: Input should be greater than 0"),
        (("--rate", "3", "--duration", "soon"), "write 250ms, 90s, 3m or 1h"),
        (("--gate", "quick", "--bad-share", "2"), "--bad-share must be a share"),
        (("--gate", "quick", "--ca", "/nowhere"), "--ca /nowhere"),
        (("--gate", "quick", "--slo", "/nowhere"), "Cannot read /nowhere"),
        (("--host", "127.0.0.1:8080"), "--host must be the URL of a server"),
        (("--host", ""), "Name the server by --host"),
    ],
)
def test_what_is_wrong_is_said(arguments: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(UserError) as refusal:
        settled(*arguments)
    assert sentence in str(refusal.value)


def test_a_gate_s_rate_is_that_of_all_users_together() -> None:
    settings = settled("--gate", "quick")
    assert settings.users * settings.rate_per_user == pytest.approx(15)
    assert settings.users % len(settings.protocols) == 0


@pytest.mark.parametrize("rate", ["0.5", "7", "1234.5"])
def test_any_rate_can_be_reached_with_at_most_a_hundred_users(rate: str) -> None:
    settings = settled("--rate", rate, "--duration", "60s", "--protocol", "rest", "--protocol", "grpc")
    assert settings.users <= 100
    assert settings.users * settings.rate_per_user == pytest.approx(float(rate))


def test_grpc_and_metrics_are_beside_the_url() -> None:
    settings = settled("--gate", "quick", "--host", "http://127.0.0.1:9000")
    assert (settings.address.grpc, settings.metrics) == ("127.0.0.1:7070", "http://127.0.0.1:8082/metrics")
    # A Service in a cluster has no port for metrics.
    assert settled("--gate", "quick", "--host", "http://catsdogs:8080").metrics is None


def test_an_ipv6_address_keeps_its_brackets() -> None:
    assert settled("--gate", "quick", "--host", "http://[::1]:8080").address.grpc == "[::1]:7070"


def test_the_first_of_several_keys_is_brought(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATSDOGS_KEY", "one\ntwo\n")
    assert settled("--gate", "quick").address.headers == {"Authorization": "Bearer one"}


def test_the_keys_may_be_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("one\ntwo\n")
    monkeypatch.setenv("CATSDOGS_KEY_FILE", str(tmp_path / "keys"))
    assert settled("--gate", "quick").address.headers == {"Authorization": "Bearer one"}


def test_the_shipped_pictures_are_there() -> None:
    assert len(list(settled("--gate", "quick").pictures.glob("*/*.jpg"))) == 16


def test_some_of_a_gate_s_protocols_have_all_of_its_rate_and_are_named() -> None:
    settings = settled("--gate", "quick", "--protocol", "rest")
    assert (settings.protocols, settings.gate_name) == (("rest",), "quick by rest")
    assert settings.users * settings.rate_per_user == pytest.approx(15)
    assert settled("--gate", "quick", "--protocol", "grpc", "--protocol", "rest").gate_name == "quick"


def test_a_profile_and_a_p99_replace_the_objectives() -> None:
    assert settled("--gate", "quick").objectives.latency["rest"].threshold == 0.25
    assert settled("--gate", "quick", "--slo-profile", "shared").objectives.latency["rest"].threshold == 1
    settings = settled("--gate", "quick", "--p99", "100ms")
    assert settings.objectives.latency["grpc"].threshold == 0.1
    assert settings.objectives.availability.objective == 0.99
