"""A runtime is one file: in a copy of the repository with one more, everything knows it."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.zoo import CAT, ROOT

STATEMENT = '''
"""A runtime for this test: ONNX Runtime on a network with another name."""

from pathlib import Path

from handler.runtimes.ort_runtime import OrtNetwork
from handler.runtimes.runtime import FP32, ModelFile, Runtime


def make(network: Path, release: Path) -> bytes:
    return network.read_bytes()


RUNTIME = Runtime(
    name="dummy",
    title="the dummy",
    package="onnxruntime",
    models={FP32: ModelFile("model.dummy", 1e-4, make, rank=lambda cpuinfo: -1)},
    load=OrtNetwork,
)
'''

COMPARE = """
import json, sys
from pathlib import Path
import numpy as np
from handler.predictor import softmax
from handler.release import golden_pixels, read_release
from training.release.compare_runtimes import compare_runtimes

release = Path(sys.argv[1])
facts = read_release(release)
wanted = softmax(np.array(facts.golden_logits["fp32"], dtype=np.float32))
print(json.dumps(compare_runtimes(release, golden_pixels(facts.input.size), wanted)))
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code with the statement of one more runtime."""
    folder = tmp_path_factory.mktemp("copy")
    for name in ("common", "handler", "helm", "serving", "training"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "catsdogs.py", folder)
    (folder / "docs" / "reference").mkdir(parents=True)
    (folder / "handler" / "runtimes" / "dummy_runtime.py").write_text(STATEMENT)
    return folder


def run(copy: Path, *arguments: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy), "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def packed(copy: Path, release: Path) -> Path:
    run(copy, "-m", "catsdogs", "package", release, "--out", copy / "dummy.mar", "--runtime", "dummy")
    return copy / "dummy.mar"


def test_it_is_among_the_choices(copy: Path) -> None:
    assert "[cpu|dummy|mnn|openvino|ort|torch]" in run(copy, "-m", "catsdogs", "package", "--help")


def test_the_chart_takes_it(copy: Path) -> None:
    run(copy, "helm/generate.py")
    schema = json.loads((copy / "helm" / "values.schema.json").read_text())
    assert schema["properties"]["runtime"]["enum"] == ["", "dummy", "mnn", "openvino", "ort", "torch", None]


def test_an_archive_of_it_holds_its_model_and_its_statement_alone(packed: Path) -> None:
    with zipfile.ZipFile(packed) as archive:
        names = archive.namelist()
    assert [name for name in names if name.startswith("model.")] == ["model.dummy"]
    assert "handler/runtimes/dummy_runtime.py" in names


def test_it_is_preferred_timed_and_answers(copy: Path, packed: Path) -> None:
    assert "dummy" in run(copy, "-m", "catsdogs", "runtimes", packed)
    (answer,) = map(json.loads, run(copy, "-m", "catsdogs", "predict", CAT, "--model", packed, "--json").splitlines())
    assert answer["label"] in ("cat", "dog")


def test_export_compares_it_with_torch(copy: Path, release: Path) -> None:
    figures = json.loads(run(copy, "-c", COMPARE, release))["runtimes"]
    assert figures.keys() == {"dummy", "mnn", "openvino", "ort"}
    assert figures["dummy"]["max_difference"] <= figures["dummy"]["allowed"] == 1e-4
