"""Every rule of a service, as Prometheus' rule file and as a manifest for Prometheus' operator."""

from typing import Any

from monitoring.objectives import Objectives
from monitoring.rules import burn, drift, failing, operations
from monitoring.rules.indicators import indicators
from monitoring.rules.model import Group, Target


def groups(target: Target, objectives: Objectives) -> tuple[Group, ...]:
    measured = indicators(objectives)
    return (
        failing.group(target, measured),
        *(group for indicator in measured for group in burn.groups(target, indicator)),
        *operations.groups(target, measured),
        *drift.groups(target, objectives.accuracy.objective),
    )


def rule_file(target: Target, objectives: Objectives) -> dict[str, Any]:
    """Return what a file of `rule_files` in Prometheus' configuration holds."""
    return {"groups": [group.as_dict(target) for group in groups(target, objectives)]}


def manifest(target: Target, objectives: Objectives) -> dict[str, Any]:
    """Return a PrometheusRule, which Prometheus' operator reads."""
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": target.service, "labels": {"app.kubernetes.io/name": "catsdogs"}},
        "spec": rule_file(target, objectives),
    }
