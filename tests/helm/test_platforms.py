"""The values of a platform: each file's point, and that they go together."""

import re
from pathlib import Path

import pytest
import yaml

from tests.helm.support import CHART, CPU, Object, environment, render
from tests.helm.test_gpu import TAINT
from tests.helm.test_notes import notes
from tests.zoo import ROOT

GKE, EKS, AKS, MIG, KIND = (CHART / f"values-{name}.yaml" for name in ("gke", "eks", "aks", "mig", "kind"))
CLOUDS = [GKE, EKS, AKS]
cloud = pytest.mark.parametrize("file", CLOUDS, ids=lambda path: path.stem)


def annotations(file: Path) -> dict[str, str]:
    service_annotations: dict[str, str] = render(None, file).service["metadata"]["annotations"]
    return service_annotations


@cloud
def test_a_cloud_balances_load_from_within_alone(file: Path) -> None:
    assert render(None, file).service["spec"]["type"] == "LoadBalancer"
    assert {
        GKE: ("networking.gke.io/load-balancer-type", "Internal"),
        EKS: ("service.beta.kubernetes.io/aws-load-balancer-scheme", "internal"),
        AKS: ("service.beta.kubernetes.io/azure-load-balancer-internal", "true"),
    }[file] in annotations(file).items()


@cloud
def test_a_pod_serves_on_until_the_load_balancer_knows(file: Path) -> None:
    shaped = render(None, file)
    drain = int(next(word for word in shaped.gateway["command"] if word.startswith("--drain=")).partition("=")[2])
    assert drain >= 30
    assert shaped.pod["terminationGracePeriodSeconds"] > drain
    assert "takes 30 to 60 s to notice" not in notes(None, file)


@pytest.mark.parametrize("file", [*CLOUDS, MIG], ids=lambda path: path.stem)
def test_gpus_are_still_asked_for(file: Path) -> None:
    shaped = render(None, file)
    (name,) = (name for name in shaped.torchserve["resources"]["limits"] if name.startswith("nvidia.com/"))
    assert TAINT in shaped.pod["tolerations"]
    assert name == ("nvidia.com/mig-1g.10gb" if file == MIG else "nvidia.com/gpu")


def test_on_gke_the_driver_is_found_where_gke_mounts_it() -> None:
    shaped = render(None, GKE)
    assert shaped.pod["nodeSelector"] == {"cloud.google.com/gke-accelerator": "nvidia-l4"}
    variables = environment(shaped.torchserve)
    assert variables["LD_LIBRARY_PATH"] == "/usr/local/nvidia/lib64"
    first, *_, last = variables["PATH"].split(":")
    assert last == "/usr/local/nvidia/bin"
    assert f"ENV PATH={first}:$PATH" in (ROOT / "Dockerfile.serve").read_text()


def test_on_eks_pods_are_asked_whether_they_are_ready_and_forgotten_when_they_are_gone() -> None:
    prefix = "service.beta.kubernetes.io/aws-load-balancer-"
    settings = {key.removeprefix(prefix): value for key, value in annotations(EKS).items()}
    assert settings["nlb-target-type"] == "ip"
    shaped = render(None, EKS)
    probe = shaped.gateway["readinessProbe"]["httpGet"]
    port = next(port["containerPort"] for port in shaped.gateway["ports"] if port["name"] == probe["port"])
    assert (settings["healthcheck-path"], settings["healthcheck-port"]) == (probe["path"], str(port))
    gateway = yaml.safe_load(EKS.read_text())["gateway"]
    delay = gateway["drainSeconds"] + gateway["graceSeconds"]
    assert settings["target-group-attributes"] == f"deregistration_delay.timeout_seconds={delay}"


def test_on_aks_pods_go_to_gpu_nodes_that_are_tainted_as_microsofts_guide_does() -> None:
    shaped = render(None, AKS)
    assert {"key": "sku", "operator": "Equal", "value": "gpu", "effect": "NoSchedule"} in shaped.pod["tolerations"]
    assert shaped.check["spec"]["tolerations"] == shaped.pod["tolerations"]
    assert shaped.pod["nodeSelector"] == {"kubernetes.azure.com/accelerator": "nvidia"}


def test_on_aks_the_load_balancer_asks_rest_whether_it_is_ready_and_grpc_whether_it_is_open() -> None:
    path = annotations(AKS)["service.beta.kubernetes.io/azure-load-balancer-health-probe-request-path"]
    shaped = render(None, AKS)
    assert path == shaped.gateway["readinessProbe"]["httpGet"]["path"]
    assert [port["appProtocol"] for port in shaped.service["spec"]["ports"]] == ["http", "kubernetes.io/h2c"]


def test_a_slice_of_a_gpu_has_fewer_workers_in_less_memory() -> None:
    torchserve, gpu = render(None, MIG).torchserve, render().torchserve
    assert "--workers=2" in torchserve["command"]
    assert torchserve["resources"]["requests"] == torchserve["resources"]["limits"]
    memory, more = (
        int(container["resources"]["limits"]["memory"].removesuffix("Gi")) for container in (torchserve, gpu)
    )
    assert memory < more


@cloud
def test_slices_go_with_a_cloud(file: Path) -> None:
    shaped = render(None, file, MIG)
    assert shaped.torchserve["resources"]["limits"]["nvidia.com/mig-1g.10gb"] == 1
    assert shaped.service["spec"]["type"] == "LoadBalancer"


def test_on_kind_there_are_no_gpus_and_the_rest_is_as_on_other_cpus() -> None:
    alone, on_cpus = render(None, KIND), render(None, CPU, KIND)
    assert "nvidia" not in str(alone.objects)
    assert alone.objects == on_cpus.objects
    assert set(yaml.safe_load(KIND.read_text())) >= set(yaml.safe_load(CPU.read_text()))


def test_on_kind_the_services_ports_are_those_that_the_cluster_maps() -> None:
    shaped = render(None, KIND)
    cluster: Object = yaml.safe_load((ROOT / "k8s" / "kind.yaml").read_text())
    mapped = {mapping["hostPort"]: mapping["containerPort"] for mapping in cluster["nodes"][0]["extraPortMappings"]}
    assert {port["port"]: port["nodePort"] for port in shaped.service["spec"]["ports"]} == mapped


def test_on_kind_an_image_that_was_not_loaded_is_not_looked_for() -> None:
    shaped = render(None, KIND)
    containers = [shaped.torchserve, shaped.gateway, *shaped.check["spec"]["containers"]]
    assert {container["imagePullPolicy"] for container in containers} == {"Never"}


@pytest.mark.parametrize("file", [*CLOUDS, MIG, KIND], ids=lambda path: path.stem)
def test_each_says_on_top_whether_it_was_run(file: Path) -> None:
    head = re.match(r"(?:#.*\n)+", file.read_text())
    assert head is not None
    run = "Run on a cluster that was not kind's" if file == KIND else "Rendered and validated; not run."
    assert run in head[0]
    assert f"-f helm/{file.name}" in head[0]
