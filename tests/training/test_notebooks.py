"""The notebooks, executed by jupytext and nbclient on the sample photographs."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from PIL import Image

from tests.zoo import ROOT
from training.notebooks.run import NAMES

SAMPLES = ROOT / "serving" / "samples"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, invoke: Callable[..., str]) -> Path:
    """Both notebooks as executed, on sixteen photographs, a near-duplicate and two files that cannot be used."""
    folder = tmp_path_factory.mktemp("notebooks")
    for label in ("cat", "dog"):
        shutil.copytree(SAMPLES / label, folder / "pictures" / label)
    with Image.open(SAMPLES / "cat" / "11.jpg") as photo:
        photo.save(folder / "pictures" / "cat" / "again.jpg", quality=60)
    (folder / "pictures" / "dog" / "cut.jpg").write_bytes((SAMPLES / "dog" / "13.jpg").read_bytes()[:3000])
    (folder / "pictures" / "dog" / "text.jpg").write_text("no picture")
    invoke("prepare", str(folder / "pictures"), "--out", str(folder / "data"), "--split", "10/10/80", "--no-contact")
    environment = {
        **os.environ,
        "CATSDOGS_DATA": str(folder / "data"),
        "CATSDOGS_RELEASE": str(ROOT / "model-store" / "catsdogs"),
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
    }
    subprocess.run(
        [sys.executable, "-m", "training.notebooks.run", str(folder / "out")], cwd=ROOT, env=environment, check=True
    )
    return folder / "out"


def output(made: Path, name: str) -> tuple[str, int]:
    """Return what a notebook printed, and the number of its pictures."""
    notebook = nbformat.read(made / f"{name}.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    outputs = [output for cell in code for output in cell.outputs]
    assert {output.output_type for output in outputs} == {"stream", "display_data"}
    assert {output.name for output in outputs if output.output_type == "stream"} == {"stdout"}
    text = "".join(output.text for output in outputs if output.output_type == "stream")
    return text, sum("image/png" in output.data for output in outputs if output.output_type == "display_data")


def test_the_data_are_explored(made: Path) -> None:
    text, pictures = output(made, "data_exploration")
    assert "17 pictures in 2 classes" in text
    assert "1 groups of near-duplicates with 2 pictures\n0 groups in more than one split" in text
    assert "2 files in quarantine" in text
    assert "dog/cut.jpg: " in text
    assert "dog/text.jpg: " in text
    assert pictures == 3


def test_the_errors_of_the_release_are_analysed(made: Path) -> None:
    text, pictures = output(made, "error_analysis")
    assert "catsdogs " in text
    assert "accuracy " in text
    assert "95 % interval" in text
    assert pictures == 3


@pytest.mark.parametrize("name", NAMES)
def test_each_has_a_page(made: Path, name: str) -> None:
    page = (made / f"{name}.html").read_text()
    assert "<img" in page
    assert "Traceback" not in page
