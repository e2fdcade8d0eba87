from pathlib import Path

import numpy as np
import pytest

from handler.files import UserError
from handler.predictor import Predictor
from handler.preprocess import Pixels
from handler.runtimes.choice import all_runtimes, available, by_preference, choose_runtime
from handler.runtimes.mnn_runtime import RUNTIME as MNN
from tests import zoo

CPU = [runtime.name for runtime in all_runtimes() if not runtime.gpu]
INTEL = "vendor_id\t: GenuineIntel\nflags\t\t: fpu sse4_2 avx2 {}\n"
AMD = "vendor_id\t: AuthenticAMD\nflags\t\t: fpu sse4_2 avx2 {}\n"


def preferred(folder: Path, cpuinfo: str) -> list[str]:
    (folder / "cpuinfo").write_text(cpuinfo)
    return [runtime.name for runtime in by_preference(folder / "cpuinfo")]


def test_onnx_runtime_comes_first_on_intels_processors_with_avx512(tmp_path: Path) -> None:
    assert preferred(tmp_path, INTEL.format("avx512f avx512dq")) == ["torch", "ort", "mnn"]


@pytest.mark.parametrize(
    "cpuinfo", [INTEL.format(""), INTEL.format("avx512_vnni"), AMD.format("avx512f"), "CPU implementer\t: 0x41\n", ""]
)
def test_mnn_comes_first_elsewhere(tmp_path: Path, cpuinfo: str) -> None:
    assert preferred(tmp_path, cpuinfo) == ["torch", "mnn", "ort"]


def test_mnn_comes_first_where_the_processor_is_not_told(tmp_path: Path) -> None:
    assert [runtime.name for runtime in by_preference(tmp_path / "none")] == ["torch", "mnn", "ort"]


def test_the_first_that_is_available_is_loaded(unpacked: Path) -> None:
    names = [runtime.name for runtime in available(unpacked)]
    assert sorted(names) == CPU
    assert choose_runtime(unpacked).name == names[0]


def test_a_runtime_without_its_file_is_not_available(unpacked: Path, tmp_path: Path) -> None:
    (tmp_path / "model.mnn").symlink_to(unpacked / "model.mnn")
    assert [runtime.name for runtime in available(tmp_path)] == ["mnn"]
    assert choose_runtime(tmp_path).name == "mnn"


@pytest.mark.parametrize("name", CPU)
def test_the_runtime_that_is_named_is_loaded(unpacked: Path, name: str) -> None:
    assert choose_runtime(unpacked, name).name == name


@pytest.mark.parametrize(("name", "wanted"), [("tensorrt", "a runtime named tensorrt"), ("torch", "model.pt2")])
def test_a_runtime_that_is_not_there_is_refused(unpacked: Path, name: str, wanted: str) -> None:
    with pytest.raises(UserError, match=f"Nothing can run the model in .*: that needs .*{wanted}"):
        choose_runtime(unpacked, name)


def test_runtimes_answer_alike(unpacked: Path) -> None:
    predictors = [Predictor(unpacked, name) for name in ("mnn", "ort")]
    paths = sorted(zoo.SAMPLES.glob("*/*.jpg"))
    pixels: Pixels = np.stack([predictors[0].decode(path.read_bytes()) for path in paths])
    by_mnn, by_ort = (predictor.probabilities(pixels) for predictor in predictors)
    assert np.abs(by_mnn - by_ort).max() <= MNN.tolerance
