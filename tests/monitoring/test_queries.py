"""Every query of the rules and the board: a real Prometheus runs it and returns data; names are the contract's."""

import copy
import json
import os
import re
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from monitoring.board.dashboard import ALERTS, ROLLOUTS
from monitoring.board.model import DOUBTED
from monitoring.rules.model import Target
from tests.monitoring.fleet import Pod, contract
from tests.monitoring.prometheus import Prometheus, running, served
from tests.monitoring.support import rendered, rule_file, rules

SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)\{([^}]*)\}")
MATCHER = re.compile(r'(\w+)(=~|!=|!~|=)"([^"]*)"')
ADDED = {"job", "namespace", "pod", "instance", "track", "metrics_path", "le"}
# Of both generations where the machine has them: PROMETHEUS3 names a binary, which `make monitoring-oracles` builds.
BINARIES = [shutil.which("prometheus") or "", os.environ.get("PROMETHEUS3", "")]


def panels(board: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for panel in board["panels"]:
        yield panel
        yield from panel.get("panels") or []


def board() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(rendered()["board.json"])
    return document


def board_queries() -> list[str]:
    return [target["expr"] for panel in panels(board()) for target in panel.get("targets") or []]


def filled(query: str) -> str:
    """Return a query of the board as Grafana sends it."""
    return query.replace("$namespace", "pets").replace("$__rate_interval", "1m")


def all_queries() -> list[str]:
    return [*(rule["expr"] for rule in rules()), *map(filled, [*board_queries(), ROLLOUTS])]


@pytest.fixture(scope="module", params=BINARIES, ids=["prometheus 2", "prometheus 3"])
def prometheus(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    if not request.param:
        pytest.skip("this Prometheus is not installed")
    pods = [Pod("a"), Pod("b")]
    folder = tmp_path_factory.mktemp("prometheus")
    with served(pods) as target, running(request.param, folder, copy.deepcopy(rule_file()), target, pods) as started:
        assert started.has("count(up == 1) == 2", 60)
        assert started.has('slo:period_error_budget_remaining:ratio{sloth_slo="latency-grpc"}', 60)
        assert started.has("catsdogs:accuracy_estimate:6h", 60)
        yield started


def test_every_recorded_series_has_data(prometheus: Prometheus) -> None:
    records = [rule for rule in rules() if "record" in rule]
    assert [rule["record"] for rule in records if not prometheus.has(rule["expr"])] == []
    assert [rule["record"] for rule in records if not prometheus.has(rule["record"])] == []


def test_every_alert_runs_and_what_it_selects_is_there(prometheus: Prometheus) -> None:
    alerts = [rule for rule in rules() if "alert" in rule]
    for rule in alerts:
        prometheus.query(rule["expr"])
    selected = {match[0] for rule in alerts for match in SELECTOR.finditer(rule["expr"])}
    assert len(selected) > 50
    assert sorted(selector for selector in selected if not prometheus.has(selector)) == []


def test_a_server_that_is_well_has_no_alert(prometheus: Prometheus) -> None:
    assert prometheus.query('ALERTS{alertstate="firing"}') == []


def test_every_query_of_the_board_has_data(prometheus: Prometheus) -> None:
    queries = [filled(query) for query in board_queries() if query != DOUBTED]
    assert len(queries) > 35
    assert prometheus.query(filled(DOUBTED)) == []
    assert [query for query in queries if not prometheus.has(query)] == []
    assert prometheus.has(filled(ROLLOUTS))
    prometheus.query(ALERTS)


def test_a_bucket_is_found_however_prometheus_writes_its_edge(prometheus: Prometheus) -> None:
    labels = 'code="200",protocol="rest",traffic="user",le=~"1([.]0)?"'
    query = f"count by (pod) (catsdogs_request_duration_seconds_bucket{{{labels}}})"
    assert {sample["metric"]["pod"]: sample["value"][1] for sample in prometheus.query(query)} == {"a": "1", "b": "1"}


def test_the_latency_is_measured_in_both_pods(prometheus: Prometheus) -> None:
    (sample,) = prometheus.query('slo:sli_error:ratio_rate5m{sloth_slo="latency-rest"}')
    assert float(sample["value"][1]) == pytest.approx(0, abs=1e-9)


def series_of(name: str) -> tuple[dict[str, Any], bool] | None:
    """Return the metric of the contract that has this series, and whether it is a histogram's bucket."""
    family = re.sub(r"_(bucket|sum|count)$", "", name)
    metric = contract().get(name) or contract().get(family)
    return (metric, name.endswith("_bucket")) if metric else None


@pytest.mark.parametrize("query", all_queries())
def test_names_and_labels_are_those_of_the_contract(query: str) -> None:
    for selector in SELECTOR.finditer(query):
        name, matchers = selector[1], MATCHER.findall(selector[2])
        if not name.startswith("catsdogs_"):
            continue
        described = series_of(name)
        assert described is not None, name
        labels = described[0]["labels"]
        for label, operator, value in matchers:
            assert label in labels or label in ADDED, (name, label)
            if operator == "=" and labels.get(label):
                assert value in labels[label], (name, label, value)
            elif operator == "=~" and labels.get(label):
                for choice in value.split("|"):
                    assert any(re.fullmatch(choice, one) for one in labels[label]), (name, label, choice)


def test_another_selector_reaches_every_series_of_the_server() -> None:
    from monitoring.rules.files import rule_file as make
    from tests.monitoring.support import service

    made = make(Target("mine", 'job="mine"'), service().objectives)
    for group in made["groups"]:
        for rule in group["rules"]:
            for name, matchers in SELECTOR.findall(rule["expr"]):
                if name.startswith(("catsdogs_", "up")):
                    assert matchers.startswith('job="mine"'), (rule, name)
