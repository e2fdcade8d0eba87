"""Helpers that render the chart by `helm template`, and find objects in its output."""

import functools
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.zoo import ROOT

CHART = ROOT / "helm"
CPU = CHART / "values-cpu.yaml"
OLDEST, NEWEST = "1.29.0", "1.37.0"
SHA = "60feeb0b0ca0c4fd43cf9a4297a12377032a400ef6082a49277842bb5740445f"
PVC = {"model": {"source": "pvc", "sha256": SHA, "pvc": {"claimName": "store", "path": "models/mine.mar"}}}
HTTP = {"model": {"source": "http", "sha256": SHA, "http": {"url": "https://models.example/catsdogs-0.2.0.mar"}}}
S3 = {"model": {"source": "s3", "sha256": SHA, "s3": {"bucket": "models", "key": "catsdogs/0.2.0.mar"}}}
OCI = {"model": {"source": "oci", "sha256": SHA, "oci": {"reference": "registry.example/models/catsdogs:0.2.0"}}}
# The first in which it can be.
IMAGE_VOLUMES = "1.33.0"
PUBLIC = "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n"
KEYS = {"auth": {"existingSecret": "our-keys", "key": "api"}}
TLS = {"gateway": {"tls": {"existingSecret": "our-tls"}}}
PARENTS = [{"name": "public", "namespace": "gateways", "sectionName": "https"}]
ROUTES = {
    "httpRoute": {"enabled": True, "parentRefs": PARENTS, "hostnames": ["cats.example.org"], "annotations": {"a": "b"}},
    "grpcRoute": {"enabled": True, "parentRefs": PARENTS, "hostnames": ["grpc.example.org"]},
}
# As much at once as goes together.
EVERYTHING = {
    "model": {**PVC["model"], "signature": {"existingConfigMap": "trusted", "key": "maker.pem"}},
    **KEYS,
    "commonLabels": {"team": "pets"},
    "commonAnnotations": {"owner": "pets@example.com"},
    "imagePullSecrets": [{"name": "registry"}],
    "replicas": 3,
    "runtime": "torch",
    "torchserve": {"workers": 2, "queue": 16, "verbose": True},
    "gateway": {"corsOrigins": ["https://example.org"], "accessLog": True, **TLS["gateway"]},
    "service": {"type": "LoadBalancer", "annotations": {"a": "b"}, "nodePorts": {"http": 30080, "grpc": 30070}},
    "metrics": {"scrapeAnnotations": True},
    "imageOperations": True,
    "feedback": {
        "enabled": True,
        "store": "pvc",
        "pvc": {"claimName": "given"},
        "signing": {"existingSecret": "signs"},
    },
    **ROUTES,
    "ingress": {
        "enabled": True,
        "className": "nginx",
        "annotations": {"nginx.ingress.kubernetes.io/proxy-body-size": "16m"},
        "hosts": ["cats.example.org", "*.dogs.example.org"],
        "tls": [{"secretName": "cats-tls", "hosts": ["cats.example.org"]}],
    },
    "networkPolicy": {
        "enabled": True,
        "from": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "shop"}}}],
        "monitoringNamespace": "monitoring",
        "egress": [{"to": [{"ipBlock": {"cidr": "198.51.100.7/32"}}], "ports": [{"port": 443, "protocol": "TCP"}]}],
    },
    "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": "25%"}},
    "pdb": {"maxUnavailable": "50%"},
    "gpu": {"count": 2, "runtimeClassName": "nvidia"},
    "nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-L4"},
    "tolerations": [{"key": "spot", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "catsdogs-serving",
    "serviceAccount": {"create": True, "annotations": {"role": "reader"}},
    "podLabels": {"cost": "inference"},
    "podAnnotations": {"note": "here"},
    "extraEnv": [{"name": "LOG_LEVEL", "value": "INFO"}],
    "extraVolumes": [{"name": "more", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
    "extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-more"}}],
}

Object = dict[str, Any]
# A tenth of the time of the loader in Python, where PyYAML was built with libyaml.
LOADER: type[yaml.CSafeLoader | yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def with_model(values: Object, **more: Any) -> Object:
    return {**values, "model": {**values["model"], **more}}


def helm() -> str:
    """The helm that `make test-helm` names, or one beside this Python or on the PATH."""
    beside = Path(sys.executable).parent / "helm"
    path = os.environ.get("HELM") or shutil.which(str(beside)) or shutil.which("helm")
    assert path, "There is no helm: run these tests by `make test-helm`."
    return path


def run(*arguments: str, values: str = "{}") -> subprocess.CompletedProcess[str]:
    # It ends before its garbage would matter; collecting it is a fifth of its processor time.
    environment = {**os.environ, "GOGC": "off"}
    return subprocess.run([helm(), *arguments], input=values, capture_output=True, text=True, env=environment)


def named(objects: list[Object], name: str) -> Object:
    (item,) = [item for item in objects if item["name"] == name]
    return item


@dataclass(frozen=True)
class Rendered:
    objects: list[Object]

    def kind(self, kind: str) -> list[Object]:
        return [manifest for manifest in self.objects if manifest["kind"] == kind]

    def manifest(self, kind: str, ending: str = "") -> Object:
        (manifest,) = [manifest for manifest in self.kind(kind) if manifest["metadata"]["name"].endswith(ending)]
        return manifest

    @property
    def deployment(self) -> Object:
        spec: Object = self.manifest("Deployment")["spec"]
        return spec

    @property
    def template(self) -> Object:
        """The pod's metadata and spec."""
        template: Object = self.deployment["template"]
        return template

    @property
    def pod(self) -> Object:
        pod: Object = self.template["spec"]
        return pod

    @property
    def torchserve(self) -> Object:
        return named(self.pod["initContainers"], "torchserve")

    @property
    def fetch(self) -> Object:
        return named(self.pod["initContainers"], "model")

    @property
    def gateway(self) -> Object:
        return named(self.pod["containers"], "gateway")

    @property
    def service(self) -> Object:
        (service,) = [
            service for service in self.kind("Service") if not service["metadata"]["name"].endswith("-metrics")
        ]
        return service

    @property
    def check(self) -> Object:
        """The pod of `helm test`."""
        return self.manifest("Pod", "-test")


@functools.cache
def _template(values: str, files: tuple[Path, ...], release: str, namespace: str, kubernetes: str, chart: Path) -> str:
    options = [
        "--namespace",
        namespace,
        "--kube-version",
        kubernetes,
        *(f"--values={path}" for path in files),
        "--values=-",
    ]
    done = run("template", release, str(chart), *options, values=values)
    if done.returncode:
        raise AssertionError(done.stderr)
    return done.stdout


def render(
    values: Object | None = None,
    *files: Path,
    release: str = "catsdogs",
    namespace: str = "default",
    kubernetes: str = OLDEST,
    chart: Path = CHART,
) -> Rendered:
    text = _template(json.dumps(values or {}), files, release, namespace, kubernetes, chart)
    return Rendered([manifest for manifest in yaml.load_all(text, LOADER) if manifest])


def refusal(values: Object, *files: Path, release: str = "catsdogs", kubernetes: str = OLDEST) -> str:
    """Require that these values are refused, and return the message as one line."""
    options = ["--kube-version", kubernetes, *(f"--values={path}" for path in files), "--values=-"]
    done = run("template", release, str(CHART), *options, values=json.dumps(values))
    assert done.returncode != 0, "these values are accepted"
    return " ".join(done.stderr.split())


def environment(container: Object) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in container.get("env") or [] if "value" in variable}


def flags(container: Object) -> dict[str, str]:
    """The command's options: --name=value."""
    parts = (word.removeprefix("--").partition("=") for word in container["command"] if word.startswith("--"))
    return {name: value for name, _, value in parts}


def selects(selector: dict[str, str], labels: dict[str, str]) -> bool:
    return selector.items() <= labels.items()
