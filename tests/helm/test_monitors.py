"""Tests of the PodMonitor and the ServiceMonitor: what they select, and both pages of metrics."""

import pytest

from tests.helm.support import Object, render, selects

MONITORS = {"podMonitor": "PodMonitor", "serviceMonitor": "ServiceMonitor"}
each = pytest.mark.parametrize(("value", "kind"), MONITORS.items())


def monitor(value: str, kind: str, **values: object) -> Object:
    return render({"metrics": {value: {"enabled": True, **values}}}).one(kind)


def endpoints(one: Object) -> list[Object]:
    found: list[Object] = one["spec"].get("podMetricsEndpoints") or one["spec"]["endpoints"]
    return found


def test_by_default_there_is_none() -> None:
    shaped = render()
    assert not [one for kind in MONITORS.values() for one in shaped.kind(kind)]


@each
def test_both_pages_of_metrics_are_read_and_told_apart(value: str, kind: str) -> None:
    found = endpoints(monitor(value, kind))
    assert [(one["port"], one["path"]) for one in found] == [
        ("metrics", "/metrics"),
        ("metrics", "/torchserve/metrics"),
    ]
    for one in found:
        assert one["relabelings"] == [{"sourceLabels": ["__metrics_path__"], "targetLabel": "metrics_path"}]


@each
def test_the_interval_is_prometheus_own_unless_it_is_chosen(value: str, kind: str) -> None:
    assert not [one for one in endpoints(monitor(value, kind)) if "interval" in one]
    assert {one["interval"] for one in endpoints(monitor(value, kind, interval="15s"))} == {"15s"}


@each
def test_a_prometheus_finds_it_by_labels_of_the_users(value: str, kind: str) -> None:
    labels = monitor(value, kind, labels={"release": "prometheus"})["metadata"]["labels"]
    assert labels.items() >= {"release": "prometheus", "app.kubernetes.io/name": "catsdogs"}.items()


@each
def test_the_job_is_the_release(value: str, kind: str) -> None:
    assert monitor(value, kind)["spec"]["jobLabel"] == "app.kubernetes.io/instance"


def test_a_pod_monitor_finds_the_pods_and_not_the_test() -> None:
    shaped = render({"metrics": {"podMonitor": {"enabled": True}}})
    selector = shaped.one("PodMonitor")["spec"]["selector"]["matchLabels"]
    assert selects(selector, shaped.template["metadata"]["labels"])
    assert not selects(selector, shaped.check["metadata"]["labels"])
    assert "metrics" in [one["name"] for one in shaped.gateway["ports"]]


def test_a_service_monitor_finds_the_service_of_the_metrics_alone() -> None:
    shaped = render({"metrics": {"serviceMonitor": {"enabled": True}}})
    selector = shaped.one("ServiceMonitor")["spec"]["selector"]["matchLabels"]
    found = [one for one in shaped.kind("Service") if selects(selector, one["metadata"]["labels"])]
    assert [one["metadata"]["name"] for one in found] == ["catsdogs-metrics"]
    assert [one["name"] for one in found[0]["spec"]["ports"]] == ["metrics"]


def test_the_pods_are_the_same_with_a_monitor_and_without() -> None:
    assert render({"metrics": {"podMonitor": {"enabled": True}}}).template == render().template
