"""The audit of locked packages: what is found fails it, what is accepted passes until its last day.

The advisory database is a stand-in (tests/project/osv.py), asked by the real pip-audit; `make audit` asks PyPI's.
"""

import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import pytest
import yaml

from common.verdicts import EXIT_CODES, WRONG_USAGE, Verdict
from tests.project.audit import ACCEPTED, Acceptance, Finding, NotAcceptedError, judge, read_accepted
from tests.project.osv import serve_osv
from tests.zoo import ROOT

TODAY = date(2026, 11, 29)
FINDING = Finding("serve.txt", "example", "1.0", "PYSEC-1", frozenset({"CVE-2026-1", "GHSA-1"}), ("1.1",))
REASON = "Its parser is never called here."
HASH = "--hash=sha256:" + "0" * 64
KNOWN = {
    ("example", "1.0"): {
        "id": "PYSEC-2026-1",
        "aliases": ["CVE-2026-1"],
        "summary": "An example",
        "affected": [
            {
                "package": {"name": "example", "ecosystem": "PyPI"},
                "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.1"}]}],
            }
        ],
    }
}


def acceptance(until: date = TODAY, id: str = "CVE-2026-1", package: str = "example") -> Acceptance:
    return Acceptance(id, package, REASON, until)


def test_nothing_found_passes() -> None:
    assert judge([], [], TODAY) == (Verdict.PASS, [])


def test_a_finding_fails_and_names_lock_version_and_fix() -> None:
    verdict, (line,) = judge([FINDING], [], TODAY)
    assert verdict is Verdict.BREACH
    assert "serve.txt: example 1.0: PYSEC-1 (CVE-2026-1, GHSA-1), fixed in 1.1" in line


@pytest.mark.parametrize("id", ["PYSEC-1", "CVE-2026-1", "GHSA-1"])
def test_an_accepted_finding_passes_by_any_of_its_names(id: str) -> None:
    verdict, (line,) = judge([FINDING], [acceptance(id=id)], TODAY)
    assert verdict is Verdict.PASS
    assert REASON in line


def test_an_acceptance_holds_on_its_last_day_and_fails_after_it() -> None:
    assert judge([FINDING], [acceptance(TODAY)], TODAY)[0] is Verdict.PASS
    verdict, (line,) = judge([FINDING], [acceptance(TODAY)], TODAY + timedelta(days=1))
    assert verdict is Verdict.BREACH
    assert "its acceptance ended on 2026-11-29" in line


def test_an_acceptance_is_for_one_package_and_one_finding() -> None:
    for other in (acceptance(package="another"), acceptance(id="CVE-2026-2")):
        verdict, lines = judge([FINDING], [other], TODAY)
        assert verdict is Verdict.BREACH
        assert lines[-1].endswith("is accepted and was not found")


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ({"id": "x"}, "is no list"),
        (["CVE-2026-1"], "entry 1 needs exactly id, package, reason, until"),
        ([{"id": "x", "package": "y", "reason": REASON}], "entry 1 needs exactly"),
        ([{"id": "x", "package": "y", "reason": REASON, "until": "soon"}], "until must be a day"),
        ([{"id": "x", "package": "y", "reason": "harmless", "until": TODAY}], "must be a sentence"),
    ],
)
def test_a_list_that_lacks_something_is_refused_by_its_entry(tmp_path: Path, entries: object, problem: str) -> None:
    path = tmp_path / "accepted.yaml"
    path.write_text(yaml.safe_dump(entries))
    with pytest.raises(NotAcceptedError, match=problem):
        read_accepted(path)


def test_our_own_list_can_be_read_and_none_of_it_has_ended() -> None:
    assert [entry for entry in read_accepted(ACCEPTED) if entry.until < date.today()] == []


def audit(*arguments: object) -> tuple[int, str]:
    command = [sys.executable, "-m", "tests.project.audit", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "lock.txt"
    path.write_text(f"example==1.0 \\\n    {HASH}\nharmless==2.0 \\\n    {HASH}\n")
    return path


def test_pip_audit_finds_what_the_database_knows_of_a_lock(lock: Path, tmp_path: Path) -> None:
    accepted = tmp_path / "accepted.yaml"
    accepted.write_text("[]")
    with serve_osv(KNOWN) as url:
        code, output = audit(lock, "--osv-url", url, "--accepted", accepted)
        assert code == EXIT_CODES[Verdict.BREACH]
        assert "example 1.0: " in output
        assert "CVE-2026-1" in output
        assert "harmless" not in output
        entry = {"id": "CVE-2026-1", "package": "example", "reason": REASON}
        for days, expected in ((0, Verdict.PASS), (-1, Verdict.BREACH)):
            accepted.write_text(yaml.safe_dump([{**entry, "until": date.today() + timedelta(days=days)}]))
            code, output = audit(lock, "--osv-url", url, "--accepted", accepted)
            assert (code, output.splitlines()[-1]) == (EXIT_CODES[expected], expected)


def test_a_database_that_does_not_answer_is_no_pass(lock: Path) -> None:
    with serve_osv({}) as url:
        assert audit(lock, "--osv-url", url)[0] == EXIT_CODES[Verdict.PASS]
    code, output = audit(lock, "--osv-url", url)
    assert code == EXIT_CODES[Verdict.INVALID]
    assert "lock.txt was not audited" in output


def test_a_lock_without_hashes_is_no_pass(tmp_path: Path) -> None:
    (tmp_path / "lock.txt").write_text("example==1.0\n")
    with serve_osv({}) as url:
        assert audit(tmp_path / "lock.txt", "--osv-url", url)[0] == EXIT_CODES[Verdict.INVALID]


def test_a_list_that_cannot_be_read_is_wrong_usage(lock: Path, tmp_path: Path) -> None:
    code, output = audit(lock, "--accepted", tmp_path / "missing.yaml")
    assert code == WRONG_USAGE
    assert "cannot be read" in output
