"""Rules of Prometheus as values: groups of recorded series and alerts, and the target that their queries select."""

from dataclasses import dataclass, field
from typing import Any, Literal

RUNBOOK = "docs/how-to/alerts.md"

Severity = Literal["page", "ticket"]


@dataclass(frozen=True, slots=True)
class Target:
    """The service that is watched, and how Prometheus labels its series."""

    service: str
    """Name of the service, in the labels of recorded series and alerts."""
    selector: str = 'job="catsdogs"'
    """Label matchers that every series of the service meets."""
    labels: dict[str, str] = field(default_factory=dict)
    """More labels of recorded series and alerts."""
    runbook: str = RUNBOOK
    """URL of the page that describes the alerts."""

    def series(self, name: str, *matchers: str) -> str:
        """Return a selector of the service's series of this name."""
        return f"{name}{{{','.join((self.selector, *matchers))}}}"


@dataclass(frozen=True, slots=True)
class Record:
    """A recording rule."""

    name: str
    expr: str
    labels: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        labels = {"labels": self.labels} if self.labels else {}
        return {"record": self.name, "expr": self.expr, **labels}


@dataclass(frozen=True, slots=True)
class Alert:
    """An alerting rule."""

    name: str
    expr: str
    severity: Severity
    summary: str
    """One sentence: what is wrong."""
    description: str
    """Effect on users, and the first step."""
    lasting: str = "0s"
    """How long the expression must hold before the alert fires."""
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)

    def as_dict(self, target: Target) -> dict[str, Any]:
        return {
            "alert": self.name,
            "expr": self.expr,
            **({} if self.lasting == "0s" else {"for": self.lasting}),
            "labels": {**target.labels, "severity": self.severity, **self.labels},
            "annotations": {
                **self.annotations,
                "summary": self.summary,
                "description": self.description,
                "runbook_url": f"{target.runbook}#{self.name.lower()}",
            },
        }


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that are evaluated one after the other."""

    name: str
    rules: tuple[Record | Alert, ...]
    interval: str | None = None
    """Time between two evaluations; None takes Prometheus' own."""

    def as_dict(self, target: Target) -> dict[str, Any]:
        rules = [rule.as_dict(target) if isinstance(rule, Alert) else rule.as_dict() for rule in self.rules]
        interval = {"interval": self.interval} if self.interval else {}
        return {"name": self.name, **interval, "rules": rules}
