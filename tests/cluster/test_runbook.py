"""The runbook: each command of docs/how-to/alerts.md works as it stands there, on a real release."""

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from socket import socket
from typing import Any

import pytest
import yaml
from kubernetes.client import ApiException, ApiextensionsV1Api, V1Pod

from tests.cluster.support import HERE, Cluster, restarts, wait_for
from tests.cluster.test_kills import JAVA, KILL
from tests.documentation import run_by
from tests.helm.support import helm

pytestmark = pytest.mark.breadth
ROOT = HERE.parents[1]
PAGE = ROOT / "docs" / "how-to" / "alerts.md"
METRICS = "kubectl port-forward POD 8082 &"
# Of the pictures with labels that CATSDOGS_PICTURES names, so many: too few say nothing of 0.9.
LABELLED = 200
# What the output of a command must match, by the command's beginning. Any output will do for the others.
EXPECTED = {
    "kubectl get pods": r"catsdogs-\S+ +2/2 +Running",
    "kubectl logs POD -c torchserve": r"\S",
    "kubectl logs deployment/catsdogs -c gateway": r'"protocol"',
    "curl -s http://127.0.0.1:8082/metrics": r"^(catsdogs|caddy)_\w+(\{.*\})? [0-9.e+-]+$",
    "curl -s http://127.0.0.1:8082/drift": r'"windows"',
    "kubectl rollout history": r"^\d+ ",
    "kubectl rollout status": "successfully rolled out",
    # A probe that succeeds prints nothing.
    "kubectl exec": r"\A\Z",
    "kubectl top": r"torchserve +\d+m +\d+Mi",
    "kubectl port-forward service/catsdogs 8080 & catsdogs check": r"^ok +\d+\.jpg is a dog by KServe v2$",
    "kubectl port-forward service/catsdogs 8080 & catsdogs validate": r"^PASS",
    "kubectl get events": r"pod/catsdogs",
    "kubectl describe pod": r"Ready +True",
    "kubectl delete pod": "deleted",
    "kubectl get hpa": "Deployment/catsdogs",
    "kubectl get networkpolicy": "catsdogs",
    "kubectl get prometheusrule": "prometheus",
    "kubectl get replicasets": r"catsdogs-\S+ +([12]) +\1 +\1 ",
    "kubectl get pod POD -o jsonpath": r"^[1-9]",
    "helm list": r"catsdogs\s.*deployed",
    "helm rollback": "Rollback was a success",
    "helm upgrade": "has been upgraded",
}
# A minimum of the operator's own types, which only store what they are given.
OPERATOR = {"podmonitors": "PodMonitor", "prometheusrules": "PrometheusRule"}
GROUP = "monitoring.coreos.com"
VALUES: dict[str, Any] = {
    "networkPolicy": {"enabled": True, "monitoringNamespace": "monitoring"},
    # A share of the CPU that no pod reaches: the autoscaler adds none.
    "autoscaling": {"type": "hpa", "minReplicas": 1, "maxReplicas": 2, "cpuPercent": 10_000},
    "metrics": {"podMonitor": {"enabled": True}},
    "monitoring": {"rules": {"enabled": True, "labels": {"release": "prometheus"}}},
}


def commands_by_heading() -> dict[str, list[str]]:
    """Return the commands of the page's blocks that name this test, by the heading above them."""
    commands: dict[str, list[str]] = {}
    for block in run_by(__file__):
        above = block.page.read_text().splitlines()[: block.line]
        heading = next(line for line in reversed(above) if re.match("#+ ", line)).lstrip("# ")
        commands.setdefault(heading, []).extend(block.commands)
    return commands


COMMANDS = commands_by_heading()
FIRST = "First commands"
ALERTS = [heading for heading in COMMANDS if heading != FIRST]


@dataclass
class Terminal:
    """An operator's terminal: the current namespace is that of the release."""

    cluster: Cluster
    namespace: str
    folder: Path
    environment: dict[str, str]

    def run(self, command: str) -> str:
        """Return the standard output of a command, and end what it left in the background.

        Its standard error goes where ours does: pytest shows it.
        """
        output = self.folder / "output"
        with output.open("w") as file:
            process = subprocess.Popen(
                ["sh", "-c", command], env=self.environment, cwd=self.folder, stdout=file, start_new_session=True
            )
            try:
                status = process.wait(timeout=180)
            finally:
                with suppress(ProcessLookupError):  # nothing was left
                    os.killpg(process.pid, signal.SIGKILL)
        text = output.read_text()
        assert status == 0, f"{command} ended with {status}:\n{text}"
        return text

    def pod(self) -> str:
        """Return the name of a pod once the Deployment is as it should be."""

        def pods() -> list[V1Pod]:
            return self.cluster.ready(self.namespace) if self.cluster.rolled_out(self.namespace) else []

        return str(wait_for(pods, 300, "rolled out", 1)[0].metadata.name)

    def wait_for_usage(self, pod: str) -> None:
        """Wait until metrics-server has seen the containers twice: before, `kubectl top` knows nothing of them."""

        def known() -> bool:
            command = ["kubectl", "top", "pod", pod, "--containers"]
            return subprocess.run(command, env=self.environment, capture_output=True).returncode == 0

        wait_for(known, 180, "metrics-server has seen the pod", 5)

    @contextmanager
    def forwarding(self, pod: str) -> Iterator[None]:
        """Forward the pod's metrics meanwhile, as the page says."""
        command = METRICS.removesuffix(" &").replace("POD", pod)
        wait_for_port(8082)
        with subprocess.Popen(
            ["sh", "-c", f"exec {command}"], env=self.environment, stdout=subprocess.PIPE, text=True
        ) as process:
            try:
                assert process.stdout is not None
                assert "8082" in process.stdout.readline()
                yield
            finally:
                process.terminate()


def wait_for_port(port: int) -> None:
    """Wait until nobody listens: kubectl would forward another address alone, and the command would ask a stranger."""

    def is_free() -> bool:
        with socket() as connection:
            return connection.connect_ex(("127.0.0.1", port)) != 0

    wait_for(is_free, 120, f"127.0.0.1:{port} is free", 1)


def is_established(api: ApiextensionsV1Api, name: str) -> bool:
    conditions = api.read_custom_resource_definition(name).status.conditions or []
    return any(condition.type == "Established" and condition.status == "True" for condition in conditions)


@pytest.fixture(scope="module")
def operator() -> Iterator[None]:
    api, made = ApiextensionsV1Api(), []
    for plural, kind in OPERATOR.items():
        version = {
            "name": "v1",
            "served": True,
            "storage": True,
            "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
        }
        names = {"plural": plural, "singular": kind.lower(), "kind": kind}
        spec = {"group": GROUP, "scope": "Namespaced", "names": names, "versions": [version]}
        try:
            api.create_custom_resource_definition({"metadata": {"name": f"{plural}.{GROUP}"}, "spec": spec})
            made.append(f"{plural}.{GROUP}")
        except ApiException as error:
            if error.status != 409:  # the cluster has an operator
                raise
    wait_for(lambda: all(is_established(api, name) for name in made), 30, "the types are established")
    yield
    for name in made:
        api.delete_custom_resource_definition(name)


@pytest.fixture(scope="module")
def terminal(
    cluster: Cluster, namespace: str, operator: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Terminal]:
    """A terminal with a release that has been upgraded once."""
    folder = tmp_path_factory.mktemp("operator")
    config = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text())
    for context in config["contexts"]:
        context["context"]["namespace"] = namespace
    (folder / "config").write_text(yaml.safe_dump(config))
    (folder / "config").chmod(0o600)
    (folder / "helm").symlink_to(ROOT / "helm")
    pictures = Path(os.environ["CATSDOGS_PICTURES"])
    for label in ("cat", "dog"):
        (folder / "labelled" / label).mkdir(parents=True)
        sources = sorted((pictures / label.capitalize()).glob("*.jpg")) or sorted((pictures / label).glob("*.jpg"))
        for path in sources[: LABELLED // 2]:
            shutil.copy(path, folder / "labelled" / label)
    programs = folder / "bin"
    programs.mkdir()
    (programs / "helm").symlink_to(Path(shutil.which(helm()) or helm()).resolve())
    (programs / "catsdogs").symlink_to(ROOT / ".venv" / "bin" / "catsdogs")
    environment = {**os.environ, "KUBECONFIG": str(folder / "config")}
    environment["PATH"] = f"{programs}:{environment['PATH']}"
    cluster.install(namespace, **VALUES)
    cluster.upgrade(namespace, **VALUES, gateway={"accessLog": True})
    yield Terminal(cluster, namespace, folder, environment)
    cluster.uninstall(namespace)


def end_java(terminal: Terminal) -> None:
    """End TorchServe's Java process, and with it the container, which the kubelet starts again."""
    pod = terminal.pod()
    (java,) = json.loads(terminal.cluster.shell(terminal.namespace, pod, "torchserve", JAVA))
    terminal.cluster.shell(terminal.namespace, pod, "torchserve", KILL.format(pids=[java]))
    wait_for(
        lambda: restarts(terminal.cluster.pod(terminal.namespace, pod), "torchserve"), 90, "TorchServe was restarted", 1
    )


# What must have happened before an alert's commands say anything.
BEFORE = {"CatsdogsTorchServeRestarts": end_java}


def check(terminal: Terminal, command: str, pod: str) -> None:
    """Run a command of the page and check what it says."""
    if command.startswith("kubectl top"):
        terminal.wait_for_usage(pod)
    if command.startswith("kubectl port-forward"):
        wait_for_port(8080)
    output = terminal.run(command.replace("POD", pod))
    patterns = [pattern for start, pattern in EXPECTED.items() if command.startswith(start)] or [r"\S"]
    for pattern in patterns:
        assert re.search(pattern, output, re.MULTILINE), f"{command}:\n{output}"


def test_the_page_has_three_commands_for_each_alert() -> None:
    headings = re.findall(r"^### (Catsdogs\w+)$", PAGE.read_text(), re.MULTILINE)
    assert {alert: len(COMMANDS.get(alert, [])) for alert in headings} == dict.fromkeys(ALERTS, 3)


def test_in_a_container_only_catsdogs_is_run() -> None:
    """The images have neither bash nor curl."""
    inside = [command for alert in ALERTS for command in COMMANDS[alert] if " exec " in command]
    assert inside
    assert all(re.search(r" -- catsdogs \w", command) for command in inside)


def test_kubectl_changes_no_deployment() -> None:
    """Helm refuses to upgrade a Deployment of which kubectl has changed a field that Helm sets."""
    changes = r"kubectl (apply|edit|patch|scale|set|rollout (undo|restart))\b"
    assert not [command for commands in COMMANDS.values() for command in commands if re.match(changes, command)]


def test_the_first_commands_work(terminal: Terminal) -> None:
    pod, commands = terminal.pod(), COMMANDS[FIRST]
    # The gateway's log has a line of each request.
    check(terminal, next(command for command in COMMANDS["CatsdogsUnreachable"] if "catsdogs check" in command), pod)
    assert commands[-1] == METRICS
    for command in commands[:-1]:
        check(terminal, command, pod)


@pytest.mark.parametrize("alert", ALERTS)
def test_the_commands_of_an_alert_work(terminal: Terminal, alert: str) -> None:
    if alert in BEFORE:
        BEFORE[alert](terminal)
    for command in COMMANDS[alert]:
        pod = terminal.pod()
        if "127.0.0.1:8082" in command:
            with terminal.forwarding(pod):
                check(terminal, command, pod)
        else:
            check(terminal, command, pod)
