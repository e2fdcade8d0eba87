import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torchvision.transforms.functional import normalize

from handler.files import UserError
from training import model as models
from training.model import Checkpoint, Classifier, State

FORMATS = pytest.mark.parametrize("suffix", [".pt", ".safetensors"])


class Escape:
    """Unpickling it runs code, which leaves a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.target,)


def equal(ours: State, others: State) -> bool:
    return ours.keys() == others.keys() and all(torch.equal(ours[name], others[name]) for name in ours)


def store(state: State, path: Path) -> Path:
    state = {name: tensor.contiguous() for name, tensor in state.items()}
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def other() -> State:
    """A trained network's weights, for three classes."""
    torch.manual_seed(1)
    return models.build("resnet18", 3).backbone.state_dict()


@FORMATS
def test_weights_come_back_from_a_file(tmp_path: Path, other: State, suffix: str) -> None:
    loaded = models.build("resnet18", 3, store(other, tmp_path / f"weights{suffix}"))
    assert equal(loaded.backbone.state_dict(), other)


def test_weights_that_were_saved_with_the_normalisation_around_them_load_too(tmp_path: Path, other: State) -> None:
    path = store({f"backbone.{name}": tensor for name, tensor in other.items()}, tmp_path / "weights.pt")
    assert equal(models.build("resnet18", 3, path).backbone.state_dict(), other)


def test_weights_stored_as_fp16_are_computed_in_fp32(tmp_path: Path, other: State) -> None:
    halves = {name: tensor.half() if tensor.ndim > 1 else tensor for name, tensor in other.items()}
    loaded = models.build("resnet18", 3, store(halves, tmp_path / "weights.safetensors"))
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    assert torch.equal(loaded.backbone.state_dict()["conv1.weight"], other["conv1.weight"].half().float())


@FORMATS
def test_a_head_for_other_classes_starts_anew(tmp_path: Path, other: State, suffix: str) -> None:
    loaded = models.build("resnet18", 2, store(other, tmp_path / f"weights{suffix}")).backbone.state_dict()
    body = {name: tensor for name, tensor in loaded.items() if not name.startswith("fc.")}
    assert equal(body, {name: tensor for name, tensor in other.items() if not name.startswith("fc.")})
    assert loaded["fc.weight"].shape == (2, 512)


def test_a_head_of_several_layers_is_refused(tmp_path: Path, other: State) -> None:
    state = {name: tensor for name, tensor in other.items() if not name.startswith("fc.")}
    state |= {"fc.1.weight": torch.zeros(3, 512), "fc.1.bias": torch.zeros(3)}
    with pytest.raises(UserError, match="is not of this network"):
        models.build("resnet18", 3, store(state, tmp_path / "weights.pt"))


@FORMATS
def test_weights_of_a_wider_network_are_refused(tmp_path: Path, other: State, suffix: str) -> None:
    state = {**other, "layer3.0.conv1.weight": torch.zeros(512, 128, 3, 3)}
    with pytest.raises(UserError, match=r"is not of this network: layer3\.0\.conv1\.weight"):
        models.build("resnet18", 3, store(state, tmp_path / f"weights{suffix}"))


def test_weights_of_a_deeper_network_are_refused(tmp_path: Path, other: State) -> None:
    # ResNet34 has every tensor of ResNet18, in the same shapes, and more.
    state = {**other, "layer1.2.conv1.weight": torch.zeros(64, 64, 3, 3)}
    with pytest.raises(UserError, match=r"is not of this network.*layer1\.2\.conv1\.weight"):
        models.build("resnet18", 3, store(state, tmp_path / "weights.pt"))


def test_weights_that_lack_a_layer_are_refused(tmp_path: Path, other: State) -> None:
    state = {name: tensor for name, tensor in other.items() if name != "bn1.running_mean"}
    with pytest.raises(UserError, match=r"is not of this network: bn1\.running_mean is missing"):
        models.build("resnet18", 3, store(state, tmp_path / "weights.pt"))


def test_weights_from_before_norms_counted_their_batches_load(tmp_path: Path, other: State) -> None:
    # torchvision's older files have no such counters, and PyTorch's own loading does not ask for them.
    state = {name: tensor for name, tensor in other.items() if not name.endswith("num_batches_tracked")}
    loaded = models.build("resnet18", 3, store(state, tmp_path / "weights.pt"))
    assert equal(loaded.backbone.state_dict(), other)


@FORMATS
def test_a_missing_weights_file_is_named(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(UserError, match=rf"There is no weights file .*nowhere\{suffix}"):
        models.build("resnet18", 2, tmp_path / f"nowhere{suffix}")


@FORMATS
def test_a_weights_file_of_garbage_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(bytes(range(256)) * 4)
    with pytest.raises(UserError, match="is not a state dict"):
        models.build("resnet18", 2, path)


@pytest.mark.parametrize("value", [[1, 2], {"conv1.weight": "text"}, torch.zeros(3)])
def test_a_file_that_holds_something_else_than_tensors_by_name_is_refused(tmp_path: Path, value: object) -> None:
    torch.save(value, tmp_path / "weights.pt")
    with pytest.raises(UserError, match=r"weights\.pt is not"):
        models.build("resnet18", 2, tmp_path / "weights.pt")


def test_no_code_of_a_weights_file_is_run(tmp_path: Path) -> None:
    torch.save({"conv1.weight": Escape(tmp_path / "escaped")}, tmp_path / "weights.pt")
    with pytest.raises(UserError, match="loaded safely"):
        models.build("resnet18", 2, tmp_path / "weights.pt")
    assert not (tmp_path / "escaped").exists()


@pytest.fixture
def checkpoint(small_config: Any) -> Checkpoint:
    return Checkpoint(
        model={"a": torch.arange(6.0).view(2, 3)},
        ema={"a": torch.ones(2, 3), "count": torch.tensor(7)},
        optimizer={"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]},
        epoch=3,
        best_accuracy=0.75,
        config=small_config.model_dump(mode="json"),
        classes=["cat", "dog"],
        manifest_sha256="0" * 64,
        git_sha="1" * 40,
        versions={"torch": "2"},
    )


def test_a_checkpoint_comes_back_whole(tmp_path: Path, checkpoint: Checkpoint) -> None:
    models.save_checkpoint(checkpoint, tmp_path / "last.pt")
    loaded = models.load_checkpoint(tmp_path / "last.pt")
    assert equal(loaded.model, checkpoint.model)
    assert equal(loaded.ema, checkpoint.ema)
    momentum = loaded.optimizer["state"][0]["momentum_buffer"]
    assert torch.equal(momentum, checkpoint.optimizer["state"][0]["momentum_buffer"])
    assert loaded.optimizer["param_groups"] == checkpoint.optimizer["param_groups"]
    for field in ("epoch", "best_accuracy", "config", "classes", "manifest_sha256", "git_sha", "versions"):
        assert getattr(loaded, field) == getattr(checkpoint, field)


def test_a_checkpoint_needs_no_code_of_ours_to_load(tmp_path: Path, checkpoint: Checkpoint) -> None:
    models.save_checkpoint(checkpoint, tmp_path / "last.pt")
    assert torch.load(tmp_path / "last.pt", weights_only=True)["epoch"] == 3


def test_saving_replaces_the_old_checkpoint_and_leaves_nothing_beside(tmp_path: Path, checkpoint: Checkpoint) -> None:
    path = tmp_path / "last.pt"
    models.save_checkpoint(checkpoint, path)
    checkpoint.epoch = 4
    models.save_checkpoint(checkpoint, path)
    assert models.load_checkpoint(path).epoch == 4
    assert [entry.name for entry in tmp_path.iterdir()] == ["last.pt"]


def test_a_missing_checkpoint_is_answered_by_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no checkpoint .*best\.pt\. Make one by: catsdogs train"):
        models.load_checkpoint(tmp_path / "best.pt")


@pytest.mark.parametrize("content", [b"", b"garbage", pickle.dumps([1, 2, 3])])
def test_a_file_of_garbage_is_no_checkpoint(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "best.pt").write_bytes(content)
    with pytest.raises(UserError, match=r"best\.pt is not a checkpoint of catsdogs"):
        models.load_checkpoint(tmp_path / "best.pt")


def test_a_cut_off_checkpoint_is_refused(tmp_path: Path, checkpoint: Checkpoint) -> None:
    path = tmp_path / "best.pt"
    models.save_checkpoint(checkpoint, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match="is not a checkpoint of catsdogs"):
        models.load_checkpoint(path)


def test_a_state_dict_is_no_checkpoint(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(3)}, tmp_path / "best.pt")
    with pytest.raises(UserError, match="is not a checkpoint of catsdogs"):
        models.load_checkpoint(tmp_path / "best.pt")


def test_no_code_of_a_checkpoint_is_run(tmp_path: Path) -> None:
    torch.save({"model": Escape(tmp_path / "escaped")}, tmp_path / "best.pt")
    with pytest.raises(UserError, match="is not a checkpoint of catsdogs"):
        models.load_checkpoint(tmp_path / "best.pt")
    assert not (tmp_path / "escaped").exists()


def test_kernels_decay_and_norms_and_biases_do_not() -> None:
    network = models.build("resnet18", 2)
    decayed, others = models.parameter_groups(network, 0.25)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.25, 0.0)
    # ResNet18 has 20 convolutions and one linear layer, each but the latter with a norm of two vectors.
    assert len(decayed["params"]) == 21
    assert len(others["params"]) == 41
    assert {names[id(parameter)].rpartition(".")[2] for parameter in decayed["params"]} == {"weight"}
    assert {
        names[id(p)] for p in others["params"] if "bn" not in names[id(p)] and "downsample" not in names[id(p)]
    } == {"backbone.fc.bias"}


def test_pixels_are_normalised_as_torchvision_does_for_imagenet() -> None:
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), dtype=np.uint8))
    wanted = normalize(pixels.permute(0, 3, 1, 2).float() / 255, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    torch.testing.assert_close(Classifier(torch.nn.Identity())(pixels), wanted, rtol=0, atol=1e-5)


def test_the_normalisation_is_no_part_of_the_weights() -> None:
    assert all(name.startswith("backbone.") for name in models.build("resnet18", 2).state_dict())


def test_a_trained_network_answers_by_its_averaged_weights(run: Path) -> None:
    checkpoint = models.load_checkpoint(run / "best.pt")
    trained = models.load_trained(checkpoint)
    assert not trained.training
    assert equal(trained.state_dict(), checkpoint.ema)
    assert not equal(checkpoint.model, checkpoint.ema)
