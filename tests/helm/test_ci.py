"""The cases of helm/ci: each is a whole set of values for a cluster of CPU nodes that has nothing installed."""

from pathlib import Path

import pytest
import yaml

from tests.helm.support import CHART, NEWEST, OLDEST, Rendered, render, run
from tests.helm.test_valid import SCHEMAS, check

CASES = sorted((CHART / "ci").glob("*.yaml"))
each = pytest.mark.parametrize("file", CASES, ids=lambda path: path.stem.removesuffix("-values"))


def case(name: str) -> Rendered:
    return render(None, CHART / "ci" / f"{name}-values.yaml")


def test_their_names_are_those_that_tools_look_for() -> None:
    assert len(CASES) >= 6
    assert all(path.name.endswith("-values.yaml") for path in CASES)


@each
@pytest.mark.parametrize("kubernetes", [OLDEST, NEWEST])
def test_each_renders_what_kubernetes_takes(file: Path, kubernetes: str) -> None:
    objects = render(None, file, kubernetes=kubernetes).objects
    assert {manifest["kind"] for manifest in objects} >= {"Deployment", "Service", "Pod"}
    for manifest in objects:
        check(manifest, kubernetes)


@each
def test_each_finds_all_it_needs_in_a_plain_cluster(file: Path) -> None:
    shaped = render(None, file)
    assert not {(manifest["apiVersion"], manifest["kind"]) for manifest in shaped.objects} & SCHEMAS.keys()
    assert "nvidia" not in str(shaped.objects)


@each
def test_each_fits_into_a_small_cluster(file: Path) -> None:
    shaped = render(None, file)
    for container in (shaped.torchserve, shaped.gateway):
        assert container["resources"]["requests"]["cpu"] in ("200m", "50m")
    assert shaped.deployment.get("replicas", 2) <= 3


@each
def test_helm_finds_nothing_to_complain_of(file: Path) -> None:
    done = run("lint", "--strict", str(CHART), "--values", str(file), "--kube-version", OLDEST)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout


def test_each_is_what_it_is_called() -> None:
    assert case("cpu").deployment["replicas"] == 2
    assert case("one-replica").deployment["replicas"] == 1
    assert not case("one-replica").kind("PodDisruptionBudget")
    assert case("autoscaled").manifest("HorizontalPodAutoscaler")["spec"]["maxReplicas"] == 3
    assert "--keys=/keys/keys" in case("keys").gateway["command"]
    assert "--tls-cert=/tls/tls.crt" in case("tls").gateway["command"]
    assert case("loadtest").manifest("Job")["spec"]["completions"] == 2


@each
def test_none_sends_load_unless_it_is_asked_to(file: Path) -> None:
    assert all("helm.sh/hook" in job["metadata"]["annotations"] for job in render(None, file).kind("Job"))


def test_everything_is_more_than_any_other_renders() -> None:
    kinds = {path: {manifest["kind"] for manifest in render(None, path).objects} for path in CASES}
    most = kinds[CHART / "ci" / "everything-values.yaml"]
    assert most >= {"Ingress", "NetworkPolicy", "ServiceAccount", "PodDisruptionBudget", "ConfigMap"}
    for path, own in kinds.items():
        assert own <= most | {"HorizontalPodAutoscaler", "Job"}, path


@each
def test_it_asks_for_no_secrets_but_those_two_that_the_test_of_upgrades_makes(file: Path) -> None:
    values = yaml.safe_load(file.read_text())
    secrets = {
        values.get("auth", {}).get("existingSecret"),
        values["gateway"].get("tls", {}).get("existingSecret"),
    } - {None}
    assert secrets <= {"catsdogs-keys", "catsdogs-tls"}
