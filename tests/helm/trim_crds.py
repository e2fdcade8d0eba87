"""The schemas of the custom resources of the chart and of k8s/, from their makers' Go modules: tests/helm/crds/.

    python tests/helm/trim_crds.py $(go env GOMODCACHE)

after `go mod download MODULE@VERSION` of each. Without descriptions, and without rules in CEL, which are no schema.
"""

import json
import sys
from pathlib import Path
from typing import Any

import yaml

OUT = Path(__file__).parent / "crds"
GATEWAY = "sigs.k8s.io/gateway-api@v1.7.0", "config/crd/standard/gateway.networking.k8s.io_{}.yaml"
PROMETHEUS = (
    "github.com/prometheus-operator/prometheus-operator@v0.85.0",
    "example/prometheus-operator-crd/monitoring.coreos.com_{}.yaml",
)
KEDA = "github.com/kedacore/keda/v2@v2.21.0", "config/crd/bases/keda.sh_{}.yaml"
TRAINER = "github.com/kubeflow/trainer/v2@v2.0.0", "manifests/base/crds/trainer.kubeflow.org_{}.yaml"
ARGO = "github.com/argoproj/argo-rollouts@v1.8.3", "manifests/crds/analysis-template-crd.yaml"
SOURCES = {
    "httproutes": GATEWAY,
    "grpcroutes": GATEWAY,
    "podmonitors": PROMETHEUS,
    "servicemonitors": PROMETHEUS,
    "prometheusrules": PROMETHEUS,
    "scaledobjects": KEDA,
    "trainingruntimes": TRAINER,
    "trainjobs": TRAINER,
    "analysistemplates": ARGO,
}
# Of what may have several versions.
VERSIONS = {GATEWAY: "v1", PROMETHEUS: "v1", KEDA: "v1alpha1", TRAINER: "v1alpha1", ARGO: "v1alpha1"}
# Whole pods, of which Kubernetes' own schema says more: they are left open here.
PODS = {
    "trainingruntimes": "spec/template/spec/replicatedJobs/[]/template/spec",
    "trainjobs": "spec/podSpecOverrides",
    "analysistemplates": "spec/metrics/[]/provider/job/spec/template/spec",
}
LEFT_OUT = {"description", "x-kubernetes-validations", "x-kubernetes-list-type", "x-kubernetes-list-map-keys"}
LICENSE = "Apache-2.0"


def trimmed(schema: Any, named: bool = False) -> Any:
    """Args: named: the keys are names of properties, of which all are kept."""
    if isinstance(schema, list):
        return [trimmed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: value for key, value in schema.items() if named or key not in LEFT_OUT}
    if not named and "(?i)" in kept.get("pattern", ""):
        del kept["pattern"]  # Go's, which is no regular expression of Python's
    return {key: trimmed(value, key == "properties" and not named) for key, value in kept.items()}


def without(schema: Any, path: list[str]) -> Any:
    """Return the schema with anything allowed at this path, in which [] are a list's items."""
    if not path:
        return {}
    if path[0] == "[]":
        return schema | {"items": without(schema["items"], path[1:])}
    properties = schema["properties"]
    return schema | {"properties": properties | {path[0]: without(properties[path[0]], path[1:])}}


def main(cache: Path) -> None:
    OUT.mkdir(exist_ok=True)
    for plural, source in SOURCES.items():
        module, path = source
        crd = yaml.safe_load((cache / module / path.format(plural)).read_text())["spec"]
        (version,) = [version for version in crd["versions"] if version["name"] == VERSIONS[source]]
        schema = version["schema"]["openAPIV3Schema"]
        schema["properties"].pop("status", None)
        if plural in PODS:
            schema = without(schema, PODS[plural].split("/"))
        document = {
            "source": f"{module}/{path.format(plural)}",
            "license": LICENSE,
            "apiVersion": f"{crd['group']}/{version['name']}",
            "kind": crd["names"]["kind"],
            "schema": trimmed(schema),
        }
        (OUT / f"{plural}.json").write_text(json.dumps(document, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
