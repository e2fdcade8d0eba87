"""The autoscalers' queries work on a real Prometheus that scrapes a release under load."""

import http.client
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
import yaml
from kubernetes import client

from common.ports import free_ports
from tests.cluster.support import Cluster, load, wait_for
from tests.helm.support import render
from tests.zoo import ROOT

pytestmark = pytest.mark.breadth

# Each has one request under way, always: so many are in the system.
CLIENTS = 2
IN_SYSTEM = 2 * CLIENTS


@dataclass
class Prometheus:
    port: int

    def ask(self, query: str) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each series that it answers with."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("GET", f"/api/v1/query?query={quote(query)}")
        answer = json.loads(connection.getresponse().read())
        connection.close()
        assert answer["status"] == "success", answer
        return [(sample["metric"], float(sample["value"][1])) for sample in answer["data"]["result"]]


def scrapes(cluster: Cluster, namespace: str) -> list[dict[str, object]]:
    """Every pod of the release, each second, by way of the API server: pods cannot be reached from outside."""
    access = client.Configuration.get_default_copy()
    targets = [
        {
            "targets": [access.host.removeprefix("https://")],
            "labels": {
                "__metrics_path__": f"/api/v1/namespaces/{namespace}/pods/{pod.metadata.name}:8082/proxy/metrics",
                "namespace": namespace,
                "pod": pod.metadata.name,
            },
        }
        for pod in cluster.ready(namespace)
    ]
    files = {"ca_file": access.ssl_ca_cert, "cert_file": access.cert_file, "key_file": access.key_file}
    token = access.get_api_key_with_prefix("authorization")
    return [
        {
            "job_name": "catsdogs",
            "scrape_interval": "1s",
            "scheme": "https",
            "tls_config": {name: path for name, path in files.items() if path},
            **({"authorization": {"credentials": token.removeprefix("Bearer ")}} if token else {}),
            "static_configs": targets,
        }
    ]


@pytest.fixture(scope="module")
def release(cluster: Cluster, namespace: str) -> Iterator[str]:
    cluster.install(namespace)
    yield namespace
    cluster.uninstall(namespace)


@pytest.fixture(scope="module")
def prometheus(cluster: Cluster, release: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    binary = os.environ.get("CATSDOGS_PROMETHEUS") or shutil.which("prometheus")
    assert binary, "These tests need Prometheus: install it, or set CATSDOGS_PROMETHEUS to its binary."
    folder: Path = tmp_path_factory.mktemp("prometheus")
    (folder / "prometheus.yml").write_text(yaml.safe_dump({"scrape_configs": scrapes(cluster, release)}))
    (folder / "prometheus.yml").chmod(0o600)
    (port,) = free_ports(1)
    arguments = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([binary, *arguments, f"--web.listen-address=127.0.0.1:{port}"], stderr=log)
    running = Prometheus(port)

    def scraped() -> bool:
        assert process.poll() is None, (folder / "log").read_text()
        try:
            return [value for _, value in running.ask("up")] == [1.0, 1.0]
        except OSError:
            return False

    try:
        wait_for(scraped, 60, "both pods are scraped")
        yield running
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def under_load(cluster: Cluster, release: str, prometheus: Prometheus) -> Iterator[str]:
    """Yield the release after it was under load for as long as the queries look back."""
    with load(cluster, release, rest=["catsdogs:8080"], grpc=["catsdogs:7070"], rate=1000, clients=CLIENTS) as clients:
        before = clients.totals()
        wait_for(lambda: clients.totals().time > before.time + 65, 120, "a minute of load", 1)
        yield release


def kedas(namespace: str) -> str:
    """Return KEDA's query, from the ScaledObject of a release in this namespace."""
    values = {"type": "keda", "metric": "requests", "prometheus": {"serverAddress": "http://prometheus:9090"}}
    (trigger,) = render({"autoscaling": values}, namespace=namespace).manifest("ScaledObject")["spec"]["triggers"]
    return str(trigger["metadata"]["query"])


def adapters(namespace: str, pods: list[str]) -> str:
    """Return prometheus-adapter's query: its template filled in for the pods that an HPA asks about."""
    (rule,) = yaml.safe_load((ROOT / "k8s" / "prometheus-adapter.yaml").read_text())["rules"]["custom"]
    series = rule["seriesQuery"].partition("{")[0]
    matchers = f'namespace="{namespace}",pod=~"{"|".join(pods)}"'
    template: str = rule["metricsQuery"]
    return (
        template.replace("<<.Series>>", series).replace("<<.LabelMatchers>>", matchers).replace("<<.GroupBy>>", "pod")
    )


def test_keda_learns_how_many_requests_are_in_the_system(prometheus: Prometheus, under_load: str) -> None:
    ((_, requests),) = prometheus.ask(kedas(under_load))
    # Less than all: a request is on its way for a moment, and its client needs one.
    assert 0.5 * IN_SYSTEM < requests <= 1.05 * IN_SYSTEM


def test_an_hpa_learns_the_same_of_each_pod(cluster: Cluster, prometheus: Prometheus, under_load: str) -> None:
    names = [pod.metadata.name for pod in cluster.ready(under_load)]
    by_pod = {labels["pod"]: value for labels, value in prometheus.ask(adapters(under_load, names))}
    assert by_pod.keys() == set(names)
    assert 0.5 * IN_SYSTEM < sum(by_pod.values()) <= 1.05 * IN_SYSTEM


def test_the_adapter_finds_the_series_it_looks_for(prometheus: Prometheus, under_load: str) -> None:
    (rule,) = yaml.safe_load((ROOT / "k8s" / "prometheus-adapter.yaml").read_text())["rules"]["custom"]
    series = prometheus.ask(rule["seriesQuery"])
    assert {labels["server"] for labels, _ in series} == {"rest", "grpc"}


def test_a_release_that_nobody_asked_anything_counts_as_idle(prometheus: Prometheus) -> None:
    assert prometheus.ask(kedas("another-namespace")) == [({}, 0.0)]
