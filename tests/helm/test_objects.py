"""Services, names, labels, and what users add of their own."""

import kubernetes_validate
import pytest

from tests.helm.support import CPU, EVERYTHING, NEWEST, OLDEST, ROUTES, Object, render, selects


def test_rest_and_grpc_share_a_service_that_says_what_they_speak() -> None:
    ports = {port["name"]: port for port in render().service["spec"]["ports"]}
    assert ports["http"] == {"name": "http", "port": 8080, "targetPort": "http", "appProtocol": "http"}
    assert ports["grpc"] == {"name": "grpc", "port": 7070, "targetPort": "grpc", "appProtocol": "kubernetes.io/h2c"}
    assert len(ports) == 2


def test_metrics_have_a_service_of_their_own_that_stays_inside() -> None:
    service = render({"service": {"type": "LoadBalancer"}}).manifest("Service", "-metrics")["spec"]
    assert [(port["port"], port["targetPort"]) for port in service["ports"]] == [(8082, "metrics")]
    assert "type" not in service


def test_every_service_finds_the_pods_and_not_the_test() -> None:
    shaped = render(EVERYTHING)
    names = {port["name"] for port in shaped.gateway["ports"]}
    for service in shaped.kind("Service"):
        assert selects(service["spec"]["selector"], shaped.template["metadata"]["labels"])
        assert not selects(service["spec"]["selector"], shaped.check["metadata"]["labels"])
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= names


def test_ports_of_the_service_and_of_the_nodes_can_be_chosen() -> None:
    values = {"type": "NodePort", "ports": {"http": 80, "grpc": 81}, "nodePorts": {"http": 30080, "grpc": 30070}}
    service = render({"service": values}).service["spec"]
    assert service["type"] == "NodePort"
    assert [(port["port"], port["nodePort"]) for port in service["ports"]] == [(80, 30080), (81, 30070)]


REACH = {
    "loadBalancerSourceRanges": ["203.0.113.0/24", "2001:db8::/32"],
    "externalTrafficPolicy": "Local",
    "internalTrafficPolicy": "Local",
    "ipFamilyPolicy": "PreferDualStack",
    "ipFamilies": ["IPv6", "IPv4"],
}


@pytest.mark.parametrize("kubernetes", [OLDEST, NEWEST])
def test_who_reaches_the_service_and_how_can_be_chosen(kubernetes: str) -> None:
    spec = render({"service": {**REACH, "type": "LoadBalancer"}}, kubernetes=kubernetes).service["spec"]
    assert {name: spec[name] for name in REACH} == REACH
    assert kubernetes_validate.validate(
        render({"service": {**REACH, "type": "LoadBalancer"}}, kubernetes=kubernetes).service, kubernetes, strict=True
    )


def test_the_services_of_the_tracks_are_reached_as_the_other_is_from_within() -> None:
    inner = {name: REACH[name] for name in ("internalTrafficPolicy", "ipFamilyPolicy", "ipFamilies")}
    canary = {"enabled": True, "weight": 5, "image": {"tag": "next"}}
    shaped = render({"service": {**REACH, "type": "LoadBalancer"}, "canary": canary, **ROUTES})
    for track in ("-stable", "-canary"):
        spec = shaped.manifest("Service", track)["spec"]
        assert {name: spec.get(name) for name in REACH} == {**dict.fromkeys(REACH), **inner}


def test_by_default_kubernetes_chooses() -> None:
    assert not REACH.keys() & render().service["spec"].keys()


def test_the_metrics_can_be_scraped_by_annotations() -> None:
    assert "annotations" not in render().template["metadata"]
    annotations = render({"metrics": {"scrapeAnnotations": True}}).template["metadata"]["annotations"]
    assert annotations == {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": "8082",
        "prometheus.io/path": "/metrics",
    }


@pytest.mark.parametrize(
    ("release", "values", "name"),
    [
        ("catsdogs", {}, "catsdogs"),
        ("my-catsdogs", {}, "my-catsdogs"),
        ("pets", {}, "pets-catsdogs"),
        ("pets", {"nameOverride": "vision"}, "pets-vision"),
        ("pets", {"fullnameOverride": "vision"}, "vision"),
    ],
)
def test_names_follow_the_release(release: str, values: Object, name: str) -> None:
    shaped = render(values, release=release)
    assert shaped.manifest("Deployment")["metadata"]["name"] == shaped.service["metadata"]["name"] == name


def test_no_name_grows_too_long() -> None:
    shaped = render({"serviceAccount": {"create": True}}, release="a" * 53)
    names = [manifest["metadata"]["name"] for manifest in shaped.objects]
    assert max(map(len, names)) <= 63
    assert len(set(zip([manifest["kind"] for manifest in shaped.objects], names, strict=True))) == len(names)


def test_two_releases_of_one_namespace_do_not_meet() -> None:
    first, second = render(release="first"), render(release="second")
    for kind in ("Deployment", "PodDisruptionBudget", "Pod"):
        assert first.manifest(kind)["metadata"]["name"] != second.manifest(kind)["metadata"]["name"]
    assert not selects(first.service["spec"]["selector"], second.template["metadata"]["labels"])


def test_every_object_says_whose_it_is_and_none_in_which_namespace() -> None:
    for manifest in render({"serviceAccount": {"create": True}}).objects:
        assert (
            manifest["metadata"]["labels"].items()
            >= {
                "app.kubernetes.io/name": "catsdogs",
                "app.kubernetes.io/instance": "catsdogs",
                "app.kubernetes.io/version": "0.2.0",
                "app.kubernetes.io/managed-by": "Helm",
            }.items()
        )
        assert "namespace" not in manifest["metadata"]


def test_the_selector_has_nothing_that_a_user_or_an_upgrade_can_change() -> None:
    assert render(EVERYTHING).deployment["selector"] == render(None, CPU).deployment["selector"]
    assert "helm.sh/chart" not in render().template["metadata"]["labels"]


def test_common_labels_and_annotations_are_on_every_object() -> None:
    shaped = render({key: value for key, value in EVERYTHING.items() if key != "extraObjects"})
    assert len(shaped.objects) == 10
    for manifest in shaped.objects:
        assert manifest["metadata"]["labels"]["team"] == "pets"
        assert manifest["metadata"]["annotations"]["owner"] == "pets@example.com"


def test_pods_have_the_common_labels_and_their_own() -> None:
    metadata = render(EVERYTHING).template["metadata"]
    assert metadata["labels"].items() >= {"team": "pets", "cost": "inference", "track": "stable"}.items()
    assert metadata["annotations"]["note"] == "here"
    assert "owner" not in metadata["annotations"]


def test_an_objects_own_annotation_wins() -> None:
    values = {"commonAnnotations": {"a": "common", "b": "common"}, "service": {"annotations": {"a": "own"}}}
    assert render(values).service["metadata"]["annotations"] == {"a": "own", "b": "common"}


def test_where_pods_go_is_passed_on() -> None:
    pod = render(EVERYTHING).pod
    assert pod["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-L4"}
    assert pod["affinity"] == {"nodeAffinity": {}}
    assert pod["priorityClassName"] == "catsdogs-serving"
    assert pod["imagePullSecrets"] == [{"name": "registry"}]


def test_the_test_pod_runs_where_the_image_is() -> None:
    shaped = render(EVERYTHING)
    for field in ("nodeSelector", "tolerations", "imagePullSecrets", "serviceAccountName"):
        assert shaped.check["spec"][field] == shaped.pod[field]


def test_old_versions_are_kept_as_told() -> None:
    assert render({"revisionHistoryLimit": 0}).deployment["revisionHistoryLimit"] == 0


@pytest.mark.parametrize(
    "extra",
    [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-more"}},
        'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ include "catsdogs.fullname" . }}-more}',
    ],
)
def test_extra_objects_are_maps_or_text_with_their_templates_filled_in(extra: object) -> None:
    shaped = render({"extraObjects": [extra, extra]}, release="catsdogs")
    assert [config["metadata"]["name"] for config in shaped.kind("ConfigMap")] == ["catsdogs-more"] * 2
