"""Kubernetes, Helm and clients in a pod, as the tests on a cluster use them."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any, TypeVar

import yaml
from kubernetes import client, config
from kubernetes.client import ApiException, CoreV1Event, V1Node, V1Pod
from kubernetes.stream import stream

from tests.helm.support import CHART, CPU, helm

HERE = Path(__file__).parent
# The smallest that still serves: nodes of a test cluster are small, and several may share a machine's cores.
SMALL = HERE / "values.yaml"
IMAGE = os.environ.get("CATSDOGS_IMAGE", "catsdogs-serve:e2e")
GPU = "nvidia.com/gpu"
OPTIONS = ["--timeout=300s", f"--values={CPU}", f"--values={SMALL}"]
# On nodes that KWOK pretends to be.
SIMULATED = "kwok.x-k8s.io/node"


T = TypeVar("T")


def wait_for(question: Callable[[], T | None], seconds: float, what: str, period_s: float = 0.25) -> T:
    """Its first answer that is true."""
    deadline = time.monotonic() + seconds
    while not (answer := question()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(period_s)
    return answer


def try_helm(*arguments: str, values: dict[str, Any] | None = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [helm(), *arguments, *(["--values=-"] if values is not None else [])],
        input=None if values is None else json.dumps(values),
        capture_output=True,
        text=True,
    )


def run_helm(*arguments: str, values: dict[str, Any] | None = None) -> str:
    done = try_helm(*arguments, values=values)
    assert done.returncode == 0, f"helm {' '.join(arguments)}: {done.stderr}{done.stdout}"
    return done.stdout


class Cluster:
    """The one that KUBECONFIG names."""

    def __init__(self) -> None:
        config.load_kube_config()
        self.core = client.CoreV1Api()
        self.apps = client.AppsV1Api()
        self.batch = client.BatchV1Api()
        self.policy = client.PolicyV1Api()

    @contextmanager
    def namespace(self, name: str, level: str = "restricted") -> Iterator[str]:
        """One in which Pod Security has this level; with it goes all that is in it, before what follows begins."""
        self._remove(name)  # of a run that was interrupted
        labels = {"pod-security.kubernetes.io/enforce": level}
        self.core.create_namespace({"metadata": {"name": name, "labels": labels}})
        try:
            yield name
        finally:
            self._remove(name)

    def _remove(self, namespace: str) -> None:
        def gone() -> bool:
            try:
                self.core.delete_namespace(namespace)
            except ApiException as error:
                if error.status == 409:  # it is on its way
                    return False
                if error.status != 404:
                    raise
                return True
            return False

        wait_for(gone, 120, f"{namespace} is gone", 1)

    def nodes(self) -> list[str]:
        """Those that run pods: not closed, and not simulated."""
        return [
            node.metadata.name
            for node in self.core.list_node().items
            if not node.spec.unschedulable and SIMULATED not in (node.metadata.annotations or {})
        ]

    def pods(self, namespace: str, release: str = "catsdogs") -> list[V1Pod]:
        """The servers of a release that are not on their way out."""
        selector = f"app.kubernetes.io/instance={release},app.kubernetes.io/component=server"
        pods = self.core.list_namespaced_pod(namespace, label_selector=selector).items
        return [pod for pod in pods if pod.metadata.deletion_timestamp is None]

    def ready(self, namespace: str, release: str = "catsdogs") -> list[V1Pod]:
        return [pod for pod in self.pods(namespace, release) if is_ready(pod)]

    def pod(self, namespace: str, name: str) -> V1Pod:
        return self.core.read_namespaced_pod(name, namespace)

    def exists(self, namespace: str, name: str) -> bool:
        selector = f"metadata.name={name}"
        return bool(self.core.list_namespaced_pod(namespace, field_selector=selector).items)

    def events(self, namespace: str, name: str) -> list[CoreV1Event]:
        """Return the events of an object, as `kubectl describe` lists them."""
        events = self.core.list_namespaced_event(namespace, field_selector=f"involvedObject.name={name}").items
        return list(events)

    def log(self, namespace: str, pod: str, container: str, **options: Any) -> str:
        return str(self.core.read_namespaced_pod_log(pod, namespace, container=container, **options))

    def shell(self, namespace: str, pod: str, container: str, script: str) -> str:
        """Run a script in a container and return its output and its errors."""
        # A client of its own: while it becomes a websocket's, other threads cannot use it.
        channel = stream(
            client.CoreV1Api(client.ApiClient()).connect_get_namespaced_pod_exec,
            pod,
            namespace,
            container=container,
            command=["python", "-c", script],
            stdout=True,
            stderr=True,
            stdin=False,
            tty=False,
            _preload_content=False,
        )
        with closing(channel):
            try:
                channel.run_forever(timeout=120)
                return str(channel.read_all())
            finally:
                channel.sock.shutdown()  # what the server has closed keeps its socket otherwise

    def restart(self, namespace: str, name: str = "catsdogs") -> None:
        """Restart a Deployment's pods, as `kubectl rollout restart` does."""
        annotations = {"kubectl.kubernetes.io/restartedAt": datetime.now(UTC).isoformat()}
        template = {"metadata": {"annotations": annotations}}
        self.apps.patch_namespaced_deployment(name, namespace, {"spec": {"template": template}})

    def rolled_out(self, namespace: str, name: str = "catsdogs") -> bool:
        """Return whether a rollout is complete, as `kubectl rollout status` judges."""
        deployment = self.apps.read_namespaced_deployment(name, namespace)
        status, wanted = deployment.status, deployment.spec.replicas
        return bool(
            status.observed_generation == deployment.metadata.generation
            and (status.updated_replicas or 0) == wanted
            and (status.replicas or 0) == wanted
            and (status.available_replicas or 0) == wanted
        )

    def drain(self, namespace: str, node: str) -> list[str]:
        """Drain a node of this namespace's servers, as `kubectl drain` does, and open it again. Return their names."""
        self.core.patch_node(node, {"spec": {"unschedulable": True}})
        try:
            leaving = [pod.metadata.name for pod in self.pods(namespace) if pod.spec.node_name == node]
            for name in leaving:
                wait_for(partial(self.evict, namespace, name), 120, f"{name} may be evicted", 1)
            wait_for(lambda: self.rolled_out(namespace), 300, "all pods elsewhere")
            wait_for(lambda: not self.has_servers(namespace, node), 90, f"{node} is drained")
        finally:
            self.core.patch_node(node, {"spec": {"unschedulable": False}})
        return leaving

    def evict(self, namespace: str, pod: str) -> bool:
        """False while the PodDisruptionBudget does not allow it."""
        try:
            self.core.create_namespaced_pod_eviction(pod, namespace, {"metadata": {"name": pod}})
        except ApiException as error:
            if error.status == 429:
                return False
            raise
        return True

    def has_servers(self, namespace: str, node: str) -> bool:
        """Whether a server is there, even one on its way out."""
        selector = "app.kubernetes.io/component=server"
        pods = self.core.list_namespaced_pod(namespace, label_selector=selector).items
        return any(pod.spec.node_name == node for pod in pods)

    def install(self, namespace: str, release: str = "catsdogs", wait: bool = True, **values: Any) -> str:
        """A release of the small values, and those given. Waits until its pods are ready."""
        options = [*OPTIONS, f"--namespace={namespace}", *(["--wait"] if wait else [])]
        return run_helm("install", release, str(CHART), *options, values=ours(values))

    def upgrade(self, namespace: str, release: str = "catsdogs", wait: bool = True, **values: Any) -> str:
        options = [*OPTIONS, f"--namespace={namespace}", *(["--wait"] if wait else [])]
        return run_helm("upgrade", release, str(CHART), *options, values=ours(values))

    def fail_to_upgrade(self, namespace: str, *options: str, **values: Any) -> str:
        """Return Helm's message about an upgrade that must not succeed."""
        given = [*OPTIONS, f"--namespace={namespace}", *options]
        done = try_helm("upgrade", "catsdogs", str(CHART), *given, values=ours(values))
        assert done.returncode != 0, done.stdout
        return done.stderr

    def uninstall(self, namespace: str, release: str = "catsdogs") -> None:
        run_helm("uninstall", release, "--namespace", namespace, "--wait")


def ours(values: dict[str, Any]) -> dict[str, Any]:
    """Return values with the tested image, unless they name another tag, and with the load test's image."""
    repository, _, tag = IMAGE.rpartition(":")
    made = {**values, "image": {"repository": repository, "tag": tag, **values.get("image", {})}}
    # Only then: the last chart knows of no load test.
    if "loadtest" in values:
        made["loadtest"] = {"image": {"tag": f"{tag}-load"}, **values["loadtest"]}
    return made


def is_ready(thing: V1Pod | V1Node) -> bool:
    return any(condition.type == "Ready" and condition.status == "True" for condition in thing.status.conditions or [])


def restarts(pod: V1Pod, container: str) -> int:
    states = [*(pod.status.container_statuses or []), *(pod.status.init_container_statuses or [])]
    return next((status.restart_count for status in states if status.name == container), 0)


def last_words(pod: V1Pod, container: str) -> str:
    """Return how a container ended, or keeps ending, as `kubectl describe` shows it."""
    states = [*(pod.status.container_statuses or []), *(pod.status.init_container_statuses or [])]
    container_states = [
        state for status in states if status.name == container for state in (status.last_state, status.state)
    ]
    ends = [state.terminated for state in container_states if state and state.terminated]
    return "\n".join(end.message or "" for end in ends)


@dataclass
class Totals:
    """Since the clients were started, by target."""

    time: float = 0.0
    sent: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)


@dataclass
class Load:
    """Clients in a pod, which run until the test ends: connections that outlive many pods."""

    cluster: Cluster
    namespace: str
    pod: str

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.cluster.log(self.namespace, self.pod, "client").splitlines()]

    def totals(self) -> Totals:
        reports = [line for line in self.lines() if "sent" in line]
        return Totals(reports[-1]["time"], reports[-1]["sent"], reports[-1]["failed"]) if reports else Totals()

    def failures(self, since: float) -> list[dict[str, Any]]:
        return [line for line in self.lines() if "failure" in line and line["time"] >= since]

    def slowest_s(self, since: float) -> float:
        return max(float(line["slowest_s"]) for line in self.lines() if "sent" in line and line["time"] >= since)

    def stolen(self, since: float) -> float:
        """The most that was stolen of the processor time of any ten seconds: 0 to 1."""
        shares = [float(line["stolen"]) for line in self.lines() if "sent" in line and line["time"] >= since]
        return max((fmean(shares[first : first + 10]) for first in range(max(1, len(shares) - 9))), default=0.0)

    def wait_for_more(self, count: int, than: Totals, seconds: float = 300) -> Totals:
        """The totals once `count` more requests were sent, and those had been answered that were sent until now."""

        def enough() -> Totals | None:
            now = self.totals()
            return now if sum(now.sent.values()) - sum(than.sent.values()) >= count else None

        return wait_for(enough, seconds, f"{count} requests", 1)


@contextmanager
def load(
    cluster: Cluster,
    namespace: str,
    *,
    rest: list[str],
    grpc: list[str],
    rate: float,
    clients: int = 4,
    node: str | None = None,
    name: str = "load",
    ca: Path | None = None,
    key: str | None = None,
) -> Iterator[Load]:
    """Clients of all these targets, from one pod, which may be told its node, a key, and whom to believe over TLS."""
    files = {"client.py": (HERE / "client.py").read_text()} | ({"ca.crt": ca.read_text()} if ca else {})
    cluster.core.create_namespaced_config_map(namespace, {"metadata": {"name": name}, "data": files})
    targets = [*(f"--rest={target}" for target in rest), *(f"--grpc={target}" for target in grpc)]
    spec = yaml.safe_load((HERE / "client.yaml").read_text())
    container = spec["containers"][0]
    container["image"] = f"{IMAGE}-client"
    container["command"] += [*targets, f"--rate={rate}", f"--clients={clients}"]
    container["command"] += ["--ca=/client/ca.crt"] if ca else []
    container["env"] = [{"name": "CATSDOGS_KEY", "value": key}] if key else []
    spec["volumes"][0]["configMap"]["name"] = name
    if node is not None:
        spec["nodeSelector"] = {"kubernetes.io/hostname": node}
    cluster.core.create_namespaced_pod(namespace, {"metadata": {"name": name}, "spec": spec})
    running = Load(cluster, namespace, name)
    try:
        wait_for(lambda: cluster.pod(namespace, name).status.phase == "Running", 60, "the clients run")
        wait_for(lambda: len(running.totals().sent) == len(targets), 60, "the clients were answered")
        yield running
    finally:
        # It closes its connections, for which the servers would wait otherwise.
        cluster.core.delete_namespaced_pod(name, namespace)
        cluster.core.delete_namespaced_config_map(name, namespace)
        wait_for(lambda: not cluster.exists(namespace, name), 60, "the clients are gone")
