"""The cluster of kind for tests/cluster/run, with stand-ins for kind, kwok and kubectl: none of them can run here."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.workflows.support import calls, stand_in
from tests.zoo import ROOT

SCRIPT = ROOT / "tests" / "cluster" / "kind"
CONFIG = ROOT / "tests" / "cluster" / "kind.yaml"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree that has the script and its config, and stand-ins for what it calls."""
    folder = tmp_path / "tests" / "cluster"
    folder.mkdir(parents=True)
    for path in (SCRIPT, CONFIG):
        (folder / path.name).write_bytes(path.read_bytes())
    tools = tmp_path / "build" / "tools"
    tools.mkdir(parents=True)
    stand_in(tools, "kind")
    stand_in(tools, "kwok", "exec sleep 60")
    stand_in(tools, "kubectl", f'cat >>"{tools}/applied.yaml"; echo --- >>"{tools}/applied.yaml"')
    return tmp_path


def run(tree: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    script = tree / "tests" / "cluster" / "kind"
    return subprocess.run(["bash", script, *arguments], cwd=tree, capture_output=True, text=True)


def test_it_has_each_verb_that_the_tests_on_a_cluster_use() -> None:
    asked = set(re.findall(r'"\$cluster" (\w+)', (ROOT / "tests" / "cluster" / "run").read_text()))
    assert asked == {"up", "env", "load", "pool", "down"}
    (offered,) = re.findall(r"^  ([a-z| ]+)\) \"\$@\"", SCRIPT.read_text(), re.MULTILINE)
    assert asked == set(offered.split(" | "))


def test_a_cluster_is_made_filled_and_removed(tree: Path) -> None:
    tools = tree / "build" / "tools"
    kubeconfig = tree / "build" / "kind" / "kubeconfig"
    for arguments in (("up",), ("load", "images.tar"), ("down",)):
        done = run(tree, *arguments)
        assert done.returncode == 0, done.stderr
    assert calls(tools) == [
        f"kind create cluster --config tests/cluster/kind.yaml --kubeconfig {kubeconfig} --wait 180s",
        "kind load image-archive --name catsdogs-e2e images.tar",
        "kind delete cluster --name catsdogs-e2e",
    ]


def test_its_variables_are_for_a_shell(tree: Path) -> None:
    script = f'eval "$(bash {tree}/tests/cluster/kind env)"; echo "$KUBECONFIG"; command -v kind'
    done = subprocess.run(["bash", "-e", "-c", script], capture_output=True, text=True, env={**os.environ})
    assert done.stdout.splitlines() == [str(tree / "build/kind/kubeconfig"), str(tree / "build/tools/kind")]


def test_a_pool_is_simulated_until_the_cluster_is_removed(tree: Path) -> None:
    run(tree, "up")
    assert run(tree, "pool", "3", "2").returncode == 0
    nodes = [node for node in yaml.safe_load_all((tree / "build/tools/applied.yaml").read_text()) if node]
    assert [node["metadata"]["name"] for node in nodes] == ["gpu-pool-1", "gpu-pool-2", "gpu-pool-3"]
    assert {node["status"]["allocatable"]["nvidia.com/gpu"] for node in nodes} == {"2"}
    assert {node["metadata"]["labels"]["type"] for node in nodes} == {"kwok"}
    number = int((tree / "build" / "kind" / "kwok.pid").read_text())
    assert Path(f"/proc/{number}").exists()
    assert run(tree, "down").returncode == 0
    # It has ended, or waits for its new parent to read how it ended.
    status = Path(f"/proc/{number}/stat")
    assert not status.exists() or status.read_text().rpartition(") ")[2][0] in "ZX" or wait_for_end(number)


def wait_for_end(number: int) -> bool:
    """Wait until a process that got SIGTERM is gone."""
    done = subprocess.run(["tail", "--pid", str(number), "-f", os.devnull], timeout=30)
    return done.returncode == 0


def test_without_a_verb_it_says_how_it_is_used(tree: Path) -> None:
    done = run(tree)
    assert done.returncode == 2
    assert "usage" in done.stderr


def test_its_nodes_take_pods_on_two_zones() -> None:
    nodes = yaml.safe_load(CONFIG.read_text())["nodes"]
    assert [node["role"] for node in nodes] == ["control-plane", "worker"]
    patch = yaml.safe_load(nodes[0]["kubeadmConfigPatches"][0])
    assert patch["nodeRegistration"]["taints"] == []
    assert len({node["labels"]["topology.kubernetes.io/zone"] for node in nodes}) == 2
