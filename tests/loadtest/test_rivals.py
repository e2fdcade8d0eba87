"""Tests of the comparison with other servers: its report, and its closed loop against a server that sleeps."""

import json
import math
from pathlib import Path

import pytest

from loadtest.generate.clients import Address, Http
from loadtest.generate.pictures import Picture
from loadtest.report.words import TIMES
from loadtest.rivals.closed import Loop, ask_for
from loadtest.rivals.peers import Fresh, Scores
from loadtest.rivals.report import LIMIT, Measured, names, ratio, table, throughput, write
from tests.loadtest.support_locust import stub

CATS = (Picture(b"x" * 1000, "cat"),)
DOGS = (Picture(b"x" * 1000, "dog"),)


def address(url: str) -> Address:
    return Address(url=url, grpc="", model="catsdogs")


def test_clients_that_wait_see_as_much_as_a_server_that_sleeps_can_give() -> None:
    with stub("--sleep", "0.1") as url:
        loop = ask_for(lambda: Http(address(url)), CATS, clients=8, seconds=3, warmup=0.5)
    assert loop.rate == pytest.approx(80, rel=0.1)
    assert loop.p50 == pytest.approx(0.1, rel=0.2)
    assert loop.answers == loop.right == round(loop.rate * 3)
    assert not loop.failed


def test_one_after_the_other_is_one_servers_time_and_wrong_labels_are_counted() -> None:
    with stub("--service", "0.05") as url:
        loop = ask_for(lambda: Fresh(address(url)), DOGS, clients=4, seconds=3, warmup=0.5)
    assert loop.rate == pytest.approx(20, rel=0.1)
    assert loop.p50 == pytest.approx(0.2, rel=0.2)
    assert loop.right == 0 < loop.answers


def test_refusals_are_failures_by_kind_and_no_throughput() -> None:
    with stub("--fail-every", "2") as url:
        loop = ask_for(lambda: Http(address(url)), CATS, clients=2, seconds=1)
    assert set(loop.failed) == {"Wrong: 503 overloaded"}
    assert loop.answers > 0


def test_a_server_that_is_not_there() -> None:
    loop = ask_for(lambda: Http(address("http://127.0.0.1:9")), CATS, clients=1, seconds=0.3)
    assert (loop.rate, loop.answers) == (0, 0)
    assert math.isnan(loop.p50)
    assert sum(loop.failed.values()) > 0


def test_the_share_by_class_of_stock_torchserve_is_read() -> None:
    answer = Scores(address("http://127.0.0.1:9")).read({"dog": 0.9, "cat": 0.1})
    assert (answer["label"], answer["probability"]) == ("dog", 0.9)


def measured(server: str, turn: int, rate: float) -> Measured:
    loops = tuple(Loop(clients, rate, 0.1, 0.2, 10, 10) for clients in (1, 8, 32))
    return Measured(server, turn, loops, 3.0, 500.0)


ROUNDS = [
    measured("stock TorchServe, as it comes", 0, 10),
    measured("catsdogs", 0, 50),
    Measured(LIMIT, 0, (Loop(8, 100, math.nan, math.nan, 0, 0),), None, None),
    # A slow minute meets both.
    measured("catsdogs", 1, 20),
    measured("stock TorchServe, as it comes", 1, 4),
    measured("catsdogs", 2, 60),
]


def test_ratios_are_of_rounds_and_not_of_medians() -> None:
    assert ratio(ROUNDS, "stock TorchServe, as it comes", throughput) == pytest.approx(5)
    assert ratio(ROUNDS, LIMIT, throughput) == pytest.approx(0.5)
    assert names(ROUNDS) == [LIMIT, "catsdogs", "stock TorchServe, as it comes"]


def test_the_table_has_a_row_for_each() -> None:
    head, _, limit, ours, stock = table(ROUNDS).splitlines()
    assert {line.count("|") for line in (head, limit, ours, stock)} == {9}
    assert limit.endswith(f"| {TIMES}0.50 |")
    assert "| 50.0/s (20.0 to 60.0) |" in ours
    assert stock.endswith(f"| {TIMES}5.00 |")


def test_what_is_written(tmp_path: Path) -> None:
    write(ROUNDS, tmp_path, (0.0, 0.0))
    values = json.loads((tmp_path / "rivals.json").read_text())
    assert [one["server"] for one in values["measured"]] == [one.server for one in ROUNDS]
    assert values["measured"][2]["loops"][0]["p50"] is None
    assert (tmp_path / "rivals.md").read_text() == table(ROUNDS)
    assert (tmp_path / "rivals.png").read_bytes().startswith(b"\x89PNG")
