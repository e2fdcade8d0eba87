"""Burn rates of an error budget over several windows, with the names and labels of Sloth 0.16.

Two alerts per objective, after Google's SRE workbook: a page where the budget of 30 days would be gone within two days
(5 minutes and 1 hour over 14.4 times the allowed rate) or five (30 minutes and 6 hours over 6 times), and a ticket for
slower burns. Sloth has no guard against few requests; ours is named in GUARD.
"""

from dataclasses import dataclass

from monitoring.rules.indicators import Indicator
from monitoring.rules.model import Alert, Group, Record, Severity, Target

WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
PERIOD_DAYS = 30
FEWEST_BAD = 5
"""Minimum number of bad requests in the longer window: one failure of ten requests at night is no fast burn."""
GUARD = "catsdogs:sli_bad:increase"


@dataclass(frozen=True, slots=True)
class Burn:
    """Two windows in which the budget must burn faster than `factor` times the allowed rate."""

    short: str
    long: str
    factor: float


PAGE = (Burn("5m", "1h", 14.4), Burn("30m", "6h", 6))
TICKET = (Burn("2h", "1d", 3), Burn("6h", "3d", 1))


def identity(target: Target, indicator: Indicator) -> dict[str, str]:
    """Return the labels by which Sloth knows an objective."""
    return {
        "sloth_id": f"{target.service}-{indicator.name}",
        "sloth_service": target.service,
        "sloth_slo": indicator.name,
    }


def selector(target: Target, indicator: Indicator) -> str:
    return "{" + ", ".join(f'{name}="{value}"' for name, value in identity(target, indicator).items()) + "}"


def ratios(target: Target, indicator: Indicator) -> Group:
    """Return the rules that record the share of bad requests in each window."""
    labels = identity(target, indicator) | target.labels
    records = [
        Record(
            f"slo:sli_error:ratio_rate{window}",
            f"({indicator.bad(target, window)})\n/\n({indicator.total(target, window)})\n",
            labels | {"sloth_window": window},
        )
        for window in WINDOWS
    ]
    shortest = f"slo:sli_error:ratio_rate{WINDOWS[0]}{selector(target, indicator)}[{PERIOD_DAYS}d]"
    records.append(
        Record(
            f"slo:sli_error:ratio_rate{PERIOD_DAYS}d",
            f"sum_over_time({shortest})\n/ ignoring (sloth_window)\ncount_over_time({shortest})\n",
            labels | {"sloth_window": f"{PERIOD_DAYS}d"},
        )
    )
    return Group(f"sloth-slo-sli-recordings-{labels['sloth_id']}", tuple(records))


def meta(target: Target, indicator: Indicator) -> Group:
    """Return the rules that record the objective, its budget, and how much of it is left."""
    labels, selected = identity(target, indicator) | target.labels, selector(target, indicator)

    def rate(window: str) -> str:
        return (
            f"slo:sli_error:ratio_rate{window}{selected}\n/ on(sloth_id, sloth_slo, sloth_service) group_left\n"
            f"slo:error_budget:ratio{selected}\n"
        )

    expressions = {
        "slo:objective:ratio": f"vector({indicator.objective!r})",
        "slo:error_budget:ratio": f"vector(1-{indicator.objective!r})",
        "slo:time_period:days": f"vector({PERIOD_DAYS})",
        "slo:current_burn_rate:ratio": rate(WINDOWS[0]),
        "slo:period_burn_rate:ratio": rate(f"{PERIOD_DAYS}d"),
        "slo:period_error_budget_remaining:ratio": f"1 - slo:period_burn_rate:ratio{selected}",
    }
    info = {
        "sloth_mode": "cli-gen-prom",
        "sloth_objective": f"{indicator.percent:g}",
        "sloth_spec": "prometheus/v1",
        "sloth_version": "catsdogs",
    }
    records = [Record(name, expr, labels) for name, expr in expressions.items()]
    records.append(Record("sloth_slo_info", "vector(1)", labels | info))
    return Group(f"sloth-slo-meta-recordings-{labels['sloth_id']}", tuple(records))


def guards(target: Target, indicator: Indicator) -> Group:
    """Return the rules that count the bad requests in each longer window, for the guard of the alerts."""
    labels = identity(target, indicator) | target.labels
    records = tuple(
        Record(f"{GUARD}{burn.long}", indicator.bad(target, burn.long, "increase"), labels) for burn in (*PAGE, *TICKET)
    )
    return Group(f"catsdogs-slo-guards-{labels['sloth_id']}", records)


def burning(target: Target, indicator: Indicator, burns: tuple[Burn, ...]) -> str:
    """Return the condition that the budget burns too fast in both windows of any of these."""
    selected, budget = selector(target, indicator), 1 - indicator.objective

    def fast(window: str, factor: float) -> str:
        recorded = f"slo:sli_error:ratio_rate{window}{selected}"
        return f"    max({recorded} > ({factor:g} * {budget!r})) without (sloth_window)\n"

    return "or\n".join(
        f"(\n{fast(burn.short, burn.factor)}    and\n{fast(burn.long, burn.factor)}"
        f"    and on (sloth_id)\n    {GUARD}{burn.long}{selected} >= {FEWEST_BAD}\n)\n"
        for burn in burns
    )


def alerts(target: Target, indicator: Indicator) -> Group:
    """Return the page and the ticket of an objective."""

    def alert(severity: Severity, burns: tuple[Burn, ...], speed: str) -> Alert:
        return Alert(
            indicator.alert,
            burning(target, indicator, burns),
            severity,
            f"{indicator.summary} {speed}.",
            f"{indicator.feeling} First step: {indicator.first_step}",
            labels={**indicator.labels, "sloth_severity": severity},
            annotations={
                "title": f"({severity}) {{{{$labels.sloth_service}}}} {{{{$labels.sloth_slo}}}} SLO error budget burn "
                "rate is too fast."
            },
        )

    return Group(
        f"sloth-slo-alerts-{identity(target, indicator)['sloth_id']}",
        (
            alert("page", PAGE, "would use up its error budget of 30 days within days"),
            alert("ticket", TICKET, "uses up its error budget faster than it is granted"),
        ),
    )


def groups(target: Target, indicator: Indicator) -> tuple[Group, ...]:
    """Return every rule of one objective."""
    return (
        ratios(target, indicator),
        meta(target, indicator),
        guards(target, indicator),
        alerts(target, indicator),
    )
