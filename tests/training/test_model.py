import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch.nn import functional
from torchvision.transforms.functional import normalize

from handler.files import UserError
from tests.training.train_support import Escape, equal
from training.learning import model as models
from training.learning.model import Classifier, State

FORMATS = pytest.mark.parametrize("suffix", [".pt", ".safetensors"])


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
    # From zero: it says of no picture that it is more of one class than of another.
    assert loaded["fc.weight"].shape == (2, 512)
    assert not loaded["fc.weight"].any()
    assert not loaded["fc.bias"].any()


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


@pytest.mark.parametrize("arch", ["resnet18", "mobilenet_v2", "baseline", "timm:tf_efficientnet_lite0"])
@pytest.mark.parametrize("classes", [2, 3])
def test_every_network_answers_with_one_logit_per_class_on_any_size(arch: str, classes: int) -> None:
    network = models.build(arch, classes).eval()
    for size in (32, 64):
        logits = network(torch.zeros(2, size, size, 3, dtype=torch.uint8))
        assert (logits.shape, logits.dtype) == ((2, classes), torch.float32)


@pytest.mark.parametrize("arch", ["resnet18", "mobilenet_v2", "baseline", "timm:tf_efficientnet_lite0"])
def test_kernels_lie_in_memory_as_the_pictures_do(arch: str) -> None:
    network = models.build(arch, 2)
    kernels = [module.weight for module in network.modules() if isinstance(module, torch.nn.Conv2d)]
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)


def test_the_baselines_loss_for_two_classes_is_binary_cross_entropy() -> None:
    torch.manual_seed(0)
    head = models.BinaryHead(8)
    features, labels = torch.randn(16, 8), torch.randint(0, 2, (16,))
    z = head.linear(features).squeeze(1)
    wanted = functional.binary_cross_entropy_with_logits(z, labels.float())
    torch.testing.assert_close(functional.cross_entropy(head(features), labels), wanted)


def test_the_baseline_has_one_score_for_two_classes_and_one_per_class_for_more() -> None:
    assert sum(p.numel() for p in models.BaselineCNN(2).head.parameters()) == 129
    assert sum(p.numel() for p in models.BaselineCNN(3).head.parameters()) == 3 * 129


@pytest.mark.parametrize("arch", ["vgg16", "timm", "timm:", "resnet50"])
def test_an_unknown_network_is_answered_by_those_there_are(arch: str) -> None:
    with pytest.raises(UserError, match=r"There is no network .*resnet18, mobilenet_v2, baseline, timm:NAME\.$"):
        models.build(arch, 2)


@pytest.mark.parametrize("name", ["tf_efficientnet_lite9", "resnet19", "mobilenetv33_large_100"])
def test_an_unknown_network_of_timm_is_answered_by_near_ones(name: str) -> None:
    with pytest.raises(UserError, match=rf"^timm has no network '{name}'\. Did you mean {name[:6]}"):
        models.build(f"timm:{name}", 2)


def test_timm_is_missed_only_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    models.build("resnet18", 2)
    models.build("mobilenet_v2", 2)
    models.build("baseline", 2)
    with pytest.raises(
        UserError, match=r"^timm:tf_efficientnet_lite0 needs timm, .* pip install 'catsdogs\[train,timm\]'"
    ):
        models.build("timm:tf_efficientnet_lite0", 2)


def test_the_file_must_hash_to_what_the_config_says(tmp_path: Path, other: State) -> None:
    path = store(other, tmp_path / "weights.pt")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert equal(models.build("resnet18", 3, path, digest).backbone.state_dict(), other)
    with pytest.raises(UserError, match=r"weights\.pt has another sha256 than model\.weights_sha256 says\.$"):
        models.build("resnet18", 3, path, "0" * 64)


@pytest.mark.parametrize("arch", ["resnet18", "mobilenet_v2", "baseline", "timm:tf_efficientnet_lite0"])
@pytest.mark.parametrize("classes", [2, 3])
def test_the_last_layer_is_known_by_its_place_and_names(arch: str, classes: int) -> None:
    backbone = models.build(arch, classes).backbone
    own, head = backbone.state_dict(), models.head_of(backbone)
    names = models.head_names(backbone)
    assert all(
        torch.equal(own[full], tensor)
        for (_, full), tensor in zip(names.items(), head.state_dict().values(), strict=True)
    )
    assert head(torch.zeros(5, models.head_inputs(backbone))).shape == (5, classes)


def test_a_digest_changes_with_any_weight_and_with_nothing_else() -> None:
    torch.manual_seed(3)
    network = models.build("baseline", 2)
    before = models.weights_digest(network)
    assert models.weights_digest(network.to(memory_format=torch.contiguous_format).train()) == before
    with torch.no_grad():
        next(reversed(list(network.parameters()))).add_(1e-6)
    assert models.weights_digest(network) != before


def test_frozen_parameters_are_in_no_group() -> None:
    network = models.build("baseline", 2)
    network.backbone.blocks.requires_grad_(False)
    assert sum(len(group["params"]) for group in models.parameter_groups(network, 0.1)) == 2
