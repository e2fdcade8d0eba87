"""The network, and the checkpoint that holds everything a run needs to go on."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn
from torchvision.models import resnet18

from handler.files import UserError

# ImageNet's, as every pretrained torchvision backbone expects.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

State = dict[str, torch.Tensor]


class Classifier(nn.Module):
    """Normalisation and backbone in one: what is trained is what is exported."""

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.register_buffer("scale", 1 / (255 * torch.tensor(STD).view(1, 3, 1, 1)), persistent=False)
        self.register_buffer("shift", -torch.tensor(MEAN).div(torch.tensor(STD)).view(1, 3, 1, 1), persistent=False)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 (n, height, width, 3) -> logits (n, classes)."""
        x = pixels.permute(0, 3, 1, 2).to(self.scale.dtype) * self.scale + self.shift
        logits: torch.Tensor = self.backbone(x)
        return logits


def build(arch: str, classes: int, weights: Path | None = None) -> Classifier:
    """A network with random weights, or with those of a file; a last layer of another size starts anew.

    Raises:
        UserError: the file is missing or is not of this network.
    """
    assert arch == "resnet18"
    backbone = resnet18(weights=None, num_classes=classes)
    if weights is not None:
        load_weights(backbone, weights)
    return Classifier(backbone).to(memory_format=torch.channels_last)


def load_weights(backbone: nn.Module, path: Path) -> None:
    try:
        state = read_state(path)
    except FileNotFoundError as error:
        raise UserError(f"There is no weights file {path}.") from error
    except Exception as error:
        raise UserError(f"{path} is not a state dict that can be loaded safely: {error}") from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UserError(f"{path} is not a state dict: tensors by name.")
    own = backbone.state_dict()
    state = {name.removeprefix("backbone."): tensor for name, tensor in state.items()}
    head = {name for name in ("fc.weight", "fc.bias") if name in state and state[name].shape != own[name].shape}
    # Files from before 2018 have no counters, and nothing reads them where momentum is given.
    needed = [name for name in own if not name.endswith("num_batches_tracked")]
    wrong = [
        name for name in needed if name not in state or (name not in head and state[name].shape != own[name].shape)
    ]
    wrong += [name for name in state if name not in own]
    if wrong:
        raise UserError(f"{path} is not of this network: {wrong[0]} is missing, of another shape or too many.")
    backbone.load_state_dict({name: tensor for name, tensor in state.items() if name not in head}, strict=False)


def read_state(path: Path) -> State:
    """A state dict from .safetensors, or from .pt without running any code from it."""
    if path.suffix == ".safetensors":
        return safetensors.torch.load_file(path)
    loaded: State = torch.load(path, map_location="cpu", weights_only=True)
    return loaded


@dataclass(slots=True)
class Checkpoint:
    """A run between two epochs."""

    model: State
    ema: State
    optimizer: dict[str, Any]
    epoch: int
    """Epochs done."""
    best_accuracy: float
    """Of the validation split, so far."""
    config: dict[str, Any]
    classes: list[str]
    manifest_sha256: str
    git_sha: str
    versions: dict[str, str]


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Writes beside, then renames."""
    beside = path.with_name(f".{path.name}.part")
    torch.save(asdict(checkpoint), beside)
    with beside.open("rb") as file:
        os.fsync(file.fileno())
    beside.replace(path)


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint with `weights_only=True`.

    Raises:
        UserError: it is missing or is not one of ours.
    """
    try:
        return Checkpoint(**torch.load(path, map_location="cpu", weights_only=True))
    except FileNotFoundError as error:
        raise UserError(f"There is no checkpoint {path}. Make one by: catsdogs train") from error
    except Exception as error:
        raise UserError(f"{path} is not a checkpoint of catsdogs: {error}") from error


def load_trained(checkpoint: Checkpoint) -> Classifier:
    """The network with its averaged weights, ready to answer."""
    model = build(checkpoint.config["model"]["arch"], len(checkpoint.classes))
    model.load_state_dict(checkpoint.ema)
    return model.eval()


def parameter_groups(model: nn.Module, weight_decay: float) -> Sequence[dict[str, Any]]:
    """Decay for kernels; none for norms and biases, which have one dimension."""
    decayed = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
