"""A second Deployment with another image or model: what it has of stable, what it has not, and who counts its pods."""

import re

import pytest

from tests.helm.support import (
    CPU,
    EVERYTHING,
    HTTP,
    IMAGE_VOLUMES,
    OCI,
    PVC,
    ROUTES,
    S3,
    SHA,
    Object,
    Rendered,
    flags,
    named,
    refusal,
    render,
    selects,
    with_model,
)
from tests.helm.test_autoscaling import BY_REQUESTS, KEDA
from tests.helm.test_notes import notes

OTHER = "0" * 64
IMAGE = {"canary": {"enabled": True, "image": {"tag": "next"}}}


def with_canary(values: Object, **canary: object) -> Object:
    return {**values, "canary": {"enabled": True, **canary}}


def weighted(weight: int) -> Object:
    return with_canary(ROUTES, image={"tag": "next"}, weight=weight)


# Where its model comes from elsewhere than its image: of each source, another archive.
MODELS: dict[str, tuple[Object, str]] = {
    "pvc": (
        with_canary(PVC, model={"sha256": OTHER, "pvc": {"path": "models/next.mar"}}),
        "/models/models/next.mar",
    ),
    "http": (
        with_canary(HTTP, model={"sha256": OTHER, "http": {"url": "https://models.example/next.mar"}}),
        f"/models/{OTHER}.mar",
    ),
    "s3": (with_canary(S3, model={"sha256": OTHER, "s3": {"key": "next.mar"}}), f"/models/{OTHER}.mar"),
    "oci": (
        with_canary(OCI, model={"sha256": OTHER, "oci": {"reference": "registry.example/models/catsdogs:next"}}),
        "/models/catsdogs.mar",
    ),
}


def track(shaped: Rendered, name: str) -> Object:
    (spec,) = [
        deployment["spec"]
        for deployment in shaped.kind("Deployment")
        if deployment["spec"]["template"]["metadata"]["labels"]["track"] == name
    ]
    return dict(spec)


def template(shaped: Rendered, name: str = "canary") -> Object:
    return dict(track(shaped, name)["template"])


def container(shaped: Rendered, name: str) -> Object:
    spec = template(shaped)["spec"]
    return named([*spec["initContainers"], *spec["containers"]], name)


def test_by_default_there_is_none() -> None:
    shaped = render(ROUTES)
    assert [deployment["metadata"]["name"] for deployment in shaped.kind("Deployment")] == ["catsdogs"]
    assert len(shaped.kind("Service")) == 2


@pytest.mark.parametrize("values", [{}, PVC, S3, EVERYTHING], ids=["image", "pvc", "s3", "everything"])
def test_it_takes_nothing_away_from_stable_and_changes_no_pod_of_it(values: Object) -> None:
    canary = {"image": {"tag": "next"}, "model": {"sha256": ""}}
    assert track(render(with_canary(values, **canary)), "stable") == render(values).deployment


def test_its_pods_are_those_of_stable_but_for_the_track_and_the_image() -> None:
    shaped = render(with_canary(EVERYTHING, image={"tag": "next"}))
    text = str(template(shaped, "stable")).replace("'track': 'stable'", "'track': 'canary'")
    assert str(template(shaped)) == text.replace("catsdogs-serve:0.2.0-gpu", "catsdogs-serve:next")


def test_no_selector_finds_the_pods_of_the_other_deployment() -> None:
    shaped = render(IMAGE, release="x")
    assert {deployment["metadata"]["name"] for deployment in shaped.kind("Deployment")} == {
        "x-catsdogs",
        "x-catsdogs-canary",
    }
    for own, other in (("stable", "canary"), ("canary", "stable")):
        selector = track(shaped, own)["selector"]["matchLabels"]
        assert selects(selector, template(shaped, own)["metadata"]["labels"])
        assert not selects(selector, template(shaped, other)["metadata"]["labels"])


def test_it_answers_behind_the_same_service_and_its_metrics_are_read() -> None:
    shaped = render({**IMAGE, "networkPolicy": {"enabled": True}})
    labels = template(shaped)["metadata"]["labels"]
    for service in shaped.kind("Service"):
        assert selects(service["spec"]["selector"], labels)
    assert selects(shaped.manifest("NetworkPolicy")["spec"]["podSelector"]["matchLabels"], labels)


def test_its_number_of_pods_is_its_own() -> None:
    assert track(render(IMAGE), "canary")["replicas"] == 1
    shaped = render(with_canary(BY_REQUESTS, image={"tag": "next"}, replicas=3))
    assert track(shaped, "canary")["replicas"] == 3


@pytest.mark.parametrize(
    ("image", "wanted"),
    [
        ({"tag": "next"}, "catsdogs-serve:next"),
        ({"digest": f"sha256:{OTHER}"}, f"catsdogs-serve@sha256:{OTHER}"),
    ],
)
@pytest.mark.parametrize("stable", [{}, {"tag": "1"}, {"digest": f"sha256:{SHA}"}], ids=["default", "tag", "digest"])
def test_its_image_is_the_one_that_is_named_whatever_names_that_of_stable(
    stable: Object, image: Object, wanted: str
) -> None:
    shaped = render(with_canary({"image": stable}, image=image))
    spec = template(shaped)["spec"]
    assert {container["image"] for container in [*spec["initContainers"], *spec["containers"]]} == {wanted}


@pytest.mark.parametrize("source", MODELS)
def test_its_archive_is_another_of_the_same_source_with_its_own_sha256(source: str) -> None:
    values, path = MODELS[source]
    shaped = render(values, kubernetes=IMAGE_VOLUMES)
    command = container(shaped, "torchserve")["command"]
    assert command[2] == path
    assert f"--sha256={OTHER}" in command
    assert template(shaped)["metadata"]["annotations"]["checksum/model"] == OTHER
    assert template(shaped, "stable")["metadata"]["annotations"]["checksum/model"] == SHA


def test_what_it_fetches_is_its_own_and_how_is_as_stable_does() -> None:
    http = {"url": "https://models.example/stable.mar", "existingSecret": "header"}
    fetch = container(render(with_canary(with_model(HTTP, http=http), **MODELS["http"][0]["canary"])), "model")
    assert fetch["command"][2:4] == ["https://models.example/next.mar", f"/models/{OTHER}.mar"]
    assert flags(fetch)["sha256"] == OTHER
    (secret,) = [
        volume["secret"]
        for volume in template(render(with_canary(with_model(HTTP, http=http), **MODELS["http"][0]["canary"])))["spec"][
            "volumes"
        ]
        if volume["name"] == "credentials"
    ]
    assert secret["secretName"] == "header"
    assert container(render(MODELS["s3"][0]), "model")["command"][2] == "s3://models/next.mar"


def test_another_volume_may_hold_it() -> None:
    shaped = render(with_canary(PVC, model={"sha256": OTHER, "pvc": {"claimName": "next-store"}}))
    (volume,) = [volume for volume in template(shaped)["spec"]["volumes"] if volume["name"] == "model"]
    assert volume["persistentVolumeClaim"]["claimName"] == "next-store"
    assert container(shaped, "torchserve")["command"][2] == "/models/models/mine.mar"


def test_a_model_of_its_image_is_held_to_its_own_sha256() -> None:
    values = with_canary({"model": {"sha256": SHA}}, image={"tag": "next"}, model={"sha256": OTHER})
    assert flags(container(render(values), "torchserve"))["sha256"] == OTHER


def test_it_gets_the_gpus_the_grace_and_the_deadline_of_stable() -> None:
    shaped = render(with_canary({"gpu": {"count": 2}, "startupSeconds": 900}, image={"tag": "next"}))
    for what in ("progressDeadlineSeconds", "minReadySeconds", "strategy"):
        assert track(shaped, "canary")[what] == track(shaped, "stable")[what]
    assert container(shaped, "torchserve")["resources"]["limits"]["nvidia.com/gpu"] == 2


def test_its_pods_are_spread_by_themselves() -> None:
    for constraint in template(render(IMAGE))["spec"]["topologySpreadConstraints"]:
        assert constraint["matchLabelKeys"] == ["pod-template-hash"]


def test_the_disruption_budget_counts_stable_alone() -> None:
    """One that counted a broken canary as unavailable would keep every good pod from being evicted."""
    shaped = render(IMAGE)
    selector = shaped.manifest("PodDisruptionBudget")["spec"]["selector"]["matchLabels"]
    assert selects(selector, template(shaped, "stable")["metadata"]["labels"])
    assert not selects(selector, template(shaped)["metadata"]["labels"])


def test_an_autoscaler_scales_and_counts_stable_alone() -> None:
    for values, kind in ((BY_REQUESTS, "HorizontalPodAutoscaler"), (KEDA, "ScaledObject")):
        shaped = render(with_canary(values, image={"tag": "next"}))
        assert shaped.manifest(kind)["spec"]["scaleTargetRef"]["name"] == "catsdogs"
    (trigger,) = render(with_canary(KEDA, image={"tag": "next"})).manifest("ScaledObject")["spec"]["triggers"]
    (pods,) = re.findall(r'pod=~"([^"]+)"', trigger["metadata"]["query"])
    assert re.fullmatch(pods, "catsdogs-6d4cf56db6-abcde")
    assert not re.fullmatch(pods, "catsdogs-canary-6d4cf56db6-abcde")


@pytest.mark.parametrize(("value", "kind"), [("podMonitor", "PodMonitor"), ("serviceMonitor", "ServiceMonitor")])
def test_its_metrics_are_told_apart(value: str, kind: str) -> None:
    on = {"metrics": {value: {"enabled": True}}}
    assert render({**on, **IMAGE}).manifest(kind)["spec"]["podTargetLabels"] == ["track"]
    assert "podTargetLabels" not in render(on).manifest(kind)["spec"]


@pytest.mark.parametrize("weight", [0, 5, 100])
@pytest.mark.parametrize(("kind", "port"), [("HTTPRoute", 80), ("GRPCRoute", 81)])
def test_routes_share_out_by_weight(kind: str, port: int, weight: int) -> None:
    shaped = render({**weighted(weight), "service": {"ports": {"http": 80, "grpc": 81}}})
    (rule,) = shaped.manifest(kind)["spec"]["rules"]
    assert rule["backendRefs"] == [
        {"name": "catsdogs-stable", "port": port, "weight": 100 - weight},
        {"name": "catsdogs-canary", "port": port, "weight": weight},
    ]


@pytest.mark.parametrize("name", ["stable", "canary"])
def test_the_services_that_are_weighed_have_pods_of_one_track_and_the_ports_of_the_other_service(name: str) -> None:
    shaped = render({**weighted(5), "service": {"type": "LoadBalancer", "annotations": {"a": "b"}}})
    service = shaped.manifest("Service", f"-{name}")
    assert selects(service["spec"]["selector"], template(shaped, name)["metadata"]["labels"])
    other = {"stable": "canary", "canary": "stable"}[name]
    assert not selects(service["spec"]["selector"], template(shaped, other)["metadata"]["labels"])
    both = next(service for service in shaped.kind("Service") if service["metadata"]["name"] == "catsdogs")
    assert service["spec"]["ports"] == both["spec"]["ports"]
    assert "type" not in service["spec"]
    assert "annotations" not in service["metadata"]


def test_without_a_weight_routes_lead_to_the_service_of_both() -> None:
    shaped = render(with_canary(ROUTES, image={"tag": "next"}))
    (rule,) = shaped.manifest("HTTPRoute")["spec"]["rules"]
    assert rule["backendRefs"] == [{"name": "catsdogs", "port": 8080}]
    assert len(shaped.kind("Service")) == 2


def test_a_canary_that_is_off_may_keep_its_values() -> None:
    off = {"canary": {"weight": 5, "image": {"tag": "next"}, "model": {"s3": {"key": "next.mar"}}}}
    assert render(off).objects == render().objects


def test_its_names_do_not_grow_too_long() -> None:
    names = [manifest["metadata"]["name"] for manifest in render(weighted(5), release="a" * 53).objects]
    assert max(map(len, names)) <= 63


@pytest.mark.parametrize("source", MODELS)
def test_an_archive_of_its_own_needs_its_own_sha256(source: str) -> None:
    values = MODELS[source][0]
    own = {**values["canary"]["model"]}
    for sha256 in ("", SHA):
        message = refusal(with_canary(values, model={**own, "sha256": sha256}), kubernetes=IMAGE_VOLUMES)
        assert "canary.model.sha256 is empty, or that of stable: set it to what that archive has." in message


def test_the_notes_say_how_to_watch_it_and_how_it_ends() -> None:
    text = notes(IMAGE, release="pets")
    assert "A canary beside them: 1 pod with 1 nvidia.com/gpu each, image catsdogs-serve:next" in text
    assert "rollout status deployment/pets-catsdogs-canary" in text
    assert "--label-columns track" in text
    off = "helm --namespace default upgrade pets CHART --reuse-values --set canary.enabled=false --set canary.weight=-1"
    assert f"{off} --set-string 'image.digest=' --set-string 'image.tag=next'\n" in text
    assert f"Take it back:\n  {off}\n" in text
    assert "It gets about 1 of 3 connections once it is ready, and none before." in text
    assert "without 1 spare nvidia.com/gpu, in the pool and in the namespace's quota, it stays Pending" in text
    assert "canary" not in notes()


@pytest.mark.parametrize("source", ["pvc", "http", "s3"])
def test_what_the_notes_promote_makes_the_canarys_pods_those_of_stable(source: str) -> None:
    values = MODELS[source][0]
    text = notes(values)
    promoted: Object = {}
    for path, value in re.findall(r"--set-string '([^=']+)=([^']*)'", text):
        place = promoted
        *parents, leaf = path.split(".")
        for parent in parents:
            place = place.setdefault(parent, {})
        place[leaf] = value
    model = {**values["model"], **promoted["model"]}
    model[source] = {**values["model"][source], **promoted["model"][source]}
    assert render({**values, "model": model, "canary": {}}).pod == template(render(values))["spec"]


def test_the_notes_warn_of_a_weight_before_it_is_ready() -> None:
    text = notes(weighted(5))
    assert (
        "what routes send to a canary of which no pod is ready is answered 503 by the Gateway, and not by stable"
        in (text)
    )
    assert "--set canary.weight=0\n" in text
    assert "Who asks the Service catsdogs gets either by the number of ready pods" in text
    assert "503" not in notes(IMAGE)
    assert "spare" not in notes(IMAGE, CPU)
