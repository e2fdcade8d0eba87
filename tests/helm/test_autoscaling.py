"""Tests of autoscaling: who changes the number of pods, by which metric, and how fast."""

import pytest

from tests.helm.support import CPU, Object, Rendered, render

HPA = {"autoscaling": {"type": "hpa"}}
BY_REQUESTS = {"autoscaling": {"type": "hpa", "metric": "requests"}}
KEDA = {
    "autoscaling": {"type": "keda", "metric": "requests", "prometheus": {"serverAddress": "http://prometheus:9090"}}
}


def hpa(shaped: Rendered) -> Object:
    spec: Object = shaped.manifest("HorizontalPodAutoscaler")["spec"]
    return spec


def scaled(shaped: Rendered) -> Object:
    spec: Object = shaped.manifest("ScaledObject")["spec"]
    return spec


def test_nothing_changes_the_number_of_pods_by_default() -> None:
    shaped = render()
    assert shaped.kind("HorizontalPodAutoscaler") == shaped.kind("ScaledObject") == []
    assert shaped.deployment["replicas"] == 2


@pytest.mark.parametrize("values", [BY_REQUESTS, KEDA], ids=["hpa", "keda"])
def test_an_autoscaled_deployment_names_no_number_that_would_undo_the_autoscalers(values: Object) -> None:
    assert "replicas" not in render(values).deployment


@pytest.mark.parametrize(("values", "kind"), [(BY_REQUESTS, "HorizontalPodAutoscaler"), (KEDA, "ScaledObject")])
def test_one_autoscaler_is_made_for_the_deployment(values: Object, kind: str) -> None:
    shaped = render(values)
    assert len(shaped.kind("HorizontalPodAutoscaler")) + len(shaped.kind("ScaledObject")) == 1
    target = shaped.manifest(kind)["spec"]["scaleTargetRef"]
    assert target == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": shaped.manifest("Deployment")["metadata"]["name"],
    }


def test_on_cpus_the_workers_cpu_is_what_is_held_by_default() -> None:
    spec = hpa(render(HPA, CPU))
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 6)
    (metric,) = spec["metrics"]
    assert metric == {
        "type": "ContainerResource",
        "containerResource": {
            "container": "torchserve",
            "name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": 120},
        },
    }


def test_the_default_share_is_of_what_values_cpu_requests_and_leaves_room() -> None:
    shaped = render(HPA, CPU)
    resources = shaped.torchserve["resources"]
    (metric,) = hpa(shaped)["metrics"]
    share = metric["containerResource"]["target"]["averageUtilization"] / 100
    of_limit = share * float(resources["requests"]["cpu"]) / float(resources["limits"]["cpu"])
    assert 0.5 <= of_limit <= 0.75


def test_requests_in_a_pod_are_asked_of_an_adapter() -> None:
    values = {"autoscaling": {**BY_REQUESTS["autoscaling"], "podsMetric": "mine", "requestsPerPod": 7}}
    (metric,) = hpa(render(values))["metrics"]
    assert metric == {
        "type": "Pods",
        "pods": {"metric": {"name": "mine"}, "target": {"type": "AverageValue", "averageValue": "7"}},
    }


def test_keda_asks_prometheus_for_the_requests_in_all_pods() -> None:
    (trigger,) = scaled(render(KEDA))["triggers"]
    assert (trigger["type"], trigger["metricType"]) == ("prometheus", "AverageValue")
    assert trigger["metadata"]["serverAddress"] == "http://prometheus:9090"
    assert trigger["metadata"]["threshold"] == "4"
    query = trigger["metadata"]["query"]
    assert 'namespace="default",pod=~"catsdogs-[a-z0-9]+-[a-z0-9]{5}"' in query
    assert query.endswith("or vector(0)"), "without a request there must be an answer"


def test_keda_takes_a_query_of_the_users() -> None:
    prometheus = {"serverAddress": "http://prometheus:9090", "query": "sum(up)"}
    values = {"autoscaling": {**KEDA["autoscaling"], "prometheus": prometheus}}
    (trigger,) = scaled(render(values))["triggers"]
    assert trigger["metadata"]["query"] == "sum(up)"


def test_keda_can_go_by_cpu() -> None:
    (trigger,) = scaled(render({"autoscaling": {"type": "keda", "cpuPercent": 90}}, CPU))["triggers"]
    assert trigger == {
        "type": "cpu",
        "metricType": "Utilization",
        "metadata": {"containerName": "torchserve", "value": "90"},
    }


def behavior(shaped: Rendered) -> Object:
    autoscalers = shaped.kind("HorizontalPodAutoscaler")
    if autoscalers:
        return dict(autoscalers[0]["spec"]["behavior"])
    return dict(scaled(shaped)["advanced"]["horizontalPodAutoscalerConfig"]["behavior"])


@pytest.mark.parametrize("values", [BY_REQUESTS, KEDA], ids=["hpa", "keda"])
def test_pods_come_at_once_and_leave_one_at_a_time(values: Object) -> None:
    scaling = behavior(render(values))
    assert scaling["scaleUp"]["stabilizationWindowSeconds"] == 0
    assert scaling["scaleDown"]["stabilizationWindowSeconds"] == 300
    assert scaling["scaleDown"]["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 60}]


def test_the_next_pod_leaves_once_the_last_has_drained() -> None:
    shaped = render({**BY_REQUESTS, "gateway": {"drainSeconds": 60, "graceSeconds": 120}})
    (policy,) = behavior(shaped)["scaleDown"]["policies"]
    assert policy["periodSeconds"] >= shaped.pod["terminationGracePeriodSeconds"] > 60


@pytest.mark.parametrize("values", [BY_REQUESTS, KEDA], ids=["hpa", "keda"])
def test_a_behavior_of_the_users_replaces_it_as_a_whole(values: Object) -> None:
    mine = {"scaleDown": {"selectPolicy": "Disabled"}}
    assert behavior(render({"autoscaling": {**values["autoscaling"], "behavior": mine}})) == mine


@pytest.mark.parametrize(("least", "budgets"), [(1, 0), (2, 1)])
def test_there_is_a_disruption_budget_where_there_is_always_more_than_one_pod(least: int, budgets: int) -> None:
    values = {"replicas": 3 - least, "autoscaling": {"type": "hpa", "minReplicas": least}}
    assert len(render(values, CPU).kind("PodDisruptionBudget")) == budgets
