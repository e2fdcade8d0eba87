"""Tests of the PrometheusRule and the dashboard's ConfigMap: what a release puts into them."""

import json

import pytest

from tests.helm.support import Object, Rendered, render

RULES = {"monitoring": {"rules": {"enabled": True}}}
BOARD = {"monitoring": {"dashboard": {"enabled": True}}}


def expressions(shaped: Rendered) -> list[str]:
    groups = shaped.manifest("PrometheusRule")["spec"]["groups"]
    return [rule["expr"] for group in groups for rule in group["rules"]]


def alerts(shaped: Rendered) -> list[Object]:
    groups = shaped.manifest("PrometheusRule")["spec"]["groups"]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def test_by_default_there_is_neither() -> None:
    assert not render().kind("PrometheusRule")
    assert not render().kind("ConfigMap")


@pytest.mark.parametrize(("profile", "edge"), [("", 'le="0.25"'), ("shared", 'le=~"1([.]0)?"')])
def test_the_rules_follow_the_profile_of_objectives(profile: str, edge: str) -> None:
    slow = [
        expr for expr in expressions(render({**RULES, "sloProfile": profile})) if "_bucket{" in expr and "rest" in expr
    ]
    assert slow
    assert all(edge in expr for expr in slow)


def test_the_rules_look_at_the_pods_of_this_release_alone() -> None:
    shaped = render(RULES, release="pets", namespace="zoo")
    series = [expr for expr in expressions(shaped) if "catsdogs_request_duration_seconds" in expr]
    assert len(series) > 50
    assert all('{namespace="zoo",job="pets"' in expr for expr in series)
    assert shaped.manifest("PrometheusRule")["metadata"]["name"] == "pets-catsdogs"


def test_releases_of_one_name_in_two_namespaces_are_told_apart() -> None:
    ids = {
        rule["labels"]["sloth_id"]
        for namespace in ("one", "two")
        for group in render(RULES, namespace=namespace).manifest("PrometheusRule")["spec"]["groups"]
        for rule in group["rules"]
        if "sloth_id" in rule["labels"]
    }
    assert {"catsdogs.one-availability-rest", "catsdogs.two-availability-rest"} <= ids


def test_nothing_that_a_release_decides_is_left_open() -> None:
    shaped = render({"monitoring": {"rules": {"enabled": True, "runbookUrl": "https://wiki.example/alerts"}}})
    assert "__" not in json.dumps(shaped.manifest("PrometheusRule"))
    assert all(
        alert["annotations"]["runbook_url"].startswith("https://wiki.example/alerts#") for alert in alerts(shaped)
    )


def test_the_selector_is_the_users_where_there_is_one() -> None:
    shaped = render({"monitoring": {"rules": {"enabled": True, "selector": 'job="pods",app="cats"'}}})
    assert any('up{job="pods",app="cats",metrics_path' in expr for expr in expressions(shaped))


def test_the_alerts_texts_are_left_to_prometheus() -> None:
    (alert,) = [one for one in alerts(render(RULES)) if one["alert"] == "CatsdogsUnreachable"]
    assert alert["labels"]["severity"] == "page"
    assert any("{{ $labels.pod }}" in one["annotations"]["summary"] for one in alerts(render(RULES)))


def test_a_prometheus_finds_the_rules_by_labels_of_the_users() -> None:
    shaped = render({"monitoring": {"rules": {"enabled": True, "labels": {"release": "prometheus"}}}})
    assert shaped.manifest("PrometheusRule")["metadata"]["labels"]["release"] == "prometheus"


def test_with_the_rules_the_pods_are_read_every_15_seconds_unless_an_interval_is_chosen() -> None:
    def intervals(interval: str) -> set[str]:
        monitor = {"metrics": {"podMonitor": {"enabled": True, "interval": interval}}}
        endpoints = render(RULES | monitor).manifest("PodMonitor")["spec"]["podMetricsEndpoints"]
        return {one["interval"] for one in endpoints}

    assert intervals("") == {"15s"}
    assert intervals("5s") == {"5s"}


def test_grafanas_sidecar_finds_the_board() -> None:
    board = render(BOARD).manifest("ConfigMap", "-dashboard")
    assert board["metadata"]["labels"]["grafana_dashboard"] == "1"
    panels = json.loads(board["data"]["catsdogs.json"])["panels"]
    assert len([panel for panel in panels if panel["type"] == "row"]) == 6


def test_the_pods_are_the_same_with_the_rules_and_without() -> None:
    assert render(RULES | BOARD).template == render().template
