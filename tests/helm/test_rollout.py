"""Going and coming: grace periods, strategies, budgets, spread, and what restarts pods."""

import shutil
from pathlib import Path

import pytest

from tests.helm.support import CHART, CPU, EVERYTHING, HTTP, PVC, SHA, Object, flags, render, selects, with_model


def test_a_gpu_rollout_needs_no_spare_gpu() -> None:
    assert render().deployment["strategy"] == {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}


def test_a_cpu_rollout_starts_the_new_pod_first() -> None:
    assert render(None, CPU).deployment["strategy"] == {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


@pytest.mark.parametrize(
    "strategy", [{"type": "Recreate"}, {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}}]
)
def test_a_strategy_of_the_users_replaces_it_as_a_whole(strategy: Object) -> None:
    assert render({"strategy": strategy}).deployment["strategy"] == strategy


@pytest.mark.parametrize(("drain", "grace", "whole"), [(10, 20, 45), (0, 11, 26), (60, 120, 195)])
def test_the_grace_period_holds_the_drain_the_requests_and_torchserve(drain: int, grace: int, whole: int) -> None:
    shaped = render({"gateway": {"drainSeconds": drain, "graceSeconds": grace}})
    assert shaped.pod["terminationGracePeriodSeconds"] == whole
    assert flags(shaped.gateway).items() >= {"drain": str(drain), "grace": str(grace)}.items()


def test_the_drain_is_done_by_the_gateway_and_needs_no_hook() -> None:
    for container in (render().gateway, render().torchserve):
        assert "lifecycle" not in container


@pytest.mark.parametrize("seconds", [45, 300])
def test_a_longer_grace_period_is_kept(seconds: int) -> None:
    assert render({"terminationGracePeriodSeconds": seconds}).pod["terminationGracePeriodSeconds"] == seconds


@pytest.mark.parametrize("values", [{}, {"startupSeconds": 3600}, {"terminationGracePeriodSeconds": 900}])
def test_a_good_rollout_is_never_called_failed(values: Object) -> None:
    shaped = render(values)
    startup = shaped.torchserve["startupProbe"]
    turn = (
        shaped.pod["terminationGracePeriodSeconds"]
        + startup["periodSeconds"] * startup["failureThreshold"]
        + shaped.deployment["minReadySeconds"]
    )
    # Ten minutes for a node and gigabytes of image.
    assert shaped.deployment["progressDeadlineSeconds"] >= turn + 600


def test_fetching_the_model_takes_its_time_of_a_rollout() -> None:
    values = with_model(HTTP, fetchSeconds=1000)
    assert render(values).deployment["progressDeadlineSeconds"] - render().deployment["progressDeadlineSeconds"] == 1000
    assert render(PVC).deployment["progressDeadlineSeconds"] == render().deployment["progressDeadlineSeconds"]


def test_a_shorter_deadline_may_be_chosen() -> None:
    assert render({"progressDeadlineSeconds": 300}).deployment["progressDeadlineSeconds"] == 300


def test_a_new_pod_is_watched_until_clients_know_it() -> None:
    assert render().deployment["minReadySeconds"] == 5


@pytest.mark.parametrize(("values", "there"), [({}, True), ({"replicas": 1}, False), ({"replicas": 0}, False)])
def test_only_several_replicas_have_a_disruption_budget(values: Object, there: bool) -> None:
    assert len(render(values).kind("PodDisruptionBudget")) == there


def test_the_disruption_budget_never_holds_a_broken_pod() -> None:
    shaped = render()
    budget = shaped.manifest("PodDisruptionBudget")["spec"]
    assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    assert budget["maxUnavailable"] == 1
    assert selects(budget["selector"]["matchLabels"], shaped.template["metadata"]["labels"])


def test_the_disruption_budget_can_be_set_and_left_out() -> None:
    assert render({"pdb": {"maxUnavailable": "25%"}}).manifest("PodDisruptionBudget")["spec"]["maxUnavailable"] == "25%"
    assert not render({"pdb": {"enabled": False}}).kind("PodDisruptionBudget")


def test_pods_of_one_version_are_spread_over_hosts_and_zones() -> None:
    shaped = render()
    constraints = shaped.pod["topologySpreadConstraints"]
    assert {constraint["topologyKey"] for constraint in constraints} == {
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
    }
    for constraint in constraints:
        assert constraint["whenUnsatisfiable"] == "ScheduleAnyway"
        assert constraint["matchLabelKeys"] == ["pod-template-hash"]
        assert selects(constraint["labelSelector"]["matchLabels"], shaped.template["metadata"]["labels"])


def test_a_spread_with_a_selector_of_its_own_is_left_alone() -> None:
    own = {
        "topologyKey": "rack",
        "maxSkew": 2,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"team": "pets"}},
    }
    assert render({"topologySpreadConstraints": [own]}).pod["topologySpreadConstraints"] == [own]


def test_spread_can_be_left_out() -> None:
    assert "topologySpreadConstraints" not in render({"topologySpreadConstraints": []}).pod


@pytest.mark.parametrize(
    "values",
    [
        {"model": {"sha256": SHA}},
        {"image": {"tag": "other"}},
        {"torchserve": {"workers": 2}},
        {"gateway": {"drainSeconds": 11}},
        {"gpu": {"precision": "fp32"}},
    ],
)
def test_what_changes_the_pods_settings_rolls_them(values: Object) -> None:
    assert render(values).template != render().template


def test_another_model_on_the_volume_rolls_the_pods_and_is_named_on_them() -> None:
    other = render(PVC | {"model": PVC["model"] | {"sha256": "0" * 64}})
    assert other.template["metadata"]["annotations"]["checksum/model"] == "0" * 64
    assert other.template != render(PVC).template


@pytest.mark.parametrize("values", [{"replicas": 5}, {"pdb": {"enabled": False}}, {"service": {"type": "NodePort"}}])
def test_what_does_not_concern_the_pods_restarts_none(values: Object) -> None:
    assert render(values).template == render().template


def test_a_new_version_of_the_chart_restarts_none(tmp_path: Path) -> None:
    chart = tmp_path / "helm"
    shutil.copytree(CHART, chart)
    text = (chart / "Chart.yaml").read_text()
    (chart / "Chart.yaml").write_text(text.replace("\nversion: ", "\nversion: 9", 1))
    newer = render(EVERYTHING, chart=chart)
    assert newer.manifest("Deployment")["metadata"]["labels"]["helm.sh/chart"].startswith("catsdogs-9")
    assert newer.template == render(EVERYTHING).template
