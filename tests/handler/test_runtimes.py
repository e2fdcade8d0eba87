import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from handler.files import UserError
from handler.predictor import Predictor
from handler.preprocess import Pixels
from handler.runtimes import choice as choices
from handler.runtimes.choice import Choice, all_runtimes, available, by_preference, choose, from_environment
from handler.runtimes.processor import instruction_sets, is_x86_64, model_name, read_cpuinfo
from tests import zoo
from tests.runtimes import CHOICES, FP32_CHOICES, INSTALLED, INT8_CHOICES

INTEL = "vendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Xeon(R)\nflags\t\t: fpu sse4_2 avx2 {}\n"
AMD = "vendor_id\t: AuthenticAMD\nflags\t\t: fpu sse4_2 avx2 {}\n"
ARM = "CPU implementer\t: 0x41\nFeatures\t: fp asimd asimddp\n"
RUNTIMES = {runtime.name: runtime for runtime in all_runtimes()}


def preferred(folder: Path, cpuinfo: str, precision: str) -> list[str]:
    (folder / "cpuinfo").write_text(cpuinfo)
    return [choice.runtime.name for choice in by_preference(precision, folder / "cpuinfo")]


@pytest.mark.parametrize("cpuinfo", [INTEL.format("avx512f avx512dq"), AMD.format("avx512f avx512_vp2intersect")])
def test_openvino_comes_first_in_fp32_where_avx512_takes_one_step(tmp_path: Path, cpuinfo: str) -> None:
    names = preferred(tmp_path, cpuinfo, "fp32")
    assert names == ["torch", "openvino", "mnn", "ort"]


@pytest.mark.parametrize("cpuinfo", [INTEL.format(""), INTEL.format("avx512_vnni"), AMD.format("avx512f"), ARM, ""])
def test_mnn_comes_first_in_fp32_elsewhere(tmp_path: Path, cpuinfo: str) -> None:
    assert preferred(tmp_path, cpuinfo, "fp32") == ["torch", "mnn", "openvino", "ort"]


@pytest.mark.parametrize("cpuinfo", [INTEL.format("avx512f"), AMD.format("avx_vnni"), ""])
def test_openvino_comes_first_in_int8(tmp_path: Path, cpuinfo: str) -> None:
    assert preferred(tmp_path, cpuinfo, "int8") == ["openvino", "ort"]


def test_the_processor_may_be_unknown(tmp_path: Path) -> None:
    assert [choice.runtime.name for choice in by_preference("int8", tmp_path / "none")] == ["openvino", "ort"]


def test_instruction_sets_have_their_usual_names() -> None:
    assert instruction_sets(INTEL.format("avx512f avx512_vnni amx_int8")) == [
        "AVX2",
        "AVX-512",
        "AVX-512 VNNI",
        "AMX int8",
    ]
    assert instruction_sets(ARM) == ["NEON", "NEON dot product"]
    assert instruction_sets("") == []
    assert model_name(INTEL) == "Intel(R) Xeon(R)"


def test_what_is_available_is_installed_and_has_its_file(unpacked: Path, tmp_path: Path) -> None:
    for precision, pairs in (("fp32", FP32_CHOICES), ("int8", INT8_CHOICES)):
        assert sorted((choice.runtime.name, precision) for choice in available(unpacked, precision)) == pairs
    (tmp_path / "model.mnn").symlink_to(unpacked / "model.mnn")
    assert [choice.runtime.name for choice in available(tmp_path, "fp32")] == ["mnn"]
    assert available(tmp_path, "int8") == []


@pytest.mark.parametrize(
    ("released", "x86_64", "wanted"), [("int8", True, "int8"), ("int8", False, "fp32"), ("fp32", True, "fp32")]
)
def test_int8_is_the_default_where_it_is_released_and_the_processor_is_x86_64(
    unpacked: Path, monkeypatch: pytest.MonkeyPatch, released: str, x86_64: bool, wanted: str
) -> None:
    monkeypatch.setattr(choices, "is_x86_64", lambda: x86_64)
    chosen = choose(unpacked, released)
    assert chosen == available(unpacked, wanted)[0]


@pytest.mark.parametrize(("name", "precision"), CHOICES)
def test_the_runtime_and_the_precision_that_are_named_are_taken(unpacked: Path, name: str, precision: str) -> None:
    assert choose(unpacked, "fp32", name, precision) == Choice(RUNTIMES[name], precision)


@pytest.mark.parametrize("name", INSTALLED)
def test_a_runtime_that_is_named_without_a_precision_takes_one_that_it_has(unpacked: Path, name: str) -> None:
    assert choose(unpacked, "int8", name).runtime.name == name


@pytest.mark.parametrize(
    ("name", "precision", "wanted"),
    [
        ("tensorrt", None, "a runtime named tensorrt"),
        ("torch", None, "torch.export with model.pt2"),
        ("mnn", "int8", "a runtime named mnn that computes in int8"),
        (None, "fp16", "torch.export with model.pt2"),
    ],
)
def test_what_cannot_be_had_is_refused(unpacked: Path, name: str | None, precision: str | None, wanted: str) -> None:
    with pytest.raises(UserError, match=f"Nothing can run the model in .*: that needs .*{wanted}"):
        choose(unpacked, "int8", name, precision)


def test_the_environment_names_runtime_and_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CATSDOGS_RUNTIME", raising=False)
    monkeypatch.setenv("CATSDOGS_PRECISION", "")
    assert from_environment() == (None, None)
    monkeypatch.setenv("CATSDOGS_RUNTIME", "mnn")
    monkeypatch.setenv("CATSDOGS_PRECISION", "int8")
    assert from_environment() == ("mnn", "int8")
    monkeypatch.setenv("CATSDOGS_PRECISION", "int4")
    with pytest.raises(UserError, match="CATSDOGS_PRECISION is 'int4'; it must be fp32, fp16 or int8"):
        from_environment()


@pytest.mark.parametrize("pairs", [FP32_CHOICES, INT8_CHOICES], ids=["fp32", "int8"])
def test_runtimes_of_a_precision_answer_alike(unpacked: Path, pairs: list[tuple[str, str]]) -> None:
    predictors = [Predictor(unpacked, name, precision) for name, precision in pairs]
    paths = sorted(zoo.SAMPLES.glob("*/*.jpg"))
    pixels: Pixels = np.stack([predictors[0].decode(path.read_bytes()) for path in paths])
    answers = [predictor.probabilities(pixels) for predictor in predictors]
    tolerance = max(RUNTIMES[name].models[precision].tolerance for name, precision in pairs)
    for first, second in itertools.combinations(answers, 2):
        assert np.abs(first - second).max() <= tolerance


@pytest.mark.parametrize(("name", "precision"), INT8_CHOICES)
def test_int8_gives_the_labels_of_fp32(unpacked: Path, name: str, precision: str) -> None:
    reference, quantised = Predictor(unpacked, precision="fp32"), Predictor(unpacked, name, precision)
    paths = sorted(zoo.SAMPLES.glob("*/*.jpg"))
    pixels: Pixels = np.stack([reference.decode(path.read_bytes()) for path in paths])
    wanted, found = reference.probabilities(pixels), quantised.probabilities(pixels)
    assert (wanted.argmax(axis=1) == found.argmax(axis=1)).all()
    assert 0 < np.abs(wanted - found).max() < 0.15


@pytest.mark.skipif(("openvino", "int8") not in INT8_CHOICES, reason="OpenVINO is not installed")
@pytest.mark.skipif(not is_x86_64(), reason="AVX2 is x86-64's")
def test_int8_answers_the_same_without_avx512_and_vnni(unpacked: Path) -> None:
    """AVX2 has no instruction that multiplies and adds int8 without saturation."""
    pictures = sorted(zoo.SAMPLES.glob("*/*.jpg"))
    command = [sys.executable, "-m", "tests.handler.by_instruction_set", str(unpacked), *map(str, pictures)]
    documents = []
    for most in ("ALL", "AVX2"):
        environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": most}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        documents.append(json.loads(done.stdout))
    usual, avx2 = documents
    assert avx2["methods"]
    assert all("avx2" in method for method in avx2["methods"])
    if "AVX-512 VNNI" in instruction_sets(read_cpuinfo()):
        assert any("avx512" in method for method in usual["methods"])
    assert np.abs(np.array(usual["probabilities"]) - np.array(avx2["probabilities"])).max() < 1e-3
