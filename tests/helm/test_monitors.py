"""Tests of the PodMonitor and the ServiceMonitor: what they select, and both pages of metrics."""

import pytest

from tests.helm.support import Object, render, selects

MONITORS = {"podMonitor": "PodMonitor", "serviceMonitor": "ServiceMonitor"}
each = pytest.mark.parametrize(("value", "kind"), MONITORS.items())


def monitor(value: str, kind: str, **values: object) -> Object:
    return render({"metrics": {value: {"enabled": True, **values}}}).manifest(kind)


def endpoints(manifest: Object) -> list[Object]:
    listed: list[Object] = manifest["spec"].get("podMetricsEndpoints") or manifest["spec"]["endpoints"]
    return listed


def test_by_default_there_is_none() -> None:
    shaped = render()
    assert not [manifest for kind in MONITORS.values() for manifest in shaped.kind(kind)]


@each
def test_both_pages_of_metrics_are_read_and_told_apart(value: str, kind: str) -> None:
    pages = endpoints(monitor(value, kind))
    assert [(page["port"], page["path"]) for page in pages] == [
        ("metrics", "/metrics"),
        ("metrics", "/torchserve/metrics"),
    ]
    for page in pages:
        assert page["relabelings"] == [{"sourceLabels": ["__metrics_path__"], "targetLabel": "metrics_path"}]


@each
def test_the_interval_is_prometheus_own_unless_it_is_chosen(value: str, kind: str) -> None:
    assert not [endpoint for endpoint in endpoints(monitor(value, kind)) if "interval" in endpoint]
    assert {endpoint["interval"] for endpoint in endpoints(monitor(value, kind, interval="15s"))} == {"15s"}


@each
def test_a_prometheus_finds_it_by_labels_of_the_users(value: str, kind: str) -> None:
    labels = monitor(value, kind, labels={"release": "prometheus"})["metadata"]["labels"]
    assert labels.items() >= {"release": "prometheus", "app.kubernetes.io/name": "catsdogs"}.items()


@each
def test_the_job_is_the_release(value: str, kind: str) -> None:
    assert monitor(value, kind)["spec"]["jobLabel"] == "app.kubernetes.io/instance"


def test_a_pod_monitor_finds_the_pods_and_not_the_test() -> None:
    shaped = render({"metrics": {"podMonitor": {"enabled": True}}})
    selector = shaped.manifest("PodMonitor")["spec"]["selector"]["matchLabels"]
    assert selects(selector, shaped.template["metadata"]["labels"])
    assert not selects(selector, shaped.check["metadata"]["labels"])
    assert "metrics" in [port["name"] for port in shaped.gateway["ports"]]


def test_a_service_monitor_finds_the_service_of_the_metrics_alone() -> None:
    shaped = render({"metrics": {"serviceMonitor": {"enabled": True}}})
    selector = shaped.manifest("ServiceMonitor")["spec"]["selector"]["matchLabels"]
    services = [service for service in shaped.kind("Service") if selects(selector, service["metadata"]["labels"])]
    assert [service["metadata"]["name"] for service in services] == ["catsdogs-metrics"]
    assert [port["name"] for port in services[0]["spec"]["ports"]] == ["metrics"]


def test_the_pods_are_the_same_with_a_monitor_and_without() -> None:
    assert render({"metrics": {"podMonitor": {"enabled": True}}}).template == render().template
