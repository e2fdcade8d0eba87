import dataclasses
import importlib
import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import safetensors.torch
import torch
from onnx import numpy_helper

import catsdogs
import training
from handler.files import UserError, sha256_file
from handler.predictor import Predictor
from handler.preprocess import InputSpec, Pixels
from handler.release import golden_pixels, read_release
from handler.runtimes import ort_runtime
from tests.training.export_support import FILES, HASHED, assert_whole, untrained
from training.data.manifest import Manifest
from training.evaluation.card import model_card
from training.learning.checkpoint import Checkpoint, load_checkpoint, load_trained
from training.learning.model import build
from training.release import parity
from training.release.export import by_torch, choose_input, export
from training.release.kinds import cpu_runtimes
from training.release.package import package
from training.release.refusals import read_evaluation

REPOSITORY = Path(training.__file__).parent.parent


def noise(count: int, size: int = 32) -> Pixels:
    return np.random.default_rng(count).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def onnx_logits(release: Path, pixels: Pixels) -> torch.Tensor:
    session = onnxruntime.InferenceSession(release / "model.onnx", providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(["logits"], {"image": pixels})[0])


@torch.inference_mode()
def torch_logits(release: Path, pixels: Pixels) -> torch.Tensor:
    model = build("resnet18", 2).eval()
    model.backbone.load_state_dict(safetensors.torch.load_file(release / "model.safetensors"))
    logits: torch.Tensor = model(torch.from_numpy(pixels))
    return logits


def test_a_release_is_five_files(release: Path) -> None:
    assert sorted(path.name for path in release.iterdir()) == FILES


@pytest.mark.parametrize("count", [1, 5])
def test_the_onnx_answers_as_torch_does(release: Path, count: int) -> None:
    pixels = noise(count)
    ours, others = onnx_logits(release, pixels), torch_logits(release, pixels)
    assert ours.shape == (count, 2)
    assert float((ours.softmax(1) - others.softmax(1)).abs().max()) <= ort_runtime.RUNTIME.models["fp32"].tolerance


def test_the_release_answers_as_the_checkpoint_did(release: Path, run: Path) -> None:
    # Kernels rounded to fp16 move a probability by a little; the raw weights instead of their mean would by more.
    checkpoint, pixels = load_checkpoint(run / "best.pt"), noise(8)
    temperature = json.loads((release / "release.json").read_bytes())["temperature"]
    trained = build("resnet18", 2)
    trained.load_state_dict(checkpoint.ema)
    with torch.inference_mode():
        wanted = trained.eval()(torch.from_numpy(pixels)).softmax(1)
    released = (onnx_logits(release, pixels) * temperature).softmax(1)
    torch.testing.assert_close(released, wanted, rtol=0, atol=2e-3)


def test_a_picture_is_answered_alike_alone_and_among_others(release: Path) -> None:
    pixels = noise(5)
    alone = torch.cat([onnx_logits(release, pixels[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(alone, onnx_logits(release, pixels), rtol=1e-4, atol=1e-4)


def test_the_onnx_takes_bytes_with_channels_last_in_any_number(release: Path) -> None:
    (image,) = onnx.load(release / "model.onnx").graph.input
    first, *rest = image.type.tensor_type.shape.dim
    assert image.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert first.dim_param
    assert [dimension.dim_value for dimension in rest] == [32, 32, 3]


def test_kernels_are_stored_as_fp16_in_the_onnx(release: Path) -> None:
    stored = [numpy_helper.to_array(initializer) for initializer in onnx.load(release / "model.onnx").graph.initializer]
    # The normalisation's scale and shift have four dimensions, one number for each of three channels.
    kernels = [values for values in stored if values.ndim > 1 and values.size > 3]
    assert len(kernels) == 21
    assert {values.dtype for values in kernels} == {np.dtype(np.float16)}
    assert {values.dtype for values in stored if values.ndim == 1 and values.size > 3} <= {
        np.dtype(np.float32),
        np.dtype(np.int64),
    }


def test_the_weights_lie_in_one_file_and_the_onnx_refers_to_it(release: Path) -> None:
    assert (release / "model.safetensors").stat().st_size < 2.1 * 11.2e6
    assert (release / "model.onnx").stat().st_size < 150_000
    onnx.checker.check_model(release / "model.onnx")


def test_kernels_are_stored_as_fp16_in_the_safetensors_and_norms_as_fp32(release: Path) -> None:
    state = safetensors.torch.load_file(release / "model.safetensors")
    assert state.keys() == build("resnet18", 2).backbone.state_dict().keys()
    assert {tensor.dtype for tensor in state.values() if tensor.ndim > 1} == {torch.float16}
    assert {tensor.dtype for tensor in state.values() if tensor.ndim == 1} == {torch.float32}


def test_no_path_of_this_machine_is_in_a_release(release: Path, pictures: Path) -> None:
    for path in release.iterdir():
        content = path.read_bytes()
        for private in (f"{Path.home()}/", str(REPOSITORY), str(release.parent), str(pictures)):
            assert private == "//" or private.encode() not in content, (path, private)


def test_the_release_names_its_files_by_sha256(release: Path) -> None:
    files = json.loads((release / "release.json").read_bytes())["files"]
    assert files == {name: sha256_file(release / name) for name in HASHED}


def test_the_release_says_what_it_was_made_of(release: Path, run: Path, data: Path, evaluation: Path) -> None:
    values, checkpoint = json.loads((release / "release.json").read_bytes()), load_checkpoint(run / "best.pt")
    assert (values["name"], values["version"], values["classes"]) == ("catsdogs", "1.2.3", ["cat", "dog"])
    assert values["input"] == {"size": 32, "resize": "squeeze"}
    assert values["manifest_sha256"] == sha256_file(data / "manifest.csv")
    assert values["config"] == checkpoint.config
    assert (values["git_sha"], values["epochs"]) == (checkpoint.git_sha, checkpoint.epoch)
    assert values["metrics"] == json.loads((evaluation / "report.json").read_bytes())["slices"]
    assert (values["teacher"], values["decisions"]) == (checkpoint.teacher, None)


def test_the_release_says_how_far_answers_lay_apart(release: Path, manifest: Manifest) -> None:
    comparison = json.loads((release / "release.json").read_bytes())["parity"]
    assert (comparison["pictures"], comparison["patterns"]) == (len(manifest.split("test")), 4)
    assert comparison["runtimes"].keys() == {runtime.name for runtime in cpu_runtimes()}
    assert comparison["max_difference"] == max(figures["max_difference"] for figures in comparison["runtimes"].values())
    allowed_by = {runtime.name: runtime.models["fp32"].tolerance for runtime in cpu_runtimes()}
    compared = [(figures, allowed_by[name]) for name, figures in comparison["runtimes"].items()]
    for figures, allowed in (*compared, (comparison["checkpoint"], 5e-3)):
        assert 0 <= figures["max_difference"] <= figures["allowed"] == allowed
        assert figures["near_ties"] == 0


def test_the_releases_probabilities_are_those_that_were_calibrated(
    release: Path, evaluation: Path, run: Path, manifest: Manifest
) -> None:
    temperature = json.loads((evaluation / "report.json").read_bytes())["temperature"]["value"]
    assert json.loads((release / "release.json").read_bytes())["temperature"] == temperature != 1
    pixels = golden_pixels(32)
    plain = by_torch(load_trained(load_checkpoint(run / "best.pt")))(pixels)
    np.testing.assert_allclose(onnx_logits(release, pixels), plain / temperature, rtol=0.02, atol=0.02)


def test_the_release_knows_its_answers_to_the_golden_pictures(release: Path) -> None:
    wanted = torch.tensor(read_release(release).golden_logits["fp32"])
    torch.testing.assert_close(onnx_logits(release, golden_pixels(32)), wanted, rtol=0, atol=1e-3)


@pytest.fixture
def small(run: Path) -> Checkpoint:
    """Return the checkpoint of the smallest network, which is quick to export."""
    return untrained("baseline", load_checkpoint(run / "best.pt"))


@pytest.fixture
def store(release: Path, tmp_path: Path) -> Path:
    """A folder with a release in it."""
    shutil.copytree(release, tmp_path / "store" / "mine")
    return tmp_path / "store"


GATES = {
    "ort": r"ONNX Runtime differs from torch by \S+ in a probability; allowed is -1",
    "mnn": r"MNN differs from torch by \S+ in a probability; allowed is -1",
    "ROUNDING": r"The release differs from its checkpoint by \S+ in a probability; allowed is -1",
}


@pytest.mark.parametrize("gate", GATES)
def test_a_release_that_answers_otherwise_is_not_written_and_the_old_one_stays(
    small: Checkpoint, manifest: Manifest, store: Path, gate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if gate == "ROUNDING":
        monkeypatch.setattr(parity, gate, -1)
    else:
        module = importlib.import_module(f"handler.runtimes.{gate}_runtime")
        strict = {key: dataclasses.replace(model, tolerance=-1) for key, model in module.RUNTIME.models.items()}
        monkeypatch.setattr(module, "RUNTIME", dataclasses.replace(module.RUNTIME, models=strict))
    with pytest.raises(UserError, match=GATES[gate]):
        export(small, manifest, store / "mine", "2", None)
    assert_whole(store / "mine", "1.2.3")
    with pytest.raises(UserError, match=GATES[gate]):
        export(small, manifest, store / "new", "2", None)
    assert [path.name for path in store.iterdir()] == ["mine"]


def test_kernels_that_fp16_cannot_hold_are_stored_as_fp32_and_the_release_says_why(
    small: Checkpoint, manifest: Manifest, tmp_path: Path
) -> None:
    # fp16 ends at 65,504; the norm that follows makes usual numbers of it again.
    small.ema["backbone.blocks.0.weight"] *= 1e6
    small.ema["backbone.blocks.1.running_mean"] *= 1e6
    small.ema["backbone.blocks.1.running_var"] *= 1e12
    release = export(small, manifest, tmp_path / "release", "1", None)
    assert release["kernels"] == {"stored": "fp32", "fp16_difference": None, "allowed": 5e-3}
    assert release["parity"]["checkpoint"]["max_difference"] == 0
    assert (
        "kernels as fp32: rounded to fp16 they would move a probability to numbers that are none"
        in (tmp_path / "release" / "MODEL_CARD.md").read_text()
    )
    Predictor(tmp_path / "release", "ort")


def test_kernels_whose_rounding_moves_a_probability_by_too_much_are_stored_as_fp32(
    small: Checkpoint, manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity, "ROUNDING", 1e-12)
    release = export(small, manifest, tmp_path / "a", "1", None)
    assert release["kernels"]["stored"] == "fp32"
    assert release["kernels"]["fp16_difference"] > release["kernels"]["allowed"] == 1e-12
    assert release["parity"]["checkpoint"]["max_difference"] == 0
    state = safetensors.torch.load_file(tmp_path / "a" / "model.safetensors")
    assert {tensor.dtype for tensor in state.values() if tensor.is_floating_point()} == {torch.float32}
    export(small, manifest, tmp_path / "b", "1", None)
    for name in FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    package(tmp_path / "a", tmp_path / "a.mar")


def poor() -> dict[str, Any]:
    figures = {"right": 10, "count": 20, "confusion": [[10, 0], [10, 0]]}
    return {"classes": ["cat", "dog"], "slices": {"all": figures}, "temperature": {"value": 1.0}}


def test_a_model_that_is_not_better_than_the_most_common_class_is_refused(
    small: Checkpoint, manifest: Manifest, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"better than always answering cat \(50\.00 %\)\. .*: --allow-poor$"):
        export(small, manifest, tmp_path / "release", "1", poor())
    assert list(tmp_path.iterdir()) == []


def test_a_new_release_takes_the_place_of_the_old_one(small: Checkpoint, manifest: Manifest, store: Path) -> None:
    export(small, manifest, store / "mine", "2", None)
    assert_whole(store / "mine", "2")
    assert sorted(path.name for path in store.iterdir()) == ["mine", "releases"]
    assert_whole(store / "releases" / "mine-1.2.3", "1.2.3")


def test_the_same_checkpoint_gives_the_same_bytes(small: Checkpoint, manifest: Manifest, tmp_path: Path) -> None:
    export(small, manifest, tmp_path / "a", "1", None)
    export(small, manifest, tmp_path / "b" / "c", "1", None)
    for name in FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / "c" / name).read_bytes(), name


@pytest.mark.parametrize("others", [["notes.txt"], [*FILES, "notes.txt"], ["model.onnx"]])
def test_a_folder_with_other_things_is_refused_and_kept(
    small: Checkpoint, manifest: Manifest, tmp_path: Path, others: list[str]
) -> None:
    for name in others:
        (tmp_path / name).write_text("mine")
    with pytest.raises(UserError, match=r"holds notes\.txt, which is of no release|release\.json is missing"):
        export(small, manifest, tmp_path, "1", None)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(others, "mine")


def test_a_file_in_the_place_of_the_release_is_refused(small: Checkpoint, manifest: Manifest, tmp_path: Path) -> None:
    (tmp_path / "release").write_text("mine")
    with pytest.raises(UserError, match=r"release is not a folder\. Name one for the release"):
        export(small, manifest, tmp_path / "release", "1", None)


def test_a_release_behind_a_link_is_replaced_where_it_lies(small: Checkpoint, manifest: Manifest, store: Path) -> None:
    (store / "link").symlink_to("mine")
    export(small, manifest, store / "link", "2", None)
    assert (store / "link").is_symlink()
    assert_whole(store / "mine", "2")


def test_name_size_and_rule_are_the_users_choice(small: Checkpoint, manifest: Manifest, tmp_path: Path) -> None:
    export(small, manifest, tmp_path / "release", "1.0-rc1", None, name="pets-64.b_1", size=64, resize="crop")
    read = read_release(tmp_path / "release")
    assert (read.name, read.version, read.input) == ("pets-64.b_1", "1.0-rc1", InputSpec(64, "crop"))
    assert onnx_logits(tmp_path / "release", noise(2, 64)).shape == (2, 2)


@pytest.mark.parametrize("word", ["", "two words", "a/b", "../up", "-x", ".hidden", "katzen\u00fc", "a\n"])
@pytest.mark.parametrize("what", ["name", "version"])
def test_a_name_or_version_that_cannot_be_addressed_is_refused(
    small: Checkpoint, manifest: Manifest, tmp_path: Path, what: str, word: str
) -> None:
    named = {"name": "pets", "version": "1", what: word}
    with pytest.raises(UserError, match="must begin with a letter or digit, and hold only these and"):
        export(small, manifest, tmp_path / "release", named["version"], None, name=named["name"])
    assert list(tmp_path.iterdir()) == []


def reported(size: int, resize: str = "squeeze") -> dict[str, Any]:
    return {"input": {"size": size, "resize": resize}, "slices": {}}


@pytest.mark.parametrize(
    ("report", "size", "resize", "wanted"),
    [
        (None, None, None, InputSpec(32, "squeeze")),
        (None, 48, None, InputSpec(48, "squeeze")),
        (None, None, "crop", InputSpec(32, "crop")),
        (reported(64, "crop"), None, None, InputSpec(64, "crop")),
        (reported(64, "crop"), 64, "crop", InputSpec(64, "crop")),
        ({"slices": {}}, None, None, InputSpec(32, "squeeze")),
        ({"slices": {}}, 32, None, InputSpec(32, "squeeze")),
    ],
)
def test_the_input_is_what_is_asked_for_else_what_was_evaluated_else_the_configs(
    small: Checkpoint, report: dict[str, Any] | None, size: int | None, resize: str | None, wanted: InputSpec
) -> None:
    assert choose_input(small, report, size, resize) == wanted


@pytest.mark.parametrize(
    ("report", "size", "resize"),
    [(reported(64), 32, None), (reported(64), None, "crop"), ({"slices": {}}, 64, None)],
)
def test_figures_of_another_input_are_refused(
    small: Checkpoint, report: dict[str, Any], size: int | None, resize: str | None
) -> None:
    with pytest.raises(UserError, match=r"The figures are of \d+ pixels by the rule squeeze, the release would be of"):
        choose_input(small, report, size, resize)


def evaluated(folder: Path, **documents: object) -> Path:
    """A checkpoint file, and beside it what `evaluate` might have written of it; {sha256} stands for its hash."""
    (folder / "best.pt").write_bytes(b"weights")
    for name, document in documents.items():
        text = json.dumps(document) if not isinstance(document, str) else document
        (folder / f"{name}.json").write_text(text.replace("{sha256}", sha256_file(folder / "best.pt")))
    return folder


OURS = {"checkpoint_sha256": "{sha256}"}
OTHER = {"checkpoint_sha256": "0" * 64}


def test_report_and_decisions_of_the_checkpoint_go_into_its_release(tmp_path: Path) -> None:
    folder = evaluated(tmp_path, report={**OURS, "split": "test"}, rules={**OURS, "knee": 1}, sizes={**OURS, "knee": 2})
    report, decisions = read_evaluation(folder, folder / "best.pt")
    assert report is not None
    assert report["split"] == "test"
    assert decisions is not None
    assert {subject: values["knee"] for subject, values in decisions.items()} == {"resize": 1, "size": 2}


@pytest.mark.parametrize("report", [{**OTHER, "split": "test"}, {**OURS, "split": "val"}, []])
def test_figures_of_another_checkpoint_or_split_are_left_out(tmp_path: Path, report: object) -> None:
    folder = evaluated(tmp_path, report=report, rules=OTHER, sizes=OURS)
    metrics, decisions = read_evaluation(folder, folder / "best.pt")
    assert metrics is None
    assert decisions is not None
    assert list(decisions) == ["size"]


def test_where_nothing_was_evaluated_there_are_no_figures_and_no_decisions(tmp_path: Path) -> None:
    folder = evaluated(tmp_path)
    assert read_evaluation(folder, folder / "best.pt") == (None, None)


def test_a_broken_report_is_named(tmp_path: Path) -> None:
    folder = evaluated(tmp_path, report="{")
    with pytest.raises(UserError, match=r"report\.json is broken: run catsdogs evaluate again"):
        read_evaluation(folder, folder / "best.pt")


def test_decisions_are_kept_in_the_release(small: Checkpoint, manifest: Manifest, tmp_path: Path) -> None:
    export(small, manifest, tmp_path / "release", "1", None, decisions={"resize": {"sentence": "As measured."}})
    values = json.loads((tmp_path / "release" / "release.json").read_bytes())
    assert values["decisions"] == {"resize": {"sentence": "As measured."}}


def test_a_checkpoint_with_the_weights_of_another_network_is_refused(
    small: Checkpoint, manifest: Manifest, tmp_path: Path
) -> None:
    small.config["model"]["arch"] = "resnet18"
    with pytest.raises(UserError, match="weights are not those of a resnet18"):
        export(small, manifest, tmp_path / "release", "1", None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [None, b"", b"not a checkpoint", "cut", "weights", "zip"])
def test_what_is_no_checkpoint_is_refused_in_one_sentence(
    run: Path,
    data: Path,
    tmp_path: Path,
    content: bytes | str | None,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = (run / "best.pt").read_bytes()
    if content == "cut":
        content = whole[: len(whole) // 2]
    elif content == "weights":
        buffer = io.BytesIO()
        torch.save({"fc.weight": torch.zeros(2)}, buffer)
        content = buffer.getvalue()
    elif content == "zip":
        content = (REPOSITORY / "model-store" / "catsdogs" / "model.safetensors").read_bytes()[:4096]
    if content is not None:
        assert isinstance(content, bytes)
        (tmp_path / "best.pt").write_bytes(content)
    arguments = ["--data", data, "--run", tmp_path, "--out", tmp_path / "release", "--version", "1", "--allow-poor"]
    monkeypatch.setattr(sys, "argv", ["catsdogs", "export", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        catsdogs.main()
    error = capfd.readouterr().err
    assert stopped.value.code == 2
    *notes, sentence = error.splitlines()
    assert str(tmp_path / "best.pt") in sentence
    assert notes == ([] if content is None else ["No figures go into the release: this checkpoint was not evaluated."])
    assert not (tmp_path / "release").exists()


def test_the_card_states_the_intervals_of_the_report(release: Path, evaluation: Path) -> None:
    card = (release / "MODEL_CARD.md").read_text()
    for name, figures in json.loads((evaluation / "report.json").read_bytes())["slices"].items():
        accuracy, low, high = (f"{100 * figures[key]:.2f} %" for key in ("accuracy", "low", "high"))
        assert f"| {name} | {accuracy} | {low} to {high} | {figures['count']} |" in card


def test_the_card_says_so_where_nothing_was_evaluated(release: Path) -> None:
    card = model_card({**json.loads((release / "release.json").read_bytes()), "metrics": None})
    assert "Not evaluated." in card
    assert "| slice |" not in card
