"""Our rules are Sloth's, but for named additions. SLOTH names its binary, which `make monitoring-oracles` builds."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitoring.rules.burn import FEWEST_BAD, GUARD
from tests.monitoring.support import rendered, rule_file

SLOTH = os.environ.get("SLOTH", "")
# What Sloth lacks: the guard against few requests, the labels that make its alerts unique, and the runbook.
GUARDED = re.compile(rf"and on \(sloth_id\) {GUARD}\w+\{{[^}}]*\}} >= {FEWEST_BAD} ")
NUMBER = re.compile(r"(?<![\w.:])\d+\.\d+(?![\w.:])")


def plain(expr: str) -> str:
    """Return an expression without our guard, on one line, its numbers rounded."""
    one_line = " ".join(expr.split())
    return NUMBER.sub(lambda match: f"{float(match[0]):.9g}", GUARDED.sub("", one_line))


def described(rule: dict[str, Any]) -> dict[str, Any]:
    labels = {name: value for name, value in rule["labels"].items() if name != "sloth_version"}
    return {**rule, "expr": plain(rule["expr"]), "labels": labels}


@pytest.mark.skipif(not SLOTH, reason="SLOTH does not name Sloth's binary")
def test_sloth_makes_the_same_rules_of_our_specification(tmp_path: Path) -> None:
    (tmp_path / "sloth.yaml").write_text(rendered()["sloth.yaml"])
    command = [SLOTH, "generate", "--input", "sloth.yaml", "--out", "made.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    made = yaml.safe_load((tmp_path / "made.yaml").read_text())["groups"]
    ours = {group["name"]: group["rules"] for group in rule_file()["groups"]}
    assert len(made) == 24
    for group in made:
        assert list(map(described, group["rules"])) == list(map(described, ours[group["name"]])), group["name"]


def test_the_guard_is_in_every_alert_and_is_all_that_is_removed() -> None:
    alerts = [rule for group in rule_file()["groups"] if "slo-alerts" in group["name"] for rule in group["rules"]]
    assert len(alerts) == 16
    for alert in alerts:
        assert len(GUARDED.findall(" ".join(alert["expr"].split()))) == 2
        assert GUARD not in plain(alert["expr"])
