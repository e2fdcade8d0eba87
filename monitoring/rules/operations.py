"""Tickets about the server: what does not hurt users yet, or hides whether it does."""

from monitoring.rules.failing import scrapes
from monitoring.rules.indicators import NAMES, REQUESTS, USERS, Indicator
from monitoring.rules.model import Alert, Group, Target

WORKER_RESTARTS, JAVA_RESTARTS = 3, 2
QUEUE_FULL = 0.5
STALE_S = 10
REFUSED_SHARE, REFUSED_LEAST = 0.5, 100
CLIENTS_FAULT = 'code=~"400|404|405|413|415|421|422"'
WHERE = "{{ $labels.namespace }}/{{ $labels.pod }} ({{ $labels.instance }})"


def blind(target: Target, indicator: Indicator) -> Alert:
    """Return the alert of an objective without series, which would read as kept."""
    return Alert(
        "CatsdogsIndicatorBlind",
        f"absent({indicator.good_series(target)}) and on () (sum({scrapes(target)}) > 0)\n",
        "ticket",
        f"Nothing measures the {indicator.category} of {NAMES[indicator.protocol]}.",
        "Users may be affected without a page: Prometheus scrapes gateways, but this objective's series are missing. "
        "First step: compare the rules with the metrics of a pod; the version of one of them is older.",
        lasting="10m",
        labels={"sloth_slo": indicator.name},
    )


def scrape_missing(target: Target) -> Alert:
    up = scrapes(target)
    return Alert(
        "CatsdogsScrapeMissing",
        f"({up} == 0) and on () (sum({up}) > 0)\n",
        "ticket",
        f"Prometheus cannot read the metrics of {WHERE}.",
        "Users are not affected while other pods answer, but errors of this pod are not counted. First step: is the "
        "pod ready? If so, look at the NetworkPolicy and Prometheus' targets.",
        lasting="5m",
    )


def data_stale(target: Target) -> Alert:
    down = target.series("catsdogs_torchserve_up")
    age = target.series("catsdogs_worker_heartbeat_age_seconds")
    return Alert(
        "CatsdogsDataStale",
        f"({down} == 0)\nor\n(max without (worker) ({age}) > {STALE_S})\n",
        "ticket",
        f"The gateway of {WHERE} answers Prometheus, but its workers' figures are old or missing.",
        "Requests to this pod fail or wait, unless others answer them. First step: look at TorchServe's log of this "
        "pod.",
        lasting="2m",
    )


def workers_missing(target: Target) -> Alert:
    ready, wanted = target.series("catsdogs_workers_ready"), target.series("catsdogs_workers_wanted")
    return Alert(
        "CatsdogsWorkersMissing",
        f"{ready} < {wanted}\n",
        "ticket",
        f"{{{{ $value }}}} workers are ready in {WHERE}, fewer than it was started with.",
        "Answers take longer under load. First step: look in TorchServe's log for why workers end.",
        lasting="5m",
    )


def worker_restarts(target: Target) -> Alert:
    restarts = target.series("catsdogs_worker_restarts_total")
    return Alert(
        "CatsdogsWorkerRestarts",
        f"sum without (reason) (increase({restarts}[1h])) >= {WORKER_RESTARTS}\n",
        "ticket",
        f"Workers of {WHERE} were replaced {{{{ $value | humanize }}}} times within an hour.",
        "Each replaced worker fails the batch that it held (503 or 504). First step: see why on the board: hung, "
        "memory or ended. For memory, raise the container's limit.",
    )


def java_restarts(target: Target) -> Alert:
    restarts = target.series("catsdogs_torchserve_restarts_total")
    return Alert(
        "CatsdogsTorchServeRestarts",
        f"increase({restarts}[1h]) >= {JAVA_RESTARTS}\n",
        "ticket",
        f"TorchServe ended and was restarted {{{{ $value | humanize }}}} times within an hour in {WHERE}.",
        "Requests fail for seconds at each restart. First step: look in TorchServe's log for its last lines before an "
        "end.",
    )


def queue(target: Target) -> Alert:
    waiting, limit = target.series("catsdogs_queue_requests"), target.series("catsdogs_queue_limit_requests")
    return Alert(
        "CatsdogsQueueSaturated",
        f"min_over_time({waiting}[2m]) / {limit} > {QUEUE_FULL}\n",
        "ticket",
        f"The queue of {WHERE} is {{{{ $value | humanizePercentage }}}} full, and stays so.",
        "Users wait, and get 503 when the queue is full. First step: add pods, or find the client that sends more.",
        lasting="3m",
    )


def version_skew(target: Target) -> Alert:
    info = target.series("catsdogs_model_info")
    return Alert(
        "CatsdogsVersionSkew",
        f"count by (track) (count by (track, version, sha256) ({info})) > 1\n",
        "ticket",
        "{{ $value }} versions of the model answer side by side.",
        "The same picture gets different answers from one request to the next. First step: look at the rollout's "
        "status; a rollout that hangs leaves pods of both versions.",
        lasting="30m",
    )


def inputs_refused(target: Target) -> Alert:
    requests = f"{REQUESTS}_count"
    everyone = f"sum(increase({target.series(requests, USERS)}[10m]))"
    refused = f"sum(increase({target.series(requests, USERS, CLIENTS_FAULT)}[10m]))"
    return Alert(
        "CatsdogsInputsRefused",
        f"{refused} / ({everyone} > 0) > {REFUSED_SHARE} and {refused} >= {REFUSED_LEAST}\n",
        "ticket",
        "{{ $value | humanizePercentage }} of the requests are refused with a client error.",
        "Some client sends bad requests and gets no predictions; the server works. First step: the board shows the "
        "codes of refused requests; ask who changed a client.",
        lasting="30m",
    )


def groups(target: Target, indicators: tuple[Indicator, ...]) -> tuple[Group, ...]:
    """Return the alerts about being blind, and those about the server."""
    return (
        Group(
            "catsdogs-blind",
            (*(blind(target, indicator) for indicator in indicators), scrape_missing(target), data_stale(target)),
        ),
        Group(
            "catsdogs-server",
            (
                workers_missing(target),
                worker_restarts(target),
                java_restarts(target),
                queue(target),
                version_skew(target),
                inputs_refused(target),
            ),
        ),
    )
