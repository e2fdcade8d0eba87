"""Access to the server: TLS from a Secret that is replaced under load, and objects that the API server admits."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client

from serving.gateway.tls import Pair, fingerprint
from tests.certificates import make_authority, make_pair
from tests.cluster.support import OPTIONS, Cluster, load, ours, restarts, run_helm, wait_for
from tests.helm.support import CHART, CPU, EVERYTHING, render
from tests.zoo import ROOT

pytestmark = pytest.mark.breadth

SECRET = "catsdogs-tls"
GATEWAY = {"tls": {"existingSecret": SECRET}, "allowedHosts": ["cats.example.org"], "accessLog": True}
RATE = 20.0
# The kubelet looks at its Secrets once a minute, and believes what it knows of them for as long again.
KUBELET_S = 240
SHOWN = """
import json, ssl
print(json.dumps([ssl.get_server_certificate(("{address}", port), timeout=10) for port in (8080, 7070)]))
"""

# The status of a prediction that is asked of a host by this name.
ASKED = """
import http.client, ssl
from serving.client.samples import SAMPLES
connection = http.client.HTTPSConnection("{address}", 8080, timeout=10, context=ssl._create_unverified_context())
picture = (SAMPLES / "cat" / "4055.jpg").read_bytes()
connection.request("POST", "/predictions/catsdogs", picture, {{"Host": "{host}"}})
print(connection.getresponse().status)
"""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_authority(tmp_path_factory.mktemp("authority"))


def secret(authority: Path, folder: Path, namespace: str) -> dict[str, Any]:
    """A new certificate for the Service, as cert-manager would put it into a Secret."""
    names = ("catsdogs", f"catsdogs.{namespace}", f"catsdogs.{namespace}.svc")
    certificate, key = make_pair(authority, folder, *names)
    files = {"tls.crt": certificate.read_text(), "tls.key": key.read_text(), "ca.crt": authority.read_text()}
    return {"metadata": {"name": SECRET}, "type": "kubernetes.io/tls", "stringData": files}


def shown(cluster: Cluster, namespace: str) -> set[str]:
    """The fingerprints of what each ready pod shows to a new client, by REST and by gRPC."""
    fingerprints = set()
    for pod in cluster.ready(namespace):
        script = SHOWN.format(address=pod.status.pod_ip)
        output = cluster.shell(namespace, pod.metadata.name, "gateway", script)
        fingerprints |= {fingerprint(pem.encode()) for pem in json.loads(output)}
    return fingerprints


@pytest.fixture(scope="module")
def first(cluster: Cluster, namespace: str, authority: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A release with TLS that may be called by one name; the fingerprint of its certificate."""
    body = secret(authority, tmp_path_factory.mktemp("first"), namespace)
    cluster.core.create_namespaced_secret(namespace, body)
    cluster.install(namespace, gateway=GATEWAY)
    yield fingerprint(body["stringData"]["tls.crt"].encode())
    cluster.uninstall(namespace)
    cluster.core.delete_namespaced_secret(SECRET, namespace)


def test_both_ports_of_every_pod_show_the_secrets_certificate(cluster: Cluster, namespace: str, first: str) -> None:
    assert len(cluster.ready(namespace)) == 2
    assert shown(cluster, namespace) == {first}


def test_a_host_that_is_not_allowed_is_refused_while_the_kubelets_probes_are_answered(
    cluster: Cluster, namespace: str, first: str
) -> None:
    pods = {pod.metadata.name: pod for pod in cluster.ready(namespace)}
    assert len(pods) == 2  # by the readiness probe, which names the pod's address
    for name, pod in pods.items():
        address = pod.status.pod_ip
        for host, status in (("cats.example.org", 200), ("evil.example.org", 421), (address, 200)):
            output = cluster.shell(namespace, name, "gateway", ASKED.format(address=address, host=host))
            assert output.split() == [str(status)], host
        assert restarts(pod, "gateway") == 0  # by the liveness probe


def test_each_prediction_is_a_line_of_its_gateways_log(cluster: Cluster, namespace: str, first: str) -> None:
    pod = cluster.ready(namespace)[0]
    script = ASKED.format(address=pod.status.pod_ip, host="cats.example.org")
    cluster.shell(namespace, pod.metadata.name, "gateway", script)
    last = json.loads(cluster.log(namespace, pod.metadata.name, "gateway").splitlines()[-1])
    assert (last["event"], last["status"], last["label"]) == ("request", 200, "cat")


def test_helm_test_passes_and_verifies(cluster: Cluster, namespace: str, first: str) -> None:
    output = run_helm("test", "catsdogs", "--namespace", namespace, "--logs", "--timeout=120s")
    assert "by gRPC" in output
    assert "FAIL" not in output


def test_a_new_certificate_is_served_without_a_restart_and_its_clients_lose_nothing(
    cluster: Cluster, namespace: str, first: str, authority: Path, tmp_path: Path, tell: list[str]
) -> None:
    pods = {pod.metadata.name for pod in cluster.pods(namespace)}
    with load(cluster, namespace, rest=["catsdogs:8080"], grpc=["catsdogs:7070"], rate=RATE, ca=authority) as clients:
        before = clients.totals()
        body = secret(authority, tmp_path, namespace)
        cluster.core.replace_namespaced_secret(SECRET, namespace, body)
        new = fingerprint(Pair(tmp_path / "tls.crt", tmp_path / "tls.key").read())
        assert new != first
        wait_for(lambda: shown(cluster, namespace) == {new}, KUBELET_S, "every pod shows the new certificate", 2)
        after = clients.wait_for_more(int(10 * RATE), clients.totals())
        failures = clients.failures(before.time)
    sent = sum(after.sent.values()) - sum(before.sent.values())
    tell.append(f"a certificate replaced: {len(failures)} of {sent:,} failed")
    assert failures == []
    now = cluster.ready(namespace)
    assert {pod.metadata.name for pod in now} == pods
    assert {restarts(pod, "gateway") for pod in now} == {0}


def test_a_pair_that_does_not_fit_is_told_in_the_log_and_the_last_one_served_on(
    cluster: Cluster, namespace: str, first: str, authority: Path, tmp_path: Path
) -> None:
    (before,) = shown(cluster, namespace)
    body = secret(authority, tmp_path / "one", namespace)
    body["stringData"]["tls.key"] = make_pair(authority, tmp_path / "other")[1].read_text()
    cluster.core.replace_namespaced_secret(SECRET, namespace, body)
    for pod in cluster.ready(namespace):
        log = partial(cluster.log, namespace, pod.metadata.name, "gateway")
        wait_for(lambda log=log: "is not that of the certificate in" in log(), KUBELET_S, "the log says so", 2)  # type: ignore[misc]
    assert shown(cluster, namespace) == {before}
    assert len(cluster.ready(namespace)) == 2


@pytest.mark.parametrize("kind", ["NetworkPolicy", "Ingress"])
def test_the_api_server_admits_what_leads_to_it(cluster: Cluster, namespace: str, kind: str) -> None:
    manifest = render({**EVERYTHING, "runtime": ""}, CPU).manifest(kind)
    networking = client.NetworkingV1Api()
    create = {
        "NetworkPolicy": networking.create_namespaced_network_policy,
        "Ingress": networking.create_namespaced_ingress,
    }[kind]
    made = create(namespace, manifest, dry_run="All", field_validation="Strict")
    assert made.metadata.name == manifest["metadata"]["name"]
    assert made.metadata.uid


def test_each_node_answers_on_the_ports_that_kind_maps_to_the_laptop(cluster: Cluster, tell: list[str]) -> None:
    """helm/values-kind.yaml, on nodes that are not kind's: from its Service on."""
    (mapped,) = (
        node for node in yaml.safe_load((ROOT / "k8s" / "kind.yaml").read_text())["nodes"] if "extraPort" in str(node)
    )
    rest, grpc = (mapping["containerPort"] for mapping in mapped["extraPortMappings"])
    kind = [*OPTIONS[:2], f"--values={CHART / 'values-kind.yaml'}", *OPTIONS[2:]]
    with cluster.namespace("catsdogs-kind") as made:
        run_helm("install", "catsdogs", str(CHART), *kind, f"--namespace={made}", "--wait", values=ours({}))
        addresses = [
            address.address
            for node in cluster.core.list_node().items
            if node.metadata.name in cluster.nodes()
            for address in node.status.addresses
            if address.type == "InternalIP"
        ]
        pod = cluster.ready(made)[0].metadata.name
        assert len(addresses) >= 2
        for address in addresses:
            command = ["catsdogs", "check", f"--url=http://{address}:{rest}", f"--grpc={address}:{grpc}"]
            script = f"import subprocess; print(subprocess.run({command}).returncode, 'is its status')"
            output = cluster.shell(made, pod, "gateway", script)
            assert output.rstrip().endswith("0 is its status"), output
            assert "is a cat by gRPC" in output
        tell.append(f"values-kind.yaml: {len(addresses)} nodes answer on {rest} and {grpc}")
        cluster.uninstall(made)
