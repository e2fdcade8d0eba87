"""The objectives as a specification of Sloth's, for those who generate their rules by it."""

from typing import Any

from monitoring.rules.burn import alerts
from monitoring.rules.indicators import Indicator
from monitoring.rules.model import Alert, Target

WINDOW = "{{.window}}"


def specification(target: Target, indicators: tuple[Indicator, ...]) -> dict[str, Any]:
    """Return a document of Sloth's prometheus/v1."""
    return {
        "version": "prometheus/v1",
        "service": target.service,
        **({"labels": target.labels} if target.labels else {}),
        "slos": [objective(target, indicator) for indicator in indicators],
    }


def objective(target: Target, indicator: Indicator) -> dict[str, Any]:
    page, ticket = (rule.as_dict(target) for rule in alerts(target, indicator).rules if isinstance(rule, Alert))
    shared = {name: text for name, text in page["annotations"].items() if text == ticket["annotations"][name]}

    def own(alert: dict[str, Any]) -> dict[str, Any]:
        annotations = {
            name: text for name, text in alert["annotations"].items() if name not in shared and name != "title"
        }
        return {"labels": {"severity": alert["labels"]["severity"]}, "annotations": annotations}

    return {
        "name": indicator.name,
        "objective": indicator.percent,
        "description": indicator.meaning,
        "sli": {
            "events": {
                "error_query": indicator.bad(target, WINDOW),
                "total_query": indicator.total(target, WINDOW),
            }
        },
        "alerting": {
            "name": indicator.alert,
            "labels": {**target.labels, **indicator.labels},
            "annotations": shared,
            "page_alert": own(page),
            "ticket_alert": own(ticket),
        },
    }
