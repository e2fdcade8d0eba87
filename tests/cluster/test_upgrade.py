"""A release of the last chart becomes one of this chart, as each case of helm/ci has it, and goes back: under load.

CATSDOGS_RATE requests a second (20) go through the Service meanwhile, of which none may fail. The case with TLS changes
what clients must speak, so there are none.
"""

import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certificates import make_authority, make_pair
from tests.cluster.released import VERSION, unpack
from tests.cluster.support import Cluster, Load, load, ours, run_helm, wait_for
from tests.helm.support import CHART

pytestmark = pytest.mark.breadth

CASES = {path.name.removesuffix("-values.yaml"): path for path in sorted((CHART / "ci").glob("*-values.yaml"))}
RATE = float(os.environ.get("CATSDOGS_RATE", "20"))
KEY = secrets.token_urlsafe(32)
# What the release has to begin with, and both charts know.
BEFORE, TLS = "cpu", "tls"
OPTIONS = ["--wait", "--timeout=300s", f"--values={CASES[BEFORE]}"]


@pytest.fixture(scope="module")
def last(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The last chart."""
    return unpack(tmp_path_factory.mktemp("last"))


@pytest.fixture(scope="module")
def clients(cluster: Cluster, namespace: str, last: Path) -> Iterator[Load]:
    """Install the last chart and yield clients of that release. They send a key, which it does not ask for yet."""
    body = {"metadata": {"name": "catsdogs-keys"}, "stringData": {"keys": f"{KEY}\n"}}
    cluster.core.create_namespaced_secret(namespace, body)
    run_helm("install", "catsdogs", str(last), *OPTIONS, f"--namespace={namespace}", values=ours({}))
    with load(cluster, namespace, rest=["catsdogs:8080"], grpc=["catsdogs:7070"], rate=RATE, key=KEY) as running:
        yield running
    cluster.uninstall(namespace)


def names(cluster: Cluster, namespace: str) -> set[str]:
    return {pod.metadata.name for pod in cluster.pods(namespace)}


def settle(cluster: Cluster, namespace: str, clients: Load) -> None:
    """Until what was sent in the rollout has been answered."""
    wait_for(lambda: cluster.rolled_out(namespace), 300, "rolled out")
    clients.wait_for_more(int(3 * RATE), clients.totals())


def test_with_the_values_of_before_no_pod_restarts(cluster: Cluster, namespace: str, clients: Load) -> None:
    before = names(cluster, namespace)
    run_helm("upgrade", "catsdogs", str(CHART), *OPTIONS, f"--namespace={namespace}", values=ours({}))
    assert names(cluster, namespace) == before
    (deployed,) = json.loads(run_helm("list", f"--namespace={namespace}", "--output=json"))
    assert deployed["chart"] != f"catsdogs-{VERSION}"
    run_helm("rollback", "catsdogs", "--namespace", namespace, "--wait")
    assert names(cluster, namespace) == before


@pytest.mark.parametrize("case", sorted(CASES.keys() - {BEFORE, TLS}))
def test_nothing_is_lost_on_the_way_to_the_new_chart_and_back(
    case: str, cluster: Cluster, namespace: str, clients: Load, tell: list[str]
) -> None:
    settle(cluster, namespace, clients)
    before = clients.totals()
    options = [*OPTIONS, f"--values={CASES[case]}", f"--namespace={namespace}"]
    run_helm("upgrade", "catsdogs", str(CHART), *options, values=ours({}))
    settle(cluster, namespace, clients)
    run_helm("rollback", "catsdogs", "--namespace", namespace, "--wait", "--timeout=300s")
    settle(cluster, namespace, clients)
    failures, count = clients.failures(before.time), sum(clients.totals().sent.values()) - sum(before.sent.values())
    tell.append(f"from the last chart to {case}, and back: {len(failures)} of {count:,} failed")
    assert failures == []


def test_a_release_that_comes_to_speak_tls_passes_its_test(
    cluster: Cluster, namespace: str, last: Path, tmp_path: Path
) -> None:
    release, authority = "secured", make_authority(tmp_path)
    certificate, key = make_pair(authority, tmp_path, f"{release}-catsdogs.{namespace}.svc")
    files = {"tls.crt": certificate.read_text(), "tls.key": key.read_text(), "ca.crt": authority.read_text()}
    body = {"metadata": {"name": "catsdogs-tls"}, "type": "kubernetes.io/tls", "stringData": files}
    cluster.core.create_namespaced_secret(namespace, body)
    options = [*OPTIONS, f"--namespace={namespace}"]
    run_helm("install", release, str(last), *options, values=ours({}))
    run_helm("upgrade", release, str(CHART), *options, f"--values={CASES[TLS]}", values=ours({}))
    run_helm("test", release, "--namespace", namespace, "--timeout=120s")
    cluster.uninstall(namespace, release)
