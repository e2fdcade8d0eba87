"""ImageNet's weights: torchvision's releases, packages, timm."""

import hashlib
import importlib
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from handler.files import UserError
from handler.preprocess import InputSpec, decode
from tests.zoo import SAMPLES
from training.learning import model as models
from training.learning.model import State


def store(state: State, path: Path) -> Path:
    state = {name: tensor.contiguous() for name, tensor in state.items()}
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save(state, path)
    return path


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
    assert "--config scratch" in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    assert list(hub.iterdir()) == []


def test_the_baseline_has_no_imagenet_weights() -> None:
    with pytest.raises(UserError, match=r"^There are no ImageNet weights of baseline: set model\.weights to null\.$"):
        models.build("baseline", 2, "imagenet")


@pytest.mark.parametrize("arch", models.PACKAGED)
def test_packaged_imagenet_weights_know_a_cat_from_a_dog(arch: str) -> None:
    # ImageNet's classes 151 to 268 are breeds of dogs, 281 to 285 domestic cats.
    network = models.build(arch, 1000, "imagenet").eval()
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
