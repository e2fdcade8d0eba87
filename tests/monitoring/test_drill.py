"""The drill's own parts: its options, its shortened rules; and two of its faults, in a minute or two."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from handler.members import HANDLER
from monitoring.slo_file import read
from tests.archives import read_members
from tests.monitoring.drill.archives import for_drill
from tests.monitoring.drill.faults import FAULTS
from tests.monitoring.drill.watching import rules_of, scaled
from tests.zoo import ROOT

DRILL = [sys.executable, "-m", "tests.monitoring.drill"]
OBJECTIVES = read(ROOT / "loadtest" / "slo.yaml", "shared").objectives


def drill(*options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*DRILL, *options], cwd=ROOT, capture_output=True, text=True)


def test_an_unknown_fault_is_refused_with_the_names_of_those_there_are() -> None:
    done = drill("--only", "earthquake")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("There is no fault earthquake: --only takes broken-inputs, worker-killed, ")


def test_a_file_that_holds_no_outcomes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"a": 1}')
    done = drill("--results", str(tmp_path / "other.json"))
    assert done.returncode == 2
    assert "holds no outcomes of a drill: name another file by --results." in done.stderr


def test_a_missing_tool_is_named_with_its_package(tmp_path: Path) -> None:
    done = drill("--alertmanager", "no-such-alertmanager")
    assert done.returncode == 2
    assert "apt-get install prometheus" in done.stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("increase(x[6h]) / rate(y[1d])", "increase(x[60s]) / rate(y[240s])"),
        ("30m", "5s"),
        ("a:6h > 0.2", "a:6h > 0.2"),
    ],
)
def test_durations_are_divided_and_names_of_series_are_not(text: str, expected: str) -> None:
    assert scaled(text, 360) == expected


def test_only_the_rules_of_the_tickets_own_group_are_shortened() -> None:
    plain, short = rules_of(OBJECTIVES, "", 1), rules_of(OBJECTIVES, "CatsdogsInputDrift", 360)
    changed = [
        rule.get("alert") or rule["record"].partition(":")[0]
        for before, after in zip(plain["groups"], short["groups"], strict=True)
        for rule, other in zip(before["rules"], after["rules"], strict=True)
        if rule != other
    ]
    assert set(changed) == {"catsdogs", "CatsdogsInputDrift"}
    (alert,) = (
        rule for group in short["groups"] for rule in group["rules"] if rule.get("alert") == "CatsdogsInputDrift"
    )
    assert alert["for"] == "10s"


def test_the_archive_of_the_drill_looks_at_its_switch_before_each_request_of_a_user(tmp_path: Path) -> None:
    archive = ROOT / "model-store" / "catsdogs.mar"
    if not archive.exists():
        pytest.skip("there is no archive: make model-store/catsdogs.mar")
    made = for_drill(archive, tmp_path / "drill.mar", tmp_path / "switch")
    before, after = (read_members(one)[HANDLER].decode().splitlines() for one in (archive, made))
    added = [line.strip() for line in after if line not in before]
    assert added[0] == "if STARTED in headers:"
    assert str(tmp_path / "switch") in added[1]


def test_the_faults_are_those_that_are_documented() -> None:
    page = (ROOT / "docs" / "how-to" / "alerts.md").read_text()
    assert [fault.name for fault in FAULTS if f"| {fault.title}" not in page] == []


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("prometheus-alertmanager") is None, reason="Alertmanager is not installed")
def test_a_fault_that_hurts_pages_and_one_that_does_not_is_silent(tmp_path: Path) -> None:
    only = ("--only", "broken-inputs", "--only", "errors")
    done = drill("--slo-profile", "shared", "--results", str(tmp_path / "seen.json"), *only)
    assert done.returncode == 0, done.stdout + done.stderr
    silent, told = done.stdout.splitlines()[-2:]
    assert silent == "| broken client inputs only | no | none |  | yes |"
    assert "| each request fails (500) | yes | page Catsdogs" in told
    again = drill("--slo-profile", "shared", "--results", str(tmp_path / "seen.json"), *only)
    assert again.stdout.splitlines()[-2:] == [silent, told]
