"""The rendered chart and the files in k8s/ are valid by the schemas of the oldest and the newest Kubernetes."""

import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import kubernetes_validate
import pytest
import yaml

from tests.helm.support import (
    CHART,
    CPU,
    EVERYTHING,
    HTTP,
    IMAGE_VOLUMES,
    KEYS,
    NEWEST,
    OCI,
    OLDEST,
    PVC,
    ROUTES,
    S3,
    Object,
    render,
    run,
    with_model,
)
from tests.helm.test_autoscaling import BY_REQUESTS, HPA, KEDA
from tests.helm.test_loadtest import SHAPES
from tests.zoo import ROOT

VALUES_FILES = sorted(CHART.glob("values*.yaml"))
# For kind and for another chart, not for Kubernetes.
OTHERS = ("kind.yaml", "prometheus-adapter.yaml")
TRAINJOB = ROOT / "k8s" / "trainjob.yaml"
MANIFESTS = sorted(path for path in (ROOT / "k8s").glob("*.yaml") if path.name not in OTHERS)
FETCHED = [
    with_model(HTTP, http={"url": "https://models.example/a.mar", "existingSecret": "header", "key": "h"}),
    with_model(S3, s3={"bucket": "models", "key": "a.mar", "endpoint": "http://minio:9000", "existingSecret": "keys"}),
    with_model(HTTP, cache={"claimName": "cache"}),
    with_model(S3, cache={"hostPath": "/var/cache/catsdogs"}),
]
both = pytest.mark.parametrize("kubernetes", [OLDEST, NEWEST])


def closed(schema: Any) -> Any:
    """Return the schema with unknown keys forbidden, as an API server reads it for `kubectl apply`."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: closed(value) for key, value in schema.items()}
    if schema.get("type") == "object" and "properties" in schema:
        made.setdefault("additionalProperties", False)
    return made


CUSTOM = [json.loads(path.read_text()) for path in sorted((ROOT / "tests" / "helm" / "crds").glob("*.json"))]
SCHEMAS = {(document["apiVersion"], document["kind"]): closed(document["schema"]) for document in CUSTOM}
CUSTOM_KINDS: dict[str, Object] = {
    "PodMonitor": {
        "metrics": {"podMonitor": {"enabled": True, "interval": "30s", "labels": {"release": "prometheus"}}}
    },
    "ServiceMonitor": {"metrics": {"serviceMonitor": {"enabled": True, "interval": "15s"}}},
    "PrometheusRule": {"monitoring": {"rules": {"enabled": True, "labels": {"release": "prometheus"}}}},
    "HTTPRoute": ROUTES,
    "GRPCRoute": ROUTES,
    "ScaledObject": KEDA,
}
# Not of the chart, but of k8s/.
TRAINER_KINDS = {"TrainingRuntime", "TrainJob"}
ANALYSIS = ROOT / "k8s" / "analysis-template.yaml"


def check(manifest: Object, kubernetes: str) -> None:
    if schema := SCHEMAS.get((manifest["apiVersion"], manifest["kind"])):
        jsonschema.Draft7Validator(schema).validate(manifest)
        return
    assert kubernetes_validate.validate(manifest, kubernetes, strict=True) == kubernetes.removesuffix(".0")


@both
@pytest.mark.parametrize("file", VALUES_FILES, ids=lambda path: path.name)
@pytest.mark.parametrize("values", [{}, PVC | KEYS], ids=["alone", "volume and keys"])
def test_every_values_file_renders_what_kubernetes_takes(file: Path, values: Object, kubernetes: str) -> None:
    objects = render(values, file, kubernetes=kubernetes).objects
    assert {manifest["kind"] for manifest in objects} >= {"Deployment", "Service", "PodDisruptionBudget", "Pod"}
    for manifest in objects:
        check(manifest, kubernetes)


@both
def test_everything_at_once_is_taken_too(kubernetes: str) -> None:
    for manifest in render(EVERYTHING, kubernetes=kubernetes).objects:
        check(manifest, kubernetes)


@both
@pytest.mark.parametrize("values", [HPA, BY_REQUESTS], ids=["cpu", "requests"])
def test_an_autoscaler_is_taken(values: Object, kubernetes: str) -> None:
    check(render(values, CPU, kubernetes=kubernetes).manifest("HorizontalPodAutoscaler"), kubernetes)


@both
@pytest.mark.parametrize("values", FETCHED, ids=["http", "s3", "claim", "folder"])
def test_what_fetches_is_taken_too(values: Object, kubernetes: str) -> None:
    for manifest in render(values, kubernetes=kubernetes).objects:
        check(manifest, kubernetes)


@both
def test_a_canary_is_taken_too(kubernetes: str) -> None:
    canary = {"enabled": True, "image": {"tag": "next"}, "model": {"sha256": "0" * 64, "pvc": {"path": "next.mar"}}}
    for manifest in render({**EVERYTHING, "canary": {**canary, "weight": 5}}, kubernetes=kubernetes).objects:
        check(manifest, kubernetes)


@both
def test_a_validation_is_taken_too(kubernetes: str) -> None:
    validation = {"enabled": True, "claimName": "labelled", "path": "2026-06", "schedule": "17 4 * * *"}
    canary = {"enabled": True, "image": {"tag": "next"}, "model": {"sha256": "0" * 64, "pvc": {"path": "next.mar"}}}
    watched = {**canary, "watch": {"enabled": True, "prometheusUrl": "http://prometheus:9090"}}
    shaped = render({**EVERYTHING, "validation": validation, "canary": watched}, kubernetes=kubernetes)
    assert len(shaped.kind("Job")) == 2
    assert shaped.kind("CronJob")
    for manifest in shaped.objects:
        check(manifest, kubernetes)


@both
def test_records_and_the_judge_of_drift_are_taken_too(kubernetes: str) -> None:
    records = {"enabled": True, "claimName": "kept"}
    shaped = render({**EVERYTHING, "drift": {"schedule": "47 * * * *"}, "records": records}, kubernetes=kubernetes)
    assert shaped.kind("CronJob")
    for manifest in shaped.objects:
        check(manifest, kubernetes)


@both
@pytest.mark.parametrize("values", SHAPES.values(), ids=SHAPES)
def test_a_load_test_is_taken_too(values: Object, kubernetes: str) -> None:
    shaped = render({**EVERYTHING, "loadtest": values}, kubernetes=kubernetes)
    assert shaped.kind("Job")
    for manifest in shaped.objects:
        check(manifest, kubernetes)


@pytest.mark.parametrize("kubernetes", [IMAGE_VOLUMES, NEWEST])
def test_an_image_volume_is_taken_by_those_who_have_it(kubernetes: str) -> None:
    for manifest in render(OCI, kubernetes=kubernetes).objects:
        check(manifest, kubernetes)


def test_an_image_volume_is_not_taken_by_the_oldest() -> None:
    with pytest.raises(kubernetes_validate.ValidationError, match="image"):
        check(render(OCI, kubernetes=IMAGE_VOLUMES).manifest("Deployment"), OLDEST)


@both
@pytest.mark.parametrize("file", MANIFESTS, ids=lambda path: path.name)
def test_the_plain_manifests_are_taken(file: Path, kubernetes: str) -> None:
    objects = list(yaml.safe_load_all(file.read_text()))
    assert objects
    for manifest in objects:
        check(manifest, kubernetes)


@both
def test_the_job_in_a_training_runtime_is_taken(kubernetes: str) -> None:
    (runtime,) = (
        manifest for manifest in yaml.safe_load_all(TRAINJOB.read_text()) if manifest["kind"] == "TrainingRuntime"
    )
    (job,) = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    check(
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x"}, "spec": job["template"]["spec"]},
        kubernetes,
    )


@both
def test_the_job_in_an_analysis_is_taken(kubernetes: str) -> None:
    (metric,) = yaml.safe_load(ANALYSIS.read_text())["spec"]["metrics"]
    spec = metric["provider"]["job"]["spec"]
    check({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x"}, "spec": spec}, kubernetes)


@pytest.mark.parametrize("kind", sorted(TRAINER_KINDS))
def test_what_trainer_does_not_know_would_be_seen(kind: str) -> None:
    (manifest,) = (manifest for manifest in yaml.safe_load_all(TRAINJOB.read_text()) if manifest["kind"] == kind)
    with pytest.raises(jsonschema.ValidationError):
        check(manifest | {"spec": manifest["spec"] | {"misspelt": {}}}, OLDEST)


@both
def test_what_kubernetes_does_not_know_would_be_seen(kubernetes: str) -> None:
    objects = [manifest for manifest in render(None, CPU).objects if manifest["kind"] == "Deployment"]
    broken = json.loads(json.dumps(objects[0]).replace("terminationGracePeriodSeconds", "terminationGraceSeconds"))
    with pytest.raises(kubernetes_validate.ValidationError):
        check(broken, kubernetes)


def test_keda_takes_a_trigger_by_cpu_too() -> None:
    check(render({"autoscaling": {"type": "keda"}}, CPU).manifest("ScaledObject"), OLDEST)


@pytest.mark.parametrize("kind", CUSTOM_KINDS)
def test_custom_resources_are_what_their_makers_take(kind: str) -> None:
    (manifest,) = render(CUSTOM_KINDS[kind]).kind(kind)
    check(manifest, OLDEST)
    with pytest.raises(jsonschema.ValidationError):
        check(manifest | {"spec": manifest["spec"] | {"misspelt": {}}}, OLDEST)


def test_every_custom_resource_of_the_chart_is_shown_here() -> None:
    assert {kind for _, kind in SCHEMAS} == CUSTOM_KINDS.keys() | TRAINER_KINDS | {"AnalysisTemplate"}
    for document in CUSTOM:
        jsonschema.Draft7Validator.check_schema(document["schema"])
        assert document["license"] == "Apache-2.0"
        assert "@v" in document["source"]


@pytest.mark.parametrize("file", VALUES_FILES, ids=lambda path: path.name)
def test_helm_finds_nothing_to_complain_of(file: Path) -> None:
    done = run("lint", "--strict", str(CHART), "--values", str(file), "--kube-version", OLDEST)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout
