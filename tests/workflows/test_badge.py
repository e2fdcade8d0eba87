"""The badge of the tests' coverage."""

import json
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest

from docs import coverage_badge
from tests.zoo import ROOT

BADGE = ROOT / "docs" / "coverage.svg"


@pytest.fixture
def report(tmp_path: Path) -> Path:
    path = tmp_path / "coverage.json"
    path.write_text(json.dumps({"totals": {"percent_covered": 84.7}}))
    return path


def test_a_badge_shows_the_figure_rounded_down(report: Path, tmp_path: Path) -> None:
    badge = tmp_path / "badge.svg"
    assert coverage_badge.main([str(report), str(badge)]) == 0
    root = ElementTree.fromstring(badge.read_text())
    assert root.attrib["aria-label"] == "coverage 84 %"
    assert coverage_badge.shown(badge.read_text()) == 84


@pytest.mark.parametrize(("shown", "status"), [(83, 0), (84, 0), (86, 0), (82, 1), (87, 1)])
def test_a_badge_holds_within_two_points(report: Path, tmp_path: Path, shown: int, status: int) -> None:
    badge = tmp_path / "badge.svg"
    badge.write_text(coverage_badge.draw(shown))
    assert coverage_badge.main([str(report), str(badge), "--check"]) == status
    assert coverage_badge.shown(badge.read_text()) == shown


def test_what_is_no_report_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "coverage.json").write_text("[]")
    assert coverage_badge.main([str(tmp_path / "coverage.json"), str(tmp_path / "badge.svg")]) == 2
    assert "make coverage" in capsys.readouterr().err
    assert not (tmp_path / "badge.svg").exists()


def test_the_badge_that_is_committed_is_not_below_the_floor() -> None:
    floor = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["coverage"]["report"]["fail_under"]
    assert coverage_badge.shown(BADGE.read_text()) >= floor > 50
