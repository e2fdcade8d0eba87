"""Tests of the notes that are printed after an install: how to reach the server, and what the chosen values mean."""

import json
from pathlib import Path

import pytest

from tests.helm.support import CHART, CPU, HTTP, KEYS, PVC, S3, SHA, Object, render, with_model
from tests.helm.test_autoscaling import BY_REQUESTS, KEDA

# NOTES.txt is printed only by an install; a template that includes the same is rendered everywhere.
PROBE = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "notes"}, "data": {"notes": "NOTES"}})


def notes(values: Object | None = None, *files: Path, release: str = "catsdogs") -> str:
    probe = PROBE.replace('"NOTES"', '{{ include "catsdogs.notes" . | toJson }}')
    text: str = render({**(values or {}), "extraObjects": [probe]}, *files, release=release).manifest("ConfigMap")[
        "data"
    ]["notes"]
    return text


def test_they_are_what_an_install_prints() -> None:
    assert (CHART / "templates" / "NOTES.txt").read_text().splitlines()[1:] == ['{{ include "catsdogs.notes" . }}']


def test_they_say_how_to_reach_it() -> None:
    text = notes(release="pets")
    assert "kubectl --namespace default port-forward service/pets-catsdogs 8080:8080" in text
    assert "curl --data-binary @photo.jpg http://127.0.0.1:8080/predictions/catsdogs" in text
    assert "gRPC at pets-catsdogs.default:7070" in text
    assert "http://pets-catsdogs-metrics.default:8082/metrics" in text
    assert "rollout status deployment/pets-catsdogs" in text
    assert "helm --namespace default test pets" in text


@pytest.mark.parametrize(("kind", "word"), [("NodePort", "any node's"), ("LoadBalancer", "EXTERNAL-IP")])
def test_they_say_where_another_kind_of_service_is(kind: str, word: str) -> None:
    text = notes({"service": {"type": kind}})
    assert word in text
    assert "port-forward" not in text


def test_they_say_what_runs() -> None:
    assert notes({"gpu": {"count": 2}}).startswith(
        "catsdogs 0.2.0: 2 pods with 2 nvidia.com/gpu each, image catsdogs-serve:0.2.0-gpu"
    )
    assert notes({"replicas": 1}, CPU).startswith("catsdogs 0.2.0: 1 pod on CPUs, image catsdogs-serve:0.2.0-cpu")


def test_with_keys_they_show_how_to_bring_one() -> None:
    assert 'curl -H "Authorization: Bearer $KEY" --data-binary' in notes(KEYS)


def test_they_say_how_long_a_pod_takes_to_go() -> None:
    assert "gone after 80 s at the latest: it serves for 45 s more" in notes({"gateway": {"drainSeconds": 45}})


HEADER = {"url": "http://models/a.mar", "existingSecret": "token"}
# Values, and a sentence that is there with them and not without.
REMARKS: dict[str, tuple[Object, str]] = {
    "fetched by each pod": (HTTP, "each new pod fetches the archive, and none starts while that server cannot be"),
    "asked by a role": (S3, "the bucket is asked by the role of the service account, or as anybody"),
    "a header to be read": (with_model(HTTP, http=HEADER), "whoever listens on the way can read the header of token"),
    "a cache for several nodes": (
        with_model(HTTP, cache={"claimName": "kept"}),
        "model.cache.claimName is kept: it must be one that pods on several nodes can mount",
    ),
    "a cache on the node": (
        with_model(S3, cache={"hostPath": "/kept"}),
        "where Pod Security `baseline` or `restricted` is enforced, no pod is let in. Old archives in /kept are yours",
    ),
    "no pod": ({"replicas": 0}, "nothing answers"),
    "one pod on a GPU": ({"replicas": 1}, "each rollout leaves a gap of a pod's start"),
    "no budget": ({"pdb": {"enabled": False}}, "all pods may be evicted at once"),
    "a short drain": ({"gateway": {"drainSeconds": 2}}, "a rollout may lose requests"),
    "a slow balancer": ({"service": {"type": "LoadBalancer"}}, "takes 30 to 60 s to notice"),
    "surge": ({"strategy": {"rollingUpdate": {"maxSurge": 1}}}, "without a spare nvidia.com/gpu for 1 per surging pod"),
    "recreate": ({"strategy": {"type": "Recreate"}}, "strategy is Recreate"),
    "no surge": ({"replicas": 4}, "they replace one of the 4 pods at a time, and 3 of 4 serve meanwhile"),
    "autoscaled": (BY_REQUESTS | {"autoscaling": {**BY_REQUESTS["autoscaling"], "maxReplicas": 9}}, ": 2 to 9 pods"),
    "one autoscaled pod on a GPU": (
        {"autoscaling": {**BY_REQUESTS["autoscaling"], "minReplicas": 1}},
        "autoscaling.minReplicas is 1: each rollout leaves a gap",
    ),
    "an adapter": (BY_REQUESTS, "until an adapter offers catsdogs_requests_in_pod, the number of pods stays as it is"),
    "keda": (KEDA, "without KEDA in the cluster the ScaledObject was refused"),
    "no node is looked at": (
        {"gpu": {"resourceName": "nvidia.com/mig-1g.10gb"}},
        "where no node has nvidia.com/mig-1g",
    ),
    "own pictures": ({"validation": {"claimName": "known"}}, "class is known, those of known:"),
    "a model of other classes": (HTTP, "asks about the image's own cats and dogs, and a model of other classes fails"),
    "a volume": (PVC, "store must be one that pods on several nodes can mount"),
}


@pytest.mark.parametrize("case", REMARKS)
def test_what_the_values_mean_is_said(case: str) -> None:
    values, sentence = REMARKS[case]
    assert sentence in notes(values)
    assert sentence not in notes()


@pytest.mark.parametrize(
    ("image", "unpublished"),
    [
        ({}, True),
        ({"repository": "mine", "digest": f"sha256:{SHA}"}, True),
        ({"pullPolicy": "Never"}, False),
        ({"repository": "registry.example/catsdogs-serve"}, False),
        ({"repository": "localhost:5000/catsdogs-serve"}, False),
        ({"repository": "pets/catsdogs-serve"}, False),
    ],
    ids=["default", "digest", "never pulled", "registry", "port", "Docker Hub"],
)
def test_an_image_that_nobody_publishes_is_told(image: Object, unpublished: bool) -> None:
    assert ("names no registry, and this image is not published" in notes({"image": image})) == unpublished


def test_nodes_without_gpus_are_shown_by_a_command_that_names_the_resource() -> None:
    text = notes()
    assert r"GPUS:.status.allocatable.nvidia\.com/gpu'" in text
    assert "allocatable" not in notes(None, CPU)


def gpu_remark(*gpus: str | None) -> str:
    """Render the notes for a cluster whose nodes have so many GPUs."""
    nodes = [
        {"status": {"allocatable": {"cpu": "8", **({"nvidia.com/gpu": number} if number else {})}}} for number in gpus
    ]
    call = f'(include "catsdogs.gpuRemark" (list $ ({json.dumps(json.dumps(nodes))} | fromJsonArray))) | toJson'
    probe = PROBE.replace('"NOTES"', "{{ " + call + " }}")
    text: str = render({"extraObjects": [probe]}).manifest("ConfigMap")["data"]["notes"]
    return text


def test_a_cluster_without_gpus_is_warned_of() -> None:
    assert "WARNING: gpu.enabled is true, but no node of this cluster has nvidia.com/gpu" in gpu_remark(None, "0")
    assert gpu_remark(None, "2") == ""


def test_without_a_cluster_to_look_at_checking_nodes_says_how_to_look() -> None:
    assert notes({"gpu": {"checkNodes": True}}) == notes()
    assert "where no node has nvidia.com/gpu" in gpu_remark()


def test_one_pod_on_cpus_leaves_no_gap_in_a_rollout() -> None:
    text = notes({"replicas": 1}, CPU)
    assert "rollouts leave no gap, but a node that is drained or lost does" in text


def test_without_a_key_they_say_who_may_ask() -> None:
    assert "everyone in the cluster can use the model" in notes()
    assert "everyone who reaches the load balancer or a node" in notes({"service": {"type": "NodePort"}})
    assert "can use the model" not in notes(KEYS)


@pytest.mark.parametrize("values", [{"model": {"sha256": SHA}}, {"image": {"digest": f"sha256:{SHA}"}}])
def test_a_model_that_nothing_pins_is_told(values: Object) -> None:
    assert "tags can be moved" in notes()
    assert "tags can be moved" not in notes(values)
