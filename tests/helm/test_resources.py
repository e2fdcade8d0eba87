"""Memory: the values ask for what the server counts with (serving/server/settings.py), as their comments say."""

import re
from pathlib import Path

import pytest
import yaml

from serving.server.settings import HEAP_MIB, JAVA_MIB, QUEUE, WORKER_MIB, choose_limits
from tests.helm.support import CHART, CPU, Rendered, flags, render
from tests.zoo import ROOT

KIND, MIG = CHART / "values-kind.yaml", CHART / "values-mig.yaml"
SMALL = ROOT / "tests" / "cluster" / "values.yaml"
SHAPES: dict[str, tuple[Path, ...]] = {
    "gpu": (),
    "cpu": (CPU,),
    "kind": (KIND,),
    "mig": (MIG,),
    "cluster": (CPU, SMALL),
}
# A worker with torch and CUDA, on a GPU node.
GPU_WORKER_MIB = 1536
UNITS = {"Mi": 1, "Gi": 1024}


def mebibytes(quantity: str) -> int:
    number, unit = re.fullmatch(r"(\d+)([MG]i)", quantity).groups()  # type: ignore[union-attr]
    return int(number) * UNITS[unit]


def workers(shaped: Rendered) -> int:
    return int(flags(shaped.torchserve).get("workers") or shaped.torchserve["resources"]["limits"]["cpu"])


def memory(shaped: Rendered) -> int:
    return mebibytes(shaped.torchserve["resources"]["limits"]["memory"])


@pytest.mark.parametrize("shape", SHAPES)
def test_the_limit_lets_all_workers_start_with_a_full_heap_and_queue(shape: str, tmp_path: Path) -> None:
    shaped = render(None, *SHAPES[shape])
    (tmp_path / "memory.max").write_text(f"{memory(shaped) << 20}\n")
    limits = choose_limits(workers=workers(shaped), cgroup=tmp_path)
    assert (limits.heap_mib, limits.queue) == (HEAP_MIB, QUEUE)


@pytest.mark.parametrize(("shape", "worker"), [("gpu", GPU_WORKER_MIB), ("mig", GPU_WORKER_MIB), ("cpu", WORKER_MIB)])
def test_the_limit_holds_java_the_workers_and_the_folder_in_memory(shape: str, worker: int) -> None:
    shaped = render(None, *SHAPES[shape])
    assert memory(shaped) >= JAVA_MIB + workers(shaped) * worker


SIZES = {WORKER_MIB: f"{WORKER_MIB / 1024:g}", GPU_WORKER_MIB: "1.5"}


@pytest.mark.parametrize(
    ("file", "worker"),
    [("values.yaml", GPU_WORKER_MIB), ("values-cpu.yaml", WORKER_MIB), ("values-mig.yaml", GPU_WORKER_MIB)],
)
def test_the_comments_count_as_the_server_does(file: str, worker: int) -> None:
    text = " ".join(line.strip().lstrip("# ") for line in (CHART / file).read_text().splitlines())
    java = f"{JAVA_MIB / 1024:g} GiB for Java"
    assert java in text
    assert re.search(f"{SIZES[worker]} for each( of four)? worker", text)


def test_the_gateways_memory_is_said_in_one_place() -> None:
    """Every other file of values takes it from values.yaml, except that test clusters request less."""
    names = [
        path.name for path in [*CHART.glob("values-*.yaml"), *CHART.glob("ci/*.yaml"), SMALL] if gateway_limit(path)
    ]
    assert names == []
    limits = {render(None, *files).gateway["resources"]["limits"]["memory"] for files in SHAPES.values()}
    assert len(limits) == 1


def gateway_limit(path: Path) -> str | None:
    values = yaml.safe_load(path.read_text())
    limit: str | None = values.get("gateway", {}).get("resources", {}).get("limits", {}).get("memory")
    return limit
