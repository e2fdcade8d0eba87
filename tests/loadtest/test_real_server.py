"""All of it against the real server: TorchServe behind the gateway."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtest.defaults import PICTURES, PROTOCOLS
from loadtest.generate.local import serving
from loadtest.judge.server import HISTOGRAM, scrape
from monitoring.objectives import EDGES_S
from tests.loadtest.support_locust import SERVER, Done, catsdogs, make_slo


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, str]]:
    with serving(SERVER) as places:
        yield places


def options(places: dict[str, str]) -> tuple[str, ...]:
    return tuple(word for name, value in places.items() for word in (f"--{name}", value))


@pytest.fixture(scope="module")
def done(server: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Done:
    """A load test by all protocols, with one of ten pictures broken."""
    folder = tmp_path_factory.mktemp("load")
    file = make_slo(folder, protocols=list(PROTOCOLS), rate=8, duration="30s", warmup="3s")
    where = ("--slo", str(file), "--out", str(folder / "out"), "--bad-share", "0.1")
    return catsdogs(folder, "loadtest", "brief", *where, *options(server))


def test_it_passes_by_every_protocol(done: Done) -> None:
    assert done.status == 0, done.stderr
    for protocol in PROTOCOLS:
        assert done.row(protocol).answered == done.row(protocol).due > 5
        assert done.row(f"{protocol} bad").failed == 0


def test_the_command_that_was_typed_is_recorded(done: Done) -> None:
    assert done.summary.command is not None
    assert done.summary.command.startswith("catsdogs loadtest brief --slo ")
    assert "--bad-share 0.1" in done.summary.command


def test_the_labels_are_right_as_the_model_is(done: Done) -> None:
    labelled = sum(row.labelled for row in done.summary.rows if row.stage == "all")
    mistaken = sum(row.mistaken for row in done.summary.rows if row.stage == "all")
    assert labelled == sum(done.row(protocol).answered for protocol in PROTOCOLS)
    # Some are thumbnails of 160 pixels.
    assert mistaken <= 0.1 * labelled


def test_it_knows_what_it_asked(done: Done) -> None:
    target = done.summary.target
    assert target.model == "catsdogs"
    assert target.sha256 is not None
    assert len(target.sha256) == 64


def test_the_gateway_counted_as_many_requests_as_were_sent(done: Done) -> None:
    for part in done.summary.server:
        assert part.requests == part.sent > 0
    assert not [warning for warning in done.summary.warnings if "something else" in warning]


def test_the_server_s_own_times_are_parts_of_ours(done: Done) -> None:
    rest, grpc = done.summary.server
    assert (rest.name, grpc.name) == ("rest", "grpc")
    assert rest.gateway is not None
    assert rest.handler is not None
    assert rest.queue is not None
    assert 0 < rest.handler < rest.gateway < rest.client
    assert 0 <= rest.queue < rest.gateway
    assert grpc.gateway is not None
    assert 0 < grpc.gateway < grpc.client
    assert rest.within_threshold == 1


def test_thresholds_are_edges_of_the_real_histogram(server: dict[str, str], done: Done) -> None:
    metrics = scrape(server["metrics"])
    assert metrics is not None
    edges = {labels["le"] for name, labels, _ in metrics.samples if name == f"{HISTOGRAM}_bucket"}
    assert edges == {f"{edge:g}" for edge in EDGES_S} | {"+Inf"}


@pytest.mark.slow
def test_the_search_ends_with_a_bracket_and_a_page(server: dict[str, str], tmp_path: Path) -> None:
    file = make_slo(tmp_path, threshold=10, objective=0.9)  # which takes few requests to show
    file.write_text(file.read_text().replace("highest_rate: 2000", "highest_rate: 10"))
    done = catsdogs(tmp_path, "capacity", "--slo", str(file), "--out", str(tmp_path / "out"), *options(server))
    assert done.status == 0, done.stderr
    assert "rest: 10/s keeps 90 % within 10 s and 99 % answered, and more was not tried." in done.stderr
    assert (tmp_path / "out" / "capacity.html").exists()


@pytest.mark.slow
def test_a_key_is_brought(tmp_path: Path) -> None:
    key = "load-test-key-0123456789abcdef"
    (tmp_path / "keys").write_text(key + "\n")
    script = tmp_path / "locked"
    script.write_text(f'#!/bin/sh\nshift\nexec "{SERVER}" serve --keys "{tmp_path}/keys" "$@"\n')
    script.chmod(0o755)
    where = ("--slo", str(make_slo(tmp_path, rate=8)), "--out", str(tmp_path / "out"), "--serve", str(script))
    assert "CATSDOGS_KEY" not in os.environ
    refused = catsdogs(tmp_path, "loadtest", "brief", *where, "--pictures", str(PICTURES))
    assert refused.status == 2
    assert "The server requires a key: set CATSDOGS_KEY (rest: 401 unauthorized)." in refused.stderr
    let_in = catsdogs(tmp_path, "loadtest", "brief", *where, env={"CATSDOGS_KEY": key})
    assert let_in.status == 0, let_in.stderr
