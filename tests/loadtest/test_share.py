"""The capacity as a share of the no-server limit, of servers whose share is known: M/D/1, simulated."""

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from common.verdicts import Verdict
from handler.files import UserError
from loadtest.capacity.measure import run
from loadtest.capacity.share import share_of
from loadtest.capacity.trial import Capacity
from loadtest.cli import limit_of
from tests.loadtest.queue_theory import capacity
from tests.loadtest.support_locust import make_slo
from tests.loadtest.test_capacity import SERVICE, server

# Five times the service time, for which theory allows 0.56 of what the server computes.
OBJECTIVE = 5 * SERVICE
THEORY = capacity(SERVICE, OBJECTIVE, 0.99) * SERVICE


@pytest.fixture
def search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run the search for a simulated server, whose handler alone does 1 / SERVICE a second."""

    def asking(protocol: str, warmup: float, seed: int, arguments: dict[str, Any]) -> Any:
        assert arguments["p99"] == f"{OBJECTIVE}s"
        return server(seed)

    monkeypatch.setattr("loadtest.capacity.measure.asking", asking)
    monkeypatch.setattr("loadtest.capacity.measure.check_target", lambda *arguments: None)
    # tests/loadtest/test_capacity_report.py sees the plots.
    monkeypatch.setattr("loadtest.capacity.report.draw", lambda *arguments: "")
    slo = make_slo(tmp_path)
    slo.write_text(slo.read_text().replace("confirm: 5s", "confirm: 300s").replace("trial: 5s", "trial: 20s"))

    def searched(limit: Callable[[], float], min_share: float | None = None) -> int:
        options = {"url": "http://127.0.0.1:1", "slo": slo, "protocols": ["rest"], "out": tmp_path, "seed": 3}
        return run(**options, p99=f"{OBJECTIVE}s", no_server=limit, min_share=min_share)  # type: ignore[arg-type]

    return searched


def noisy(low: float, high: float) -> Callable[[], float]:
    rng = random.Random(1)
    return lambda: rng.uniform(low, high) / SERVICE


def share(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "capacity.json").read_text())["capacities"][0]["no_server"])


def test_the_share_is_the_one_of_theory(search: Callable[..., int], tmp_path: Path) -> None:
    assert search(noisy(0.97, 1.03)) == 0
    values = share(tmp_path)
    assert values["share"] == pytest.approx(THEORY, rel=0.1)
    assert values["low"] < values["share"] < values["high"]
    # One round before each confirming run: other load on the machine meets both.
    trials = json.loads((tmp_path / "capacity.json").read_text())["capacities"][0]["trials"]
    assert len(values["limits"]) == [trial["kind"] for trial in trials].count("confirm") >= 3
    page = (tmp_path / "capacity.html").read_text()
    assert f"That is {values['share']:.2f} ({values['low']:.2f} to {values['high']:.2f}) of the no-server limit" in page
    assert "99 % within 100 ms at 95% confidence" in page.replace("\u00a0", " ")


@pytest.mark.parametrize(("least", "status"), [(0.4, 0), (0.85, 10)])
def test_a_minimum_share_is_a_gate(search: Callable[..., int], least: float, status: int) -> None:
    assert search(noisy(0.99, 1.01), least) == status


def test_a_limit_whose_rounds_differ_by_more_than_25_percent_gives_no_share(
    search: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert search(noisy(0.4, 1.2)) == Verdict.INVALID.exit_code
    assert share(tmp_path)["share"] is None
    assert "INVALID: there is no share of the no-server limit. The handler without a server: the rounds differ by" in (
        capsys.readouterr().err
    )


def found(confirmed: float | None, breached: float | None) -> Capacity:
    return Capacity("rest", 0.1, 0.99, 0.99, confirmed, breached, (), "")


@pytest.mark.parametrize(
    ("confirmed", "breached", "limits", "verdict"),
    [
        (90, 94, (100, 101, 102), Verdict.PASS),
        (90, None, (100, 101, 102), Verdict.PASS),
        (70, 74, (100, 101, 102), Verdict.BREACH),
        (None, 5, (100, 101, 102), Verdict.BREACH),
        (84, 88, (100, 101, 102), Verdict.INCONCLUSIVE),
        (84, None, (100, 101, 102), Verdict.INCONCLUSIVE),
        (90, 94, (100, 101), Verdict.INVALID),
        (90, 94, (100, 101, 126), Verdict.INVALID),
    ],
)
def test_the_verdict_is_that_of_the_whole_interval(
    confirmed: float | None, breached: float | None, limits: Sequence[float], verdict: Verdict
) -> None:
    assert share_of(found(confirmed, breached), limits).verdict(0.85) is verdict


def test_without_a_breach_the_share_has_no_upper_end() -> None:
    assert (
        "0.90 (0.90 or more) of the no-server limit, 100.0/s in 3 rounds."
        in share_of(found(90, None), [100] * 3).sentence
    )


def test_the_limit_needs_the_python_beside_the_program(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--limit needs the Python of the server's environment"):
        limit_of(tmp_path / "catsdogs", None)
