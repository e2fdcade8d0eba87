"""Pages within 90 seconds: alerts that need no error budget, since the fault is plain.

Reckoned for a scrape each 15 s or less and Alertmanager's group_wait of 10 s or less.
"""

from monitoring.rules.indicators import NAMES, Indicator
from monitoring.rules.model import Alert, Group, Target

INTERVAL = "10s"
# Shares and numbers that an objective of 99 % never reaches by chance: five failures of at most a hundred requests.
FAILING_SHARE, FAILING_LEAST = 0.05, 5
# Where requests are few, a minute holds no five failures.
RARE_SHARE, RARE_LEAST = 0.5, 3
SLOW_SHARE, SLOW_LEAST = 0.3, 10
# Clients that wait for their answers send less when nothing is answered: in a whole minute, what was well before would
# outnumber what hangs now.
STUCK_WINDOW, STUCK_SHARE, STUCK_LEAST = "30s", 0.5, 5
STAGES = "catsdogs_stage_duration_seconds"


def above(target: Target, indicator: Indicator, window: str, share: float, least: int) -> str:
    """Return the condition that this share of the requests in the window is bad, and at least so many are."""
    bad = indicator.bad(target, window, "increase")
    total = indicator.total(target, window, "increase")
    return f"(({bad}) / ({total}) > {share} and ({bad}) >= {least})"


def slowest_stage(target: Target) -> str:
    """Return the template of a sentence that names the stage with the longest mean."""
    by_stage = "sum by (stage) (rate({}[2m]))"
    sums, counts = (by_stage.format(target.series(f"{STAGES}_{part}")) for part in ("sum", "count"))
    query = f"topk(1, {sums} / {counts})"
    return (
        f"{{{{ with query `{query}` }}}}"
        'The slowest stage is {{ . | first | label "stage" }}, '
        "{{ . | first | value | humanizeDuration }} on average. {{ end }}"
    )


def failing(target: Target, indicator: Indicator) -> Alert:
    ways = (
        above(target, indicator, "1m", FAILING_SHARE, FAILING_LEAST),
        above(target, indicator, "1m", RARE_SHARE, RARE_LEAST),
        above(target, indicator, "5m", RARE_SHARE, RARE_LEAST),
    )
    return Alert(
        "CatsdogsRequestsFailing",
        "\nor\n".join(ways) + "\n",
        "page",
        f"{{{{ $value | humanizePercentage }}}} of the requests by {NAMES[indicator.protocol]} fail.",
        "Users get errors (500, 503 or 504) instead of predictions. First step: look at the state of the pods and at "
        "the last lines of both containers' logs; what changed last?",
        labels={"protocol": indicator.protocol},
    )


def slow(target: Target, indicator: Indicator) -> Alert:
    ways = (
        above(target, indicator, "1m", SLOW_SHARE, SLOW_LEAST),
        above(target, indicator, STUCK_WINDOW, STUCK_SHARE, STUCK_LEAST),
    )
    return Alert(
        "CatsdogsRequestsSlow",
        "\nor\n".join(ways) + "\n",
        "page",
        f"{{{{ $value | humanizePercentage }}}} of the requests by {NAMES[indicator.protocol]} take longer than "
        f"{indicator.threshold:g} s.",
        f"Users wait, and some give up. {slowest_stage(target)}First step: a slow queue needs more pods or fewer "
        "requests; a slow decode or network wants the node's CPU or GPU looked at.",
        lasting="10s",
        labels={"protocol": indicator.protocol},
    )


def scrapes(target: Target) -> str:
    """Return the selector of the gateways' scrapes; a pod has a second page of metrics, TorchServe's own."""
    return target.series("up", 'metrics_path=~"(/metrics)?"')


def unreachable(target: Target) -> Alert:
    up = scrapes(target)
    return Alert(
        "CatsdogsUnreachable",
        f"(sum({up}) == 0) or absent({up})\n",
        "page",
        "No gateway answers Prometheus.",
        "Either every gateway is down and users get no answers, or Prometheus cannot reach the gateways and monitoring "
        "is down. First step: send a request to the service yourself.",
        lasting="30s",
    )


def no_worker(target: Target) -> Alert:
    ready = target.series("catsdogs_workers_ready")
    return Alert(
        "CatsdogsNoWorkerReady",
        f"((sum({ready}) or vector(0)) == 0) and (sum({scrapes(target)}) > 0)\n",
        "page",
        "No worker is ready in any pod.",
        "Every request is answered 503. First step: look at TorchServe's log in the pods: out of memory, a model that "
        "does not load, or Java that ended.",
        lasting="30s",
    )


def group(target: Target, indicators: tuple[Indicator, ...]) -> Group:
    """Return the alerts of faults that every user feels."""
    each = [slow(target, one) if one.threshold else failing(target, one) for one in indicators]
    return Group("catsdogs-failing", (*each, unreachable(target), no_worker(target)), INTERVAL)
