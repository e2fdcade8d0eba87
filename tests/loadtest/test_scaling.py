"""The scaling by workers and pods: its verdict, its report and its command line."""

import dataclasses
import json
import os
import sys
from pathlib import Path

import pytest

from common.verdicts import Verdict
from handler.files import UserError
from loadtest.rivals.peers import Peer, Places
from loadtest.rivals.report import Setting
from loadtest.scaling import __main__ as scaling
from loadtest.scaling.points import Point, efficiencies, objections, table, verdict_of
from loadtest.scaling.report import read_points, write
from tests.loadtest.test_rivals import make_archive

SETTING = Setting("Xeon", ["AVX2"], cores=2, stolen=0.01, python="3.11", git="4d34f992b5c5", batch=4)


def points(rates: dict[int, tuple[float, ...]], unit: str = "workers", cores: int = 4) -> list[Point]:
    """Return points of these rates, one for each round."""
    return [
        Point(unit, count, turn, rate, allowed=count <= cores)
        for count, of in rates.items()
        for turn, rate in enumerate(of)
    ]


STRAIGHT = points({1: (20, 21, 19), 2: (39, 41, 38), 4: (79, 84, 74)})


def test_a_rate_is_compared_with_the_rate_of_one_in_the_same_round() -> None:
    assert efficiencies(STRAIGHT, "workers", 2) == pytest.approx([39 / 40, 41 / 42, 1.0])
    assert efficiencies(STRAIGHT, "workers", 1) == [1, 1, 1]


@pytest.mark.parametrize(
    ("rates", "cores", "verdict"),
    [
        ({1: (20, 21, 19), 2: (39, 41, 38), 4: (79, 84, 74)}, 4, Verdict.PASS),
        ({1: (20, 20, 20), 2: (38, 38, 38)}, 2, Verdict.PASS),
        ({1: (20, 20, 20), 2: (37, 37, 37)}, 2, Verdict.BREACH),
        # Faster than a straight line is as strange.
        ({1: (20, 20, 20), 2: (43, 43, 43)}, 2, Verdict.BREACH),
        # Four workers on two cores cannot be straight, and are not judged.
        ({1: (20, 20, 20), 2: (39, 39, 39), 4: (41, 41, 41)}, 2, Verdict.PASS),
        ({1: (20, 20, 20), 2: (21, 21, 21)}, 1, Verdict.INCONCLUSIVE),
        ({1: (20, 20), 2: (40, 40)}, 2, Verdict.INVALID),
        ({1: (20, 20, 26), 2: (40, 40, 40)}, 2, Verdict.INVALID),
    ],
)
def test_the_verdict_is_of_what_the_cores_allow(
    rates: dict[int, tuple[float, ...]], cores: int, verdict: Verdict
) -> None:
    assert verdict_of(points(rates, cores=cores)) is verdict


def test_one_slow_round_of_three_does_not_decide() -> None:
    assert verdict_of(points({1: (20, 20, 20), 2: (39, 39, 33)})) is Verdict.PASS


def test_rounds_that_do_not_agree_are_named() -> None:
    (sentence,) = objections(points({1: (20, 20, 26), 2: (40, 40, 40)}))
    assert sentence.startswith("1 workers: the rounds differ by 30.0 %, from 20.0 to 26.0/s")


def test_the_table_says_what_is_not_judged() -> None:
    rows = table(points({1: (20, 20, 20), 2: (39, 39, 40), 4: (41, 41, 41)}, cores=2)).splitlines()[2:]
    assert rows == [
        "| 1 worker | 20.0 (20.0 to 20.0) | 1.000 (1.000 to 1.000) |  |",
        "| 2 workers | 39.0 (39.0 to 40.0) | 0.975 (0.975 to 1.000) | yes |",
        "| 4 workers | 41.0 (41.0 to 41.0) | 0.512 (0.512 to 0.512) | not judged: too few cores |",
    ]


def test_the_report_has_the_workers_and_the_pods(tmp_path: Path) -> None:
    pods = points({1: (6, 6, 6), 2: (12, 12, 12), 3: (18, 18, 18)}, unit="pods")
    assert write([*STRAIGHT, *pods], tmp_path, SETTING) is Verdict.PASS
    text = (tmp_path / "scaling.md").read_text()
    assert text.startswith(
        "Xeon, 2 cores; the host gave 1 % of the processor time to other machines. git 4d34f992b5c5."
    )
    assert "\n\nPASS\n\n" in text
    assert "| 3 pods | 18.0 (18.0 to 18.0) | 1.000 (1.000 to 1.000) | yes |" in text
    assert (tmp_path / "scaling.png").read_bytes().startswith(b"\x89PNG")
    assert read_points(tmp_path / "scaling.json") == [*STRAIGHT, *pods]


def test_a_file_without_points_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pods.json").write_text('[{"count": 1}]')
    with pytest.raises(UserError, match=r"pods\.json holds no points of scaling"):
        read_points(tmp_path / "pods.json")


def test_the_rounds_are_interleaved_and_pinned_and_pods_are_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[tuple[int, int]] = []

    def measure(count: int, cores: object, places: Places, pictures: object, options: object) -> float:
        order.append((len(order) // 2, count))
        return 10.0 * count

    monkeypatch.setattr(scaling, "measure", measure)
    make_archive(tmp_path / "catsdogs.mar", "batchSize: 4\n")
    pods = [dataclasses.asdict(point) for point in points({1: (5, 5, 5)}, "pods")]
    (tmp_path / "pods.json").write_text(json.dumps(pods))
    arguments = ["--archive", str(tmp_path / "catsdogs.mar"), "--out", str(tmp_path), "--workers", "1,2"]
    monkeypatch.setattr(sys, "argv", ["scaling", *arguments, "--pods", str(tmp_path / "pods.json")])
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    assert scaling.main() == 0
    assert order == [(0, 1), (0, 2), (1, 2), (1, 1), (2, 1), (2, 2)]
    assert "| 1 pod | 5.0 (5.0 to 5.0) |" in (tmp_path / "scaling.md").read_text()


def test_the_server_inherits_as_many_cores_as_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[set[int], list[str]]] = []
    before = os.sched_getaffinity(0)

    def serving(peer: Peer, places: Places, picture: object) -> object:
        seen.append((os.sched_getaffinity(0), peer.start(places, (1, 2, 3, 4, 5))))
        raise UserError("no server")

    monkeypatch.setattr(scaling, "serving", serving)
    places = Places(*[Path("/nowhere")] * 6)
    with pytest.raises(UserError, match="no server"):
        scaling.measure(1, before, places, (None,), object())  # type: ignore[arg-type]
    assert seen[0][0] == {min(before)}
    assert "--workers 1" in " ".join(seen[0][1])
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize("text", ["2,4", "one", ""])
def test_numbers_must_begin_with_one(text: str) -> None:
    with pytest.raises(UserError, match="hold the 1; not"):
        scaling.numbers(text)
