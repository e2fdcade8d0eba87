"""Pod Security `restricted`, as the API would judge the pods themselves (of a Deployment it only warns)."""

from collections.abc import Callable

import pytest
import yaml

from tests.helm.support import CPU, EVERYTHING, HTTP, IMAGE_VOLUMES, KEYS, OCI, PVC, S3, TLS, Object, render, with_model
from tests.zoo import ROOT

VOLUMES = {
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"),
    "image",  # since 1.33, where it is new
}


def training() -> Object:
    documents = yaml.safe_load_all((ROOT / "k8s" / "training-job.yaml").read_text())
    (job,) = [manifest for manifest in documents if manifest["kind"] == "Job"]
    pod: Object = job["spec"]["template"]["spec"]
    return pod


def canary() -> Object:
    shaped = render({"canary": {"enabled": True, "image": {"tag": "next"}}})
    pod: Object = shaped.manifest("Deployment", "-canary")["spec"]["template"]["spec"]
    return pod


def fetched_with_secrets(values: Object) -> Object:
    group = values["model"]["source"]
    return render(with_model(values, **{group: {**values["model"][group], "existingSecret": "secret"}})).pod


def validation() -> Object:
    shaped = render({**KEYS, "validation": {"enabled": True, "claimName": "labelled"}})
    pod: Object = shaped.manifest("Job")["spec"]["template"]["spec"]
    return pod


def load() -> Object:
    shaped = render({**KEYS, **TLS, "loadtest": {"enabled": True, "pods": 3, "pictures": {"claimName": "labelled"}}})
    pod: Object = shaped.manifest("Job")["spec"]["template"]["spec"]
    return pod


PODS: dict[str, Callable[[], Object]] = {
    "gpu": lambda: render().pod,
    "cpu": lambda: render(None, CPU).pod,
    "volume and keys": lambda: render(PVC | KEYS).pod,
    "everything": lambda: render(EVERYTHING).pod,
    "fetched": lambda: render(S3).pod,
    "fetched with a header": lambda: fetched_with_secrets(HTTP),
    "fetched with keys": lambda: fetched_with_secrets(S3),
    "fetched to a volume": lambda: render(with_model(HTTP, cache={"claimName": "cache"})).pod,
    "image volume": lambda: render(OCI, kubernetes=IMAGE_VOLUMES).pod,
    "canary": canary,
    "validation": validation,
    "load test": load,
    "helm test": lambda: dict(render(KEYS).check["spec"]),
    "training": training,
}


@pytest.fixture(params=PODS)
def pod(request: pytest.FixtureRequest) -> Object:
    return PODS[request.param]()


def violations(pod: Object) -> list[str]:
    """Return the rules of the Pod Security Standards that a pod breaks, of those that these pods could break.

    https://kubernetes.io/docs/concepts/security/pod-security-standards/
    """
    broken = [f"{name} is set" for name in ("hostNetwork", "hostPID", "hostIPC") if pod.get(name)]
    whole = pod.get("securityContext", {})
    for volume in pod.get("volumes", []):
        broken += [f"volume of type {kind}" for kind in volume.keys() - {"name"} - VOLUMES]
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        own = container.get("securityContext", {})
        both = whole | own
        broken += [
            f"{container['name']}: {what}"
            for what, wrong in {
                "may run as root": both.get("runAsNonRoot") is not True or both.get("runAsUser") == 0,
                "may gain privileges": own.get("allowPrivilegeEscalation") is not False or own.get("privileged"),
                "keeps capabilities": own.get("capabilities", {}).get("drop") != ["ALL"]
                or "add" in own["capabilities"],
                "any system call": both.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"),
                "a port of the node": any("hostPort" in port for port in container.get("ports", [])),
            }.items()
            if wrong
        ]
    return broken


def test_pod_security_restricted_is_kept(pod: Object) -> None:
    assert violations(pod) == []


def test_a_folder_of_the_node_as_cache_breaks_it() -> None:
    pod = render(with_model(HTTP, cache={"hostPath": "/var/cache/catsdogs"})).pod
    assert violations(pod) == ["volume of type hostPath"]


@pytest.mark.parametrize("field", ["allowPrivilegeEscalation", "capabilities"])
def test_the_judge_sees_what_is_missing(field: str) -> None:
    pod = render().pod
    del pod["containers"][0]["securityContext"][field]
    assert violations(pod)


def test_no_pod_can_talk_to_kubernetes_or_write_to_its_root(pod: Object) -> None:
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_user_and_group_are_the_images(pod: Object) -> None:
    context = pod["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"], context["fsGroup"]) == (10001, 10001, 10001)


def users(values: Object) -> tuple[int | None, int | None]:
    """The gateway's and TorchServe's."""
    shaped = render(values)
    whole = shaped.pod["securityContext"]
    gateway, torchserve = (whole | container["securityContext"] for container in (shaped.gateway, shaped.torchserve))
    return gateway.get("runAsUser"), torchserve.get("runAsUser")


def test_the_gateway_is_another_user_than_torchserve_and_of_its_group() -> None:
    assert users({}) == (10002, 10001)
    shaped = render(HTTP)
    assert "runAsGroup" not in shaped.gateway["securityContext"]
    assert "runAsUser" not in shaped.fetch["securityContext"]
    assert users({"gateway": {"runAsUser": 20002}, "podSecurityContext": {"runAsUser": 20001}}) == (20002, 20001)


def test_where_the_platform_chooses_users_it_chooses_all() -> None:
    """OpenShift: each of its namespaces has users of its own, and no other is let in."""
    none = {"runAsUser": None, "runAsGroup": None, "fsGroup": None}
    assert users({"podSecurityContext": none}) == (None, None)
    shaped = render({"podSecurityContext": none})
    assert not {"runAsUser", "runAsGroup", "fsGroup"} & shaped.pod["securityContext"].keys()


def test_a_user_for_every_container_is_the_gateways_too() -> None:
    assert users({"securityContext": {"runAsUser": 5000}}) == (5000, 5000)


def test_the_image_has_a_name_for_each_user() -> None:
    serve = (ROOT / "Dockerfile.serve").read_text()
    for user in users({}):
        assert f"useradd -u {user} -g 10001 " in serve
    assert "\nUSER 10001:10001\n" in serve


def test_no_secret_is_a_variable(pod: Object) -> None:
    assert "secretKeyRef" not in str(pod)
    assert "envFrom" not in str(pod)


def test_a_node_whose_cdi_hooks_write_to_the_root_can_be_served() -> None:
    shaped = render({"securityContext": {"readOnlyRootFilesystem": False}})
    for container in (shaped.torchserve, shaped.gateway):
        assert container["securityContext"]["readOnlyRootFilesystem"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_keys_are_read_by_the_group_alone() -> None:
    (volume,) = [volume for volume in render(KEYS).pod["volumes"] if volume["name"] == "keys"]
    assert volume["secret"]["defaultMode"] == 0o440


def test_a_service_account_is_made_on_request_and_has_no_token() -> None:
    shaped = render({"serviceAccount": {"create": True, "annotations": {"role": "reader"}}})
    account = shaped.manifest("ServiceAccount")
    assert account["automountServiceAccountToken"] is False
    assert account["metadata"]["annotations"] == {"role": "reader"}
    assert shaped.pod["serviceAccountName"] == account["metadata"]["name"] == "catsdogs"


def test_by_default_there_is_none_and_one_of_the_users_is_taken() -> None:
    shaped = render()
    assert not shaped.kind("ServiceAccount")
    assert "serviceAccountName" not in shaped.pod
    assert render({"serviceAccount": {"name": "ours"}}).pod["serviceAccountName"] == "ours"


def test_an_account_is_named_by_both_of_its_fields_so_that_a_rollback_takes_it_away() -> None:
    pod = render({"serviceAccount": {"create": True}}).pod
    assert pod["serviceAccount"] == pod["serviceAccountName"]
    assert "serviceAccount" not in render().pod


def test_the_namespace_enforces_it() -> None:
    namespace = yaml.safe_load((ROOT / "k8s" / "namespace.yaml").read_text())
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
