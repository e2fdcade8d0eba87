import hashlib
import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch.nn import functional
from torchvision.transforms.functional import normalize

from handler.files import UserError
from handler.preprocess import InputSpec, decode
from tests.training.train_support import Escape, equal
from tests.zoo import SAMPLES
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
    with pytest.raises(ModuleNotFoundError) as error:
        models.build("timm:tf_efficientnet_lite0", 2)
    assert error.value.name == "timm"


def test_the_file_must_hash_to_what_the_config_says(tmp_path: Path, other: State) -> None:
    path = store(other, tmp_path / "weights.pt")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert equal(models.build("resnet18", 3, path, digest).backbone.state_dict(), other)
    with pytest.raises(UserError, match=r"weights\.pt has another sha256 than model\.weights_sha256 says\.$"):
        models.build("resnet18", 3, path, "0" * 64)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Torchvision's folder of downloads, empty, on a machine whose only way out is a closed port."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


# The names that torchvision downloads to, which begin the sha256 of the files that it released.
RELEASED = {"resnet18": "resnet18-f37072fd.pth", "mobilenet_v2": "mobilenet_v2-7ebf99e0.pth"}


@pytest.mark.parametrize("arch", RELEASED)
def test_imagenet_weights_are_one_release_of_torchvision_by_enum_and_sha256(arch: str) -> None:
    _, weights, digest = models.TORCHVISION[arch]
    assert weights.name.startswith("IMAGENET1K_V")
    assert len(digest) == 64
    assert weights.url.rsplit("/", 1)[1] == f"{arch}-{digest[:8]}.pth"


def stand_in(hub: Path, monkeypatch: pytest.MonkeyPatch, arch: str) -> State:
    """Random weights with 1,000 classes where torchvision keeps its download of ImageNet's, and their sha256 taken
    for the released one."""
    torch.manual_seed(2)
    network, weights, _ = models.TORCHVISION[arch]
    state: State = network(weights=None).state_dict()
    path = store(state, hub / weights.url.rsplit("/", 1)[1])
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(models.TORCHVISION, arch, (network, weights, digest))
    return state


@pytest.mark.parametrize("arch", RELEASED)
def test_imagenet_weights_are_loaded_under_a_new_last_layer(
    hub: Path, monkeypatch: pytest.MonkeyPatch, arch: str
) -> None:
    state = stand_in(hub, monkeypatch, arch)
    loaded = models.build(arch, 3, "imagenet").backbone
    head = set(models.head_names(loaded).values())
    own = loaded.state_dict()
    assert all(torch.equal(own[name], state[name]) for name in state if name not in head)
    assert {own[name].shape[0] for name in head} == {3}


def test_a_file_that_torchvision_did_not_release_is_refused(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = models.TORCHVISION["resnet18"]
    stand_in(hub, monkeypatch, "resnet18")
    monkeypatch.setitem(models.TORCHVISION, "resnet18", before)
    with pytest.raises(UserError, match=r"resnet18-f37072fd\.pth is not the file that torchvision released: delete it"):
        models.build("resnet18", 2, "imagenet")


@pytest.mark.parametrize("content", [b"", b"<html>Blocked by the proxy</html>"])
def test_a_download_that_went_wrong_is_refused(hub: Path, content: bytes) -> None:
    (hub / "resnet18-f37072fd.pth").write_bytes(content)
    with pytest.raises(UserError, match=r"resnet18-f37072fd\.pth is not the file that torchvision released"):
        models.build("resnet18", 2, "imagenet")


@pytest.mark.parametrize("arch", RELEASED)
def test_without_a_network_imagenet_weights_are_answered_by_two_ways_out(hub: Path, arch: str) -> None:
    with pytest.raises(
        UserError, match=rf"^The ImageNet weights of {arch} cannot be had \(.*\)\. Download http"
    ) as error:
        models.build(arch, 2, "imagenet")
    assert "model.weights=FILE" in str(error.value)
    assert "model.weights=null" in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    assert list(hub.iterdir()) == []


def test_the_baseline_has_no_imagenet_weights() -> None:
    with pytest.raises(UserError, match=r"^There are no ImageNet weights of baseline: set model\.weights to null\.$"):
        models.build("baseline", 2, "imagenet")


def test_packaged_imagenet_weights_know_a_cat_from_a_dog() -> None:
    # ImageNet's classes 151 to 268 are breeds of dogs, 281 to 285 domestic cats.
    network = models.build("timm:tf_efficientnet_lite0", 1000, "imagenet").eval()
    spec = InputSpec(224, "crop")
    cats, dogs = (
        torch.from_numpy(np.stack([decode(path.read_bytes(), spec) for path in sorted((SAMPLES / label).iterdir())]))
        for label in ("cat", "dog")
    )
    with torch.inference_mode():
        shares = [network(pixels).softmax(1) for pixels in (cats, dogs)]
    of_cats, of_dogs = (
        [bool(row[281:286].sum() > row[151:269].sum()) for row in probabilities] for probabilities in shares
    )
    assert sum(of_cats) >= 7
    assert sum(of_dogs) <= 1


@pytest.mark.parametrize("arch", models.PACKAGED)
def test_packaged_weights_are_refused_where_they_are_not_those_of_the_release(
    arch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    package, name, digest = models.PACKAGED[arch]
    path = Path(str(importlib.import_module(package).__file__)).parent / "models" / name
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    monkeypatch.setitem(models.PACKAGED, arch, (package, name, "0" * 64))
    with pytest.raises(UserError, match=rf"{name} is not the file that its package was released with"):
        models.build(arch, 2, "imagenet")


def test_weights_of_timm_that_no_package_holds_cannot_be_had_without_a_network(
    hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(hub))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(hub))
    with pytest.raises(UserError, match=r"^The ImageNet weights of timm:resnet10t cannot be had: ") as error:
        models.build("timm:resnet10t", 2, "imagenet")
    assert len(str(error.value).splitlines()) == 1


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
