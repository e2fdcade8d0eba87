"""Imports point one way, handler <- training, serving <- monitoring <- loadtest, and lead in no circle."""

import ast
import importlib.util
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.zoo import ROOT

# Package: those that it may import.
MAY_IMPORT = {
    "common": {"common"},
    "handler": {"handler"},
    "training": {"training", "handler", "common"},
    "serving": {"serving", "handler", "common"},
    "monitoring": {"monitoring", "serving", "training", "handler", "common"},
    "loadtest": {"loadtest", "monitoring", "serving", "training", "handler", "common"},
}


def modules() -> dict[str, Path]:
    """Return the path of each module of these packages, by its dotted name."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = [Path(line) for line in listed.stdout.splitlines() if line.split("/")[0] in MAY_IMPORT]
    return {
        ".".join(path.with_suffix("").parts).removesuffix(".__init__"): path
        for path in paths
        if (ROOT / path).exists() and "standin" not in path.parts and "stock" not in path.parts
    }


def imports(name: str, path: Path, known: dict[str, Path]) -> set[str]:
    """Return the modules that a module imports, wherever in it the import stands."""
    targets: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            targets |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            targets |= {member if member in known else node.module for member in members}
    return targets & known.keys() - {name}


GRAPH = {name: imports(name, path, KNOWN) for KNOWN in (modules(),) for name, path in KNOWN.items()}


def test_every_package_is_seen() -> None:
    assert {name.split(".")[0] for name in GRAPH} == set(MAY_IMPORT)
    assert "handler.open_image" in GRAPH["training.data.pictures"]


def test_imports_point_one_way() -> None:
    wrong = {
        f"{name} imports {target}"
        for name, targets in GRAPH.items()
        for target in targets
        if target.split(".")[0] not in MAY_IMPORT[name.split(".")[0]]
    }
    assert wrong == set()


def test_imports_lead_in_no_circle() -> None:
    TopologicalSorter(GRAPH).prepare()  # raises CycleError with the circle


def test_choosing_a_runtime_imports_none() -> None:
    code = "import sys, handler.runtimes.choice as choice; choice.by_preference('int8'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"torch", "MNN", "onnxruntime", "openvino"} & set(done.stdout.split())


@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="OpenVINO is for x86-64")
def test_openvino_is_imported_without_its_converter_which_can_be_imported_later() -> None:
    code = (
        "import sys; from handler.runtimes.openvino_runtime import without_converter\n"
        "with without_converter(): import openvino\n"
        "print('openvino_telemetry' in sys.modules)\n"
        "import openvino.tools.ovc as ovc; print(callable(ovc.convert_model))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_common_needs_the_standard_library_alone() -> None:
    for name, path in modules().items():
        if name.split(".")[0] == "common":
            tree = ast.parse((ROOT / path).read_text())
            froms = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
            names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
            assert {module.split(".")[0] for module in froms | names} <= sys.stdlib_module_names | {"common"}, name
