"""Rows about what users feel: the service level, the requests, and where their time goes."""

from monitoring.board.panel import Panel, Row, mean, named, quantile, rate, recorded
from monitoring.objectives import Objectives
from monitoring.rules.indicators import REQUESTS


def service_level() -> Row:
    return Row(
        "Service level and error budget",
        (
            Panel(
                "Error budget left",
                "percentunit",
                {"{{sloth_slo}}": recorded("slo:period_error_budget_remaining:ratio")},
                "Share of the budget of 30 days that is left, by objective. Below 0 the objective is broken.",
                kind="stat",
                line=0,
                width=12,
                good="high",
            ),
            Panel(
                "Alerts",
                "none",
                {
                    "{{severity}} {{alertname}} {{protocol}}": "sum by (severity, alertname, protocol) "
                    '(ALERTS{alertname=~"Catsdogs.*",alertstate="firing"}) or vector(0)'
                },
                "Alerts that fire now; a single 0 where there is none.",
                kind="stat",
                line=1,
                width=12,
            ),
            Panel(
                "Burn rate",
                "none",
                {"{{sloth_slo}}": recorded("slo:current_burn_rate:ratio")},
                "Bad requests of 5 minutes, as a multiple of what the objective allows. 14.4 for an hour pages.",
                line=14.4,
                width=12,
            ),
            Panel(
                "Bad requests",
                "percentunit",
                {"{{sloth_slo}}": recorded("slo:sli_error:ratio_rate5m")},
                "Share of failed or slow requests in 5 minutes, by objective.",
                width=12,
            ),
        ),
    )


def requests(objectives: Objectives) -> Row:
    users = 'traffic="user"'
    versions = f"max by (instance, version) ({named('catsdogs_model_info')})"
    by_version = f"sum by (instance) ({rate(f'{REQUESTS}_count')})"
    threshold = min(latency.threshold for latency in objectives.latency.values())
    return Row(
        "Requests",
        (
            Panel(
                "By code",
                "reqps",
                {"{{code}}": f"sum by (code) ({rate(f'{REQUESTS}_count', users)})"},
                "Requests of users by HTTP status. 499: the client left before its answer.",
                stacked=True,
            ),
            Panel(
                "By version",
                "reqps",
                {"{{version}}": f"sum by (version) ({by_version} * on (instance) group_left (version) {versions})"},
                "Requests, probes included, by version of the model.",
                stacked=True,
            ),
            Panel(
                "By protocol",
                "reqps",
                {"{{protocol}}": f"sum by (protocol) ({rate(f'{REQUESTS}_count', users)})"},
                "Requests of users by protocol.",
                stacked=True,
            ),
            Panel(
                "Latency",
                "s",
                {
                    f"p{share * 100:g}": quantile(share, REQUESTS, "", users, 'code="200"')
                    for share in (0.5, 0.95, 0.99)
                },
                "Latency of answered requests, upload included, from the gateway's histogram.",
                line=threshold,
            ),
            Panel(
                "99th percentile by protocol",
                "s",
                {"{{protocol}}": quantile(0.99, REQUESTS, "protocol", users, 'code="200"')},
                "Latency that 1 % of the answered requests exceed.",
                line=threshold,
            ),
            Panel(
                "Refused or failed",
                "reqps",
                {"{{code}}": f"sum by (code) ({rate('catsdogs_problems_total', users)})"},
                "By the code of the problem. The server's fault are deadline, internal and overloaded alone.",
                stacked=True,
            ),
        ),
    )


def stages() -> Row:
    stage = "catsdogs_stage_duration_seconds"
    return Row(
        "Stages: where the time goes",
        (
            Panel(
                "Mean by stage",
                "s",
                {"{{stage}}": mean(stage, "stage")},
                "Queue and decode of a request, network of a batch.",
            ),
            Panel(
                "99th percentile by stage",
                "s",
                {"{{stage}}": quantile(0.99, stage, "stage")},
                "Time that 1 % of the requests or batches exceed.",
            ),
            Panel(
                "Workers' time by stage",
                "percentunit",
                {
                    "{{stage}}": workers_time(stage),
                },
                "Share of the workers' busy time. The rest is spent on reading, writing and waiting for each other.",
            ),
        ),
    )


def workers_time(stage: str) -> str:
    working = rate(f"{stage}_sum", 'stage!="queue"')
    return f"sum by (stage) ({working}) / on () group_left () sum({rate('catsdogs_worker_busy_seconds_total')})"
