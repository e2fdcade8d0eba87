"""Verdicts on the counters of several servers, by stubs that answer as the gateway does."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import click.testing
import pytest

import catsdogs
from common.ports import free_ports
from common.psi import least_pictures
from serving.telemetry.drift import NOT_READY, History, Snapshot, drift

SHARES = {"brightness": (0.1,) * 10, "predicted_class": (0.5, 0.5)}
REFERENCE = 4000
NEEDED = least_pictures(10, REFERENCE) or 0
HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")


def answer(first: int, others: int, version: str = "1") -> dict[str, Any]:
    """Return the answer of a server with so many pictures in the first bin of brightness, and in each other one."""
    total = first + 9 * others
    counts = {"brightness": (first, *[others] * 9), "predicted_class": (total // 2, total // 2)}
    newest = Snapshot(3600.0, {"name": "catsdogs", "version": version, "sha256": version}, REFERENCE, SHARES, counts)
    history = History()
    history.add(Snapshot(0.0))
    return drift(history, newest)


@contextmanager
def server(host: str, port: int, document: dict[str, Any] | None) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(404 if document is None else 200)
            self.end_headers()
            if self.path == "/drift" and document is not None:
                self.wfile.write(json.dumps(document).encode())

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer((host, port), Handler) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield
        finally:
            made.shutdown()
            thread.join()


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a function that starts a server for each answer, and returns the URL of the name that has them all."""
    with ExitStack() as stack:

        def start(*documents: dict[str, Any] | None) -> str:
            (port,) = free_ports(1)
            for host, document in zip(HOSTS, documents, strict=False):
                stack.enter_context(server(host, port, document))
            found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in HOSTS[: len(documents)]]
            real = socket.getaddrinfo
            monkeypatch.setattr(
                socket,
                "getaddrinfo",
                lambda host, *rest, **more: found if host == "pods" else real(host, *rest, **more),
            )
            return f"http://pods:{port}"

        yield start


def run(*arguments: str) -> click.testing.Result:
    return click.testing.CliRunner().invoke(catsdogs.cli, ["drift", *arguments])


def test_the_counters_of_all_servers_are_added_up(fleet: Any, tmp_path: Path) -> None:
    each = NEEDED // 20 + 1
    alone, together = run("--url", fleet(answer(each, each))), tmp_path / "drift.json"
    assert alone.exit_code == 11
    done = run("--url", fleet(answer(each, each), answer(each, each)), "--json", str(together))
    assert done.exit_code == 0, done.output
    assert "PASS: 2 of 2 servers answered." in done.output
    (model,) = json.loads(together.read_text())["models"]
    assert model["windows"][0]["features"]["brightness"]["counts"] == [2 * each] * 10


def test_a_drift_of_both_together_is_a_breach(fleet: Any) -> None:
    done = run("--url", fleet(answer(150, 5), answer(150, 5)))
    assert done.exit_code == 10
    assert "BREACH: These differ from the reference over 6 hours: brightness." in done.output


def test_two_models_are_judged_apart(fleet: Any) -> None:
    done = run("--url", fleet(answer(400, 10), answer(NEEDED, NEEDED, version="2")))
    assert done.exit_code == 10
    assert "catsdogs 1" in done.output
    assert "PASS: Nothing differs from the reference over 24 hours." in done.output


def test_too_few_pictures_end_with_0_where_that_is_allowed(fleet: Any) -> None:
    url = fleet(answer(10, 10))
    assert (run("--url", url).exit_code, run("--url", url, "--allow-inconclusive").exit_code) == (11, 0)
    assert run("--url", fleet(answer(300, 10)), "--allow-inconclusive").exit_code == 10


def test_servers_that_do_not_answer_are_named(fleet: Any) -> None:
    done = run("--url", fleet(answer(NEEDED, NEEDED), None, dict(NOT_READY)))
    assert done.exit_code == 0
    assert "PASS: 1 of 3 servers answered." in done.output
    assert "127.0.0.2" in done.output
    assert "The workers' counters cannot be read now." in done.output
    assert run("--url", fleet(None)).exit_code == 13


HOSTILE: list[Any] = [
    {},
    [],
    "PASS",
    {"verdict": "PASS"},
    {"verdict": "GOOD", "model": {}},
    {"verdict": "PASS", "model": {"name": 1}},
    {"verdict": "PASS", "model": {}, "windows": [{}]},
    {**answer(9, 9), "reference_pictures": "many"},
    {**answer(9, 9), "windows": [{"hours": "\x1b[2J", **answer(9, 9)["windows"][0]}, 5]},
    json.loads(json.dumps(answer(9, 9)).replace("[9, ", "[1e999, ")),
    json.loads(json.dumps(answer(9, 9)).replace("[9, ", "[-9, ")),
    json.loads(json.dumps(answer(9, 9)).replace("[9, ", "[9, 9, ")),
    json.loads(json.dumps(answer(9, 9)).replace('"brightness"', '"other"', 1)),
]


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
def test_what_another_program_answers_is_a_failure_and_the_servers_are_judged(fleet: Any, hostile: Any) -> None:
    done = run("--url", fleet(answer(NEEDED, NEEDED), hostile))
    assert done.exit_code == 0, done.output
    assert "127.0.0.2" in done.output
    assert "PASS: 1 of 2 servers answered." in done.output


def test_an_answer_writes_no_control_characters_to_the_terminal(fleet: Any) -> None:
    strange = answer(NEEDED, NEEDED, version="\x1b[2J\r")
    done = run("--url", fleet(strange, {"verdict": "NOT_READY", "reason": "\x1b]0;title\x07"}))
    assert done.exit_code == 0
    assert "\\x1b[2J\\r" in done.output
    assert not {"\x1b", "\x07", "\r"} & set(done.output)


def test_an_answer_without_end_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch, fleet: Any) -> None:
    monkeypatch.setattr("monitoring.drift.counters.MOST_BYTES", 1000)
    assert run("--url", fleet(answer(NEEDED, NEEDED))).exit_code == 13


def test_servers_whose_windows_differ_are_judged_apart(fleet: Any) -> None:
    older = answer(NEEDED, NEEDED)
    older["windows"] = older["windows"][:1]
    done = run("--url", fleet(answer(NEEDED, NEEDED), older))
    assert done.exit_code == 0, done.output
    assert "2 of 2 servers answered" in done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Give either RECORDS or --url"),
        (("records", "--url", "http://127.0.0.1:8082"), "Give either RECORDS or --url"),
        (("--url", "http://127.0.0.1:8082", "--hours", "3"), "--hours and --html are for records"),
    ],
)
def test_records_and_counters_are_not_mixed(arguments: tuple[str, ...], message: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert message in done.output


@pytest.mark.parametrize("url", ["127.0.0.1:8082", "https://127.0.0.1:8082", "http://h:1/metrics", "http://h:x", ""])
def test_what_is_no_address_of_a_metrics_port_is_a_users_mistake(url: str) -> None:
    done = run("--url", url) if url else run("--url", "http://:8082")
    assert "is not the URL of a metrics port" in str(done.exception)
