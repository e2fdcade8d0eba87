"""Clients of HTTP/2 in four languages lose nothing by bad pictures, by a rolling update, or by the drain of each node.

These are the programs of tests/clients. They run where the tests run, and ask by a NodePort, so that each connection
leads through kube-proxy to one pod, until that pod closes it.
"""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from kubernetes.client import V1Service

from tests.certificates import make_authority, make_pair
from tests.clients.support import THREADS, Language, Run, languages, run, speaks
from tests.cluster.support import Cluster, wait_for

pytestmark = pytest.mark.breadth

SECRET = "catsdogs-tls"


@dataclass(frozen=True)
class Release:
    url: str
    port: int
    authority: Path | None
    """The authority of its certificate, where it speaks TLS."""


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> list[Language]:
    return list(languages(tmp_path_factory.mktemp("clients")))


@pytest.fixture(scope="module", params=["h2c", "tls"])
def release(
    cluster: Cluster, namespace: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Release]:
    folder, authority, gateway = tmp_path_factory.mktemp("tls"), None, {}
    if request.param == "tls":
        authority = make_authority(folder)
        certificate, key = make_pair(authority, folder, f"catsdogs.{namespace}.svc")
        files = {"tls.crt": certificate.read_text(), "tls.key": key.read_text(), "ca.crt": authority.read_text()}
        body = {"metadata": {"name": SECRET}, "type": "kubernetes.io/tls", "stringData": files}
        cluster.core.create_namespaced_secret(namespace, body)
        gateway = {"tls": {"existingSecret": SECRET}}
    cluster.install(namespace, service={"type": "NodePort"}, gateway=gateway)
    port = node_port(cluster.core.read_namespaced_service("catsdogs", namespace))
    host = wait_for(lambda: next(filter(lambda host: answers(host, port), hosts(cluster)), None), 30, "a node answers")
    yield Release(f"{'https' if authority else 'http'}://{host}:{port}", port, authority)
    cluster.uninstall(namespace)


def node_port(service: V1Service) -> int:
    return next(int(port.node_port) for port in service.spec.ports if port.name == "http")


def hosts(cluster: Cluster) -> list[str]:
    """This machine, where it is a node or has a node's ports, and the nodes."""
    addresses = [address for node in cluster.core.list_node().items for address in node.status.addresses]
    return ["127.0.0.1", *(address.address for address in addresses if address.type == "InternalIP")]


def answers(host: str, port: int) -> bool:
    with closing(socket.socket()) as probe:
        probe.settimeout(2)
        return probe.connect_ex((host, port)) == 0


def connections(client: Run, port: int) -> set[int]:
    """A client's own ports of those to the server."""
    return {
        connection.laddr.port
        for connection in psutil.Process(client.child.pid).net_connections("tcp")
        if connection.status == psutil.CONN_ESTABLISHED and connection.raddr.port == port
    }


def restart(cluster: Cluster, namespace: str) -> set[str]:
    old = {pod.metadata.name for pod in cluster.pods(namespace)}
    cluster.restart(namespace)
    wait_for(lambda: cluster.rolled_out(namespace), 300, "restarted")
    wait_for(lambda: not any(cluster.exists(namespace, name) for name in old), 90, "the old pods are gone", 1)
    return old


def drain(cluster: Cluster, namespace: str) -> set[str]:
    """Drain one node after the other: wherever a client's connection leads, its pod leaves."""
    left = {name for node in cluster.nodes() for name in cluster.drain(namespace, node)}
    assert len(left) >= 2
    return left


EVENTS: dict[str, Callable[[Cluster, str], set[str]]] = {"a rolling update": restart, "a drain of each node": drain}


def test_a_bad_picture_costs_no_other_request_on_its_connection(release: Release, clients: list[Language]) -> None:
    for language in clients:
        if speaks(language, release.authority is not None):
            counts, errors = run(language, release.url, release.authority, 60).result()
            assert counts == {"right": 60, "lost": 0}, (language.name, errors)


@pytest.mark.parametrize("event", EVENTS)
def test_no_answer_is_lost_by(
    event: str, cluster: Cluster, namespace: str, release: Release, clients: list[Language], tell: list[str]
) -> None:
    """But those that a client itself fails: each thread's request in flight, when the server ends its connection."""
    with ExitStack() as stack:
        tls = release.authority is not None
        runs = [run(language, release.url, release.authority) for language in clients if speaks(language, tls)]
        for client in runs:
            stack.callback(client.child.kill)
        wait_for(lambda: all(connections(client, release.port) for client in runs), 60, "each client is connected")
        before = [connections(client, release.port) for client in runs]
        left = EVENTS[event](cluster, namespace)
        wait_for(
            lambda: all(connections(client, release.port) for client in runs), 60, "each client has connected anew"
        )
        assert not any(old & connections(client, release.port) for client, old in zip(runs, before, strict=True))
        results = [(client.language, *client.stop()) for client in runs]
    for language, counts, errors in results:
        tell.append(
            f"{event} ({len(left)} pods) under {language.name} by {'TLS' if tls else 'h2c'}: "
            f"{counts['lost']} of {counts['lost'] + counts['right']:,} lost"
        )
        assert counts["right"] > 100, language.name
        bound = THREADS * len(left) if language.fails_what_is_in_flight else 0
        assert counts["lost"] <= bound, (language.name, errors)
