"""k8s.deploy, which the workflow deploys by: a good image passes, one that answers wrongly and a broken one go back."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from common.verdicts import Verdict
from tests.cluster.models import NEXT_VERSION
from tests.cluster.support import IMAGE, SMALL, Cluster, wait_for
from tests.cluster.test_release import version
from tests.helm.support import CPU, helm
from tests.zoo import ROOT

pytestmark = pytest.mark.breadth
REPOSITORY, _, TAG = IMAGE.rpartition(":")


def deploy(namespace: str, tag: str, *options: str) -> "subprocess.CompletedProcess[str]":
    """Run what `make deploy` runs."""
    values = ["--values", str(CPU), "--values", str(SMALL), "--image", REPOSITORY]
    command = [sys.executable, "-m", "k8s.deploy", "--namespace", namespace, "--timeout", "4m", *values]
    environment = {**os.environ, "HELM": helm()}
    return subprocess.run([*command, "--tag", tag, *options], cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def first(cluster: Cluster, namespace: str) -> Iterator[str]:
    """Deploy the tested image, and yield its model's version."""
    done = deploy(namespace, TAG)
    assert done.returncode == Verdict.PASS.exit_code, done.stdout
    assert "by KServe v2" in done.stdout, "`helm test` was not run"
    (served,) = version(cluster, namespace)
    yield served
    cluster.uninstall(namespace)


def test_a_good_image_is_deployed(cluster: Cluster, namespace: str, first: str) -> None:
    assert first != NEXT_VERSION
    done = deploy(namespace, f"{TAG}-next")
    assert done.returncode == Verdict.PASS.exit_code, done.stdout
    assert version(cluster, namespace) == {NEXT_VERSION}


def test_a_champion_is_deployed_with_the_image_as_it_is(cluster: Cluster, namespace: str, first: str) -> None:
    (before,) = version(cluster, namespace)
    command = [sys.executable, "-m", "k8s.deploy", "--namespace", namespace, "--timeout", "4m", "--keep-values"]
    environment = {**os.environ, "HELM": helm()}
    changed = ["--set", "precision=fp32"]
    done = subprocess.run([*command, *changed], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == Verdict.PASS.exit_code, done.stdout
    assert version(cluster, namespace) == {before}


@pytest.mark.parametrize(("kind", "options"), [("poor", ()), ("broken", ("--timeout", "90s"))])
def test_a_bad_image_goes_back(
    cluster: Cluster, namespace: str, first: str, kind: str, options: tuple[str, ...]
) -> None:
    (before,) = version(cluster, namespace)
    done = deploy(namespace, f"{TAG}-{kind}", *options)
    assert done.returncode == Verdict.BREACH.exit_code, done.stdout
    assert "is back." in done.stdout
    wait_for(lambda: cluster.rolled_out(namespace), 120, "rolled back")
    assert version(cluster, namespace) == {before}
