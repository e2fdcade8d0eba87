"""Helpers of the tests of rules: the rendered files, and promtool."""

import functools
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitoring.render import as_yaml, render
from monitoring.rules.files import rule_file as rule_file_of
from monitoring.rules.model import Target
from monitoring.slo_file import Service, read
from tests.zoo import ROOT

TARGET = Target("catsdogs")
# Debian's package prometheus has both; .ci/run installs it.
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
needs_prometheus = pytest.mark.skipif(shutil.which("prometheus") is None, reason="Prometheus is not installed")
FIRING = 'count by (severity, alertname, protocol, feature) (ALERTS{{alertstate="firing",severity=~"{}"}}) * 0'
Alerts = set[tuple[str, ...]]
"""Alerts that fire: severity, name, and a protocol or a feature where the alert has one."""


@functools.cache
def service() -> Service:
    """Return the profile of small and shared machines, on which these tests run."""
    return read(ROOT / "loadtest" / "slo.yaml", "shared")


@functools.cache
def rendered() -> dict[str, str]:
    return render(TARGET, service())


@functools.cache
def brief(groups: str) -> str:
    """Return the rules of two protocols whose groups' names match: promtool takes a second for a hundred rules."""
    both = {name: latency for name, latency in service().objectives.latency.items() if name in ("rest", "grpc")}
    objectives = service().objectives.model_copy(update={"latency": both})
    made = rule_file_of(TARGET, objectives)["groups"]
    return as_yaml({"groups": [group for group in made if re.search(groups, group["name"])]})


@functools.cache
def rule_file() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(rendered()["rules.yaml"])
    return document


def rules() -> list[dict[str, Any]]:
    return [rule for group in rule_file()["groups"] for rule in group["rules"]]


def sample(alert: tuple[str, ...]) -> str:
    """Return an alert as the sample of FIRING that stands for it."""
    severity, name, *rest = alert
    labels = {"alertname": name, "severity": severity}
    if rest:
        labels["feature" if name == "CatsdogsInputDrift" else "protocol"] = rest[0]
    return "{" + ",".join(f'{label}="{value}"' for label, value in labels.items()) + "}"


def evaluate(
    folder: Path,
    series: Mapping[str, Iterable[float | str]],
    every_s: int,
    alerts: Mapping[str, Alerts] | None = None,
    values: Mapping[tuple[str, str], float] | None = None,
    severity: str = "page|ticket",
    groups: str = "",
) -> None:
    """Require that exactly these alerts fire at these times, and that these queries are 1 within a millionth.

    Args:
        series: the samples of each series, one each `every_s` seconds; `_` stands for none.
        alerts: the alerts by the time at which they are looked at, such as 90s.
        values: the values by time and query.
        severity: the severities of alerts that are looked at.
        groups: part of the names of the groups that are evaluated; empty takes all.
    """
    (folder / "rules.yaml").write_text(brief(groups))
    firing = [
        {
            "expr": FIRING.format(severity),
            "eval_time": time,
            "exp_samples": [{"labels": sample(alert), "value": 0} for alert in sorted(expected)],
        }
        for time, expected in (alerts or {}).items()
    ]
    near = [
        {
            "expr": f"abs(({query}) - {value!r}) < bool 1e-6",
            "eval_time": time,
            "exp_samples": [{"labels": "{}", "value": 1}],
        }
        for (time, query), value in (values or {}).items()
    ]
    document = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": f"{every_s}s",
        "tests": [
            {
                "interval": f"{every_s}s",
                "input_series": [
                    {"series": name, "values": " ".join(f"{value}" for value in samples)}
                    for name, samples in series.items()
                ],
                "promql_expr_test": [*firing, *near],
            }
        ],
    }
    (folder / "test.yaml").write_text(yaml.safe_dump(document, width=10**9))
    done = subprocess.run(["promtool", "test", "rules", "test.yaml"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
