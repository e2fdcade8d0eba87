"""GPUs: asked for by name, on nodes that are kept for them, by the container that uses them."""

import pytest

from tests.helm.support import CPU, EVERYTHING, environment, render

MIG = "nvidia.com/mig-1g.10gb"
# As node pools are tainted, by hand and by GKE.
TAINT = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}


@pytest.mark.parametrize(("name", "count"), [("nvidia.com/gpu", 1), ("nvidia.com/gpu", 4), (MIG, 2)])
def test_torchserve_alone_gets_the_gpus(name: str, count: int) -> None:
    shaped = render({"gpu": {"resourceName": name, "count": count}})
    for amounts in ("requests", "limits"):
        assert shaped.torchserve["resources"][amounts][name] == count
        assert name not in shaped.gateway["resources"][amounts]
        assert len([key for key in shaped.torchserve["resources"][amounts] if key.startswith("nvidia.com/")]) == 1
    assert not [key for key in shaped.check["spec"]["containers"][0]["resources"]["limits"] if "nvidia" in key]


def test_pods_on_a_gpu_node_are_guaranteed() -> None:
    shaped = render()
    for container in (shaped.torchserve, shaped.gateway):
        assert container["resources"]["requests"] == container["resources"]["limits"]
        assert {"cpu", "memory"} <= container["resources"]["limits"].keys()


def test_gpu_nodes_are_tolerated_also_by_the_slices_name_and_by_the_test() -> None:
    shaped = render({"gpu": {"resourceName": MIG}})
    assert shaped.pod["tolerations"] == [TAINT, TAINT | {"key": MIG}]
    assert shaped.check["spec"]["tolerations"] == shaped.pod["tolerations"]
    assert render().pod["tolerations"] == [TAINT]


def test_more_tolerations_are_added() -> None:
    assert render(EVERYTHING).pod["tolerations"] == [TAINT, {"key": "spot", "operator": "Exists"}]


def test_the_runtime_class_is_empty_unless_it_is_named() -> None:
    assert "runtimeClassName" not in render().pod
    assert render({"gpu": {"runtimeClassName": "nvidia"}}).pod["runtimeClassName"] == "nvidia"


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_precision_reaches_the_workers_which_must_find_a_gpu(precision: str) -> None:
    variables = environment(render({"gpu": {"precision": precision}}).torchserve)
    assert variables == {"CATSDOGS_DEVICE": "cuda", "CATSDOGS_PRECISION": precision}


def test_no_gpu_leaks_into_what_did_not_ask_for_one() -> None:
    shaped = render()
    for container in (shaped.gateway, shaped.check["spec"]["containers"][0]):
        assert environment(container)["NVIDIA_VISIBLE_DEVICES"] == "void"


def test_cpu_nodes_know_nothing_of_gpus() -> None:
    shaped = render({"gpu": {"runtimeClassName": "nvidia"}}, CPU)
    assert "nvidia" not in str(shaped.objects).lower()
    assert "cuda" not in str(shaped.objects).lower()
    assert "tolerations" not in shaped.pod


def test_on_cpus_the_workers_have_a_limit_and_the_gateway_is_not_throttled() -> None:
    shaped = render(None, CPU)
    assert shaped.torchserve["resources"]["limits"] == {"cpu": "2", "memory": "3Gi"}
    assert shaped.gateway["resources"]["limits"] == {"memory": render().gateway["resources"]["limits"]["memory"]}


def test_a_cpu_runtime_can_be_put_on_a_gpu_node() -> None:
    shaped = render({"runtime": "mnn", "precision": "fp32", "image": {"tag": "0.2.0-cpu"}})
    variables = environment(shaped.torchserve)
    assert (variables["CATSDOGS_RUNTIME"], variables["CATSDOGS_PRECISION"]) == ("mnn", "fp32")
    assert shaped.torchserve["image"] == "catsdogs-serve:0.2.0-cpu"
    assert shaped.torchserve["resources"]["limits"]["nvidia.com/gpu"] == 1
