"""Known vulnerabilities of the packages that the locks name: make audit

pip-audit asks PyPI's advisory database about each locked version of packages for this machine's platform. A finding
fails the audit, unless requirements/accepted-findings.yaml accepts it. An acceptance ends with its last day.

The exit codes are those of every gate: 0 pass, 10 breach, 12 where the database could not be asked, 2 wrong usage.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import yaml

from common.verdicts import WRONG_USAGE, Verdict

ROOT = Path(__file__).parents[2]
LOCKS = sorted([*ROOT.glob("requirements/*.txt"), *ROOT.glob("serving/hosting/*/requirements.txt")])
ACCEPTED = ROOT / "requirements" / "accepted-findings.yaml"
PIP_AUDIT = Path(os.environ.get("CATSDOGS_PIP_AUDIT", ROOT / ".venv-checks" / "bin" / "pip-audit"))
FIELDS = {"id", "package", "reason", "until"}


class NotAuditedError(Exception):
    """The advisory database could not be asked."""


class NotAcceptedError(ValueError):
    """The list of accepted findings cannot be read as one."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A known vulnerability of a locked package."""

    lock: str
    package: str
    version: str
    id: str
    aliases: frozenset[str]
    fixed: tuple[str, ...]

    def __str__(self) -> str:
        names = ", ".join(sorted(self.aliases - {self.id}))
        fix = f"fixed in {', '.join(self.fixed)}" if self.fixed else "no fix yet"
        return f"{self.lock}: {self.package} {self.version}: {self.id}{f' ({names})' if names else ''}, {fix}"


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A finding that does no harm here, until a day."""

    id: str
    package: str
    reason: str
    until: date

    def covers(self, finding: Finding) -> bool:
        return self.package == finding.package and self.id in {finding.id, *finding.aliases}


def read_accepted(path: Path) -> list[Acceptance]:
    """Read the list of accepted findings.

    Raises:
        NotAcceptedError: it is not a list of acceptances, each with all of its fields.
    """
    try:
        entries = yaml.safe_load(path.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise NotAcceptedError(f"{path} cannot be read: {error}") from error
    if not isinstance(entries, list):
        raise NotAcceptedError(f"{path} is no list of findings; without any it is [].")
    accepted = []
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, dict) or set(entry) != FIELDS:
            raise NotAcceptedError(f"{path}: entry {number} needs exactly {', '.join(sorted(FIELDS))}.")
        if type(entry["until"]) is not date:
            raise NotAcceptedError(f"{path}: entry {number}: until must be a day such as 2027-01-31.")
        if len(str(entry["reason"]).split()) < 5:
            raise NotAcceptedError(f"{path}: entry {number}: the reason must be a sentence.")
        accepted.append(Acceptance(str(entry["id"]), str(entry["package"]), str(entry["reason"]), entry["until"]))
    return accepted


def findings_of(lock: Path, osv_url: str | None = None) -> list[Finding]:
    """Return the known vulnerabilities of a lock file's packages.

    Raises:
        NotAuditedError: pip-audit could not ask, or not about all of them.
    """
    service = ["--vulnerability-service", "osv", "--osv-url", osv_url] if osv_url else []
    options = ["--require-hashes", "--disable-pip", "--format", "json", "--progress-spinner", "off", *service]
    done = subprocess.run([PIP_AUDIT, "--requirement", lock, *options], capture_output=True, text=True)
    try:
        dependencies = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError) as error:
        lines = done.stderr.strip().splitlines() or ["pip-audit said nothing"]
        raise NotAuditedError(f"{lock.name} was not audited: {lines[-1]}") from error
    if skipped := [entry["name"] for entry in dependencies if "skip_reason" in entry]:
        names = f"{', '.join(skipped[:3])}{f' and {len(skipped) - 3} others' if len(skipped) > 3 else ''}"
        raise NotAuditedError(f"{lock.name} was not audited: the database has no answer for {names}")
    return [
        Finding(
            lock.name,
            entry["name"],
            entry["version"],
            known["id"],
            frozenset(known["aliases"]),
            tuple(known["fix_versions"]),
        )
        for entry in dependencies
        for known in entry["vulns"]
    ]


def judge(findings: Iterable[Finding], accepted: Iterable[Acceptance], today: date) -> tuple[Verdict, list[str]]:
    """Return the verdict on some findings, and a line on each finding and each acceptance without one."""
    verdict, lines, unused = Verdict.PASS, [], list(accepted)
    known = tuple(unused)
    for finding in findings:
        covering = [acceptance for acceptance in known if acceptance.covers(finding)]
        valid = [acceptance for acceptance in covering if today <= acceptance.until]
        unused = [acceptance for acceptance in unused if acceptance not in covering]
        if valid:
            lines.append(f"accepted  {finding}; until {valid[0].until}: {valid[0].reason}")
            continue
        verdict = Verdict.BREACH
        ended = f"; its acceptance ended on {covering[0].until}" if covering else ""
        lines.append(f"BREACH    {finding}{ended}")
    lines += [
        f"unused    {acceptance.id} of {acceptance.package} is accepted and was not found" for acceptance in unused
    ]
    return verdict, lines


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.project.audit", description=__doc__.splitlines()[0])
    parser.add_argument("locks", nargs="*", type=Path, help="lock files; without any all of the repository")
    parser.add_argument("--accepted", type=Path, default=ACCEPTED, metavar="FILE", help="list of accepted findings")
    parser.add_argument("--osv-url", metavar="URL", help="ask this OSV server instead of PyPI")
    options = parser.parse_args(arguments)
    try:
        accepted = read_accepted(options.accepted)
    except NotAcceptedError as error:
        print(f"audit: {error}", file=sys.stderr)
        return WRONG_USAGE
    if not PIP_AUDIT.exists():
        print(f"audit: {PIP_AUDIT} is missing: make .venv-checks/.installed", file=sys.stderr)
        return WRONG_USAGE
    found, invalid = [], False
    for lock in options.locks or LOCKS:
        try:
            found += findings_of(lock, options.osv_url)
        except NotAuditedError as error:
            invalid = True
            print(f"INVALID   {error}")
    verdict, lines = judge(found, accepted, date.today())
    print(*lines, sep="\n", end="\n" if lines else "")
    if verdict is Verdict.PASS and invalid:
        verdict = Verdict.INVALID
    print(verdict)
    return verdict.exit_code


if __name__ == "__main__":
    sys.exit(main())
