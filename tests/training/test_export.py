import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import safetensors.torch
import torch
from onnx import numpy_helper

import training.export
from handler.files import UserError, sha256_file
from handler.preprocess import Pixels
from handler.release import golden_pixels, read_release
from training import manifest as manifests
from training.card import model_card
from training.manifest import Manifest, Picture
from training.model import build, load_checkpoint

REPOSITORY = Path(training.export.__file__).parent.parent


def noise(count: int, size: int = 32) -> Pixels:
    return np.random.default_rng(count).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def onnx_logits(release: Path, pixels: Pixels) -> torch.Tensor:
    session = onnxruntime.InferenceSession(release / "model.onnx", providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(["logits"], {"image": pixels})[0])


@torch.inference_mode()
def torch_logits(release: Path, pixels: Pixels) -> torch.Tensor:
    logits: torch.Tensor = build("resnet18", 2, release / "model.safetensors").eval()(torch.from_numpy(pixels))
    return logits


def test_a_release_is_four_files(release: Path) -> None:
    assert sorted(path.name for path in release.iterdir()) == [
        "MODEL_CARD.md",
        "model.onnx",
        "model.safetensors",
        "release.json",
    ]


@pytest.mark.parametrize("count", [1, 5])
def test_the_onnx_answers_as_torch_does(release: Path, count: int) -> None:
    pixels = noise(count)
    ours, others = onnx_logits(release, pixels), torch_logits(release, pixels)
    assert ours.shape == (count, 2)
    assert float((ours.softmax(1) - others.softmax(1)).abs().max()) <= training.export.PARITY


def test_the_release_answers_as_the_checkpoint_did(release: Path, run: Path) -> None:
    # Kernels rounded to fp16 move a probability by a little; the raw weights instead of their mean would by more.
    checkpoint, pixels = load_checkpoint(run / "best.pt"), noise(8)
    trained = build("resnet18", 2)
    trained.load_state_dict(checkpoint.ema)
    with torch.inference_mode():
        wanted = trained.eval()(torch.from_numpy(pixels)).softmax(1)
    torch.testing.assert_close(onnx_logits(release, pixels).softmax(1), wanted, rtol=0, atol=2e-3)


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
    assert (release / "model.onnx").stat().st_size < 2.1 * 11.2e6


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
    assert files == {name: sha256_file(release / name) for name in ("model.onnx", "model.safetensors")}


def test_the_release_says_what_it_was_made_of(release: Path, run: Path, data: Path, evaluation: Path) -> None:
    values, checkpoint = json.loads((release / "release.json").read_bytes()), load_checkpoint(run / "best.pt")
    assert (values["name"], values["version"], values["classes"]) == ("catsdogs", "1.2.3", ["cat", "dog"])
    assert values["input"] == {"size": 32, "resize": "squeeze"}
    assert values["manifest_sha256"] == sha256_file(data / "manifest.csv")
    assert values["config"] == checkpoint.config
    assert (values["git_sha"], values["epochs"]) == (checkpoint.git_sha, checkpoint.epoch)
    assert values["metrics"] == json.loads((evaluation / "report.json").read_bytes())["slices"]
    assert 0 <= values["parity"]["max_difference"] <= values["parity"]["allowed"] == training.export.PARITY


def test_the_release_knows_its_answers_to_the_golden_pictures(release: Path) -> None:
    wanted = torch.tensor(read_release(release).golden_logits)
    torch.testing.assert_close(onnx_logits(release, golden_pixels(32)), wanted, rtol=0, atol=1e-3)


def test_a_release_that_answers_otherwise_is_not_written(
    run: Path, manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training.export, "PARITY", -1)
    with pytest.raises(UserError, match=r"The ONNX differs from torch by .* in a probability; allowed is -1"):
        training.export.export(load_checkpoint(run / "best.pt"), manifest, tmp_path / "release", "1", None)
    assert list((tmp_path / "release").glob("*")) == []


def test_a_checkpoint_of_other_pictures_is_not_exported(
    run: Path, class_folders: Callable[..., Path], tmp_path: Path
) -> None:
    manifests.write(manifests.prepare([class_folders(tmp_path / "a", 3)]), tmp_path / "data")
    with pytest.raises(UserError, match="trained with another manifest"):
        training.export.export(
            load_checkpoint(run / "best.pt"), manifests.read(tmp_path / "data"), tmp_path / "release", "1", None
        )
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


@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 500, 511, 512, 3407])
def test_the_pictures_compared_are_spread_over_all(count: int) -> None:
    pictures = [Picture(f"{number:05}", "cat", "test", "", "", 1, 1) for number in range(count)]
    chosen = training.export.spread(pictures, 256)
    assert len(chosen) == min(count, 256)
    assert len({picture.path for picture in chosen}) == len(chosen)
    # Evenly: the first and last tenth of the order have their tenth of the choice.
    if count >= 256:
        tenth = count // 10
        for part in (pictures[:tenth], pictures[-tenth:]):
            assert len(set(chosen) & set(part)) == pytest.approx(25.6, abs=3)
