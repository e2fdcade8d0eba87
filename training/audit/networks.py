"""ImageNet networks as reviewers of a data set: features of each picture, and the shares of cats and dogs they see."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import softmax
from torch import nn

from handler.files import UserError
from training.data.manifest import Manifest
from training.learning.model import IMAGENET, IMAGENET_CLASSES, build, weights_digest
from training.learning.runtime import choose_amp, choose_device
from training.learning.tasks.frozen import without_head
from training.learning.views import Cache, Features, Views, fill

Floats = npt.NDArray[np.float64]

NETWORKS = ("timm:tf_efficientnet_lite0", "timm:tf_efficientnet_lite2")
SIZE = 160
# Classes of ImageNet's thousand that show an animal: tabby to Egyptian cat, Chihuahua to Mexican hairless.
ANIMALS = {"cat": range(281, 286), "dog": range(151, 269)}
CHUNK = 4096


def features_of(
    arch: str,
    manifest: Manifest,
    cache: Path,
    size: int = SIZE,
    amp: str = "auto",
    workers: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
    say: Callable[[str], None] = lambda sentence: None,
) -> tuple[Features, nn.Linear]:
    """Return an ImageNet network's features of each whole picture (pictures, k), and its last layer.

    Args:
        cache: folder that keeps the features for the next run.
        size: side of the network's input, pixels.
        amp: precision, as `train.amp` of a config.
        progress: called with pictures done and in all.
        say: told in a sentence when another process is waited for.

    Raises:
        UserError: the network or its weights cannot be had, or its last layer is not linear.
    """
    rest, head = without_head(build(arch, IMAGENET_CLASSES, IMAGENET).eval())
    if not isinstance(head, nn.Linear):
        raise UserError(f"{arch} cannot review: its last layer is not linear.")
    device = choose_device()
    dtype = choose_amp(amp, device)
    store = Cache(cache, f"{arch} {weights_digest(rest)} {dtype}", Views(size, 0, 1.0, "squeeze"))
    lock = store.alone(say)
    try:
        fill(store, rest.to(device), manifest.root, manifest.pictures, device, dtype, workers, progress)
    finally:
        lock.release()
    return store.read(manifest.pictures)[:, 0], head


def animal_shares(features: Features, head: nn.Linear, classes: Sequence[str]) -> Floats | None:
    """Return the probability that a network gives to ImageNet's classes of each animal, (pictures, classes).

    None where a class is not one of ANIMALS: ImageNet's answers then say nothing about it.
    """
    if not set(classes) <= set(ANIMALS):
        return None
    shares = np.zeros((len(features), len(classes)))
    weight, bias = head.weight.detach().float(), head.bias.detach().float()
    for start in range(0, len(features), CHUNK):
        rows = slice(start, start + CHUNK)
        answers = softmax((torch.from_numpy(features[rows]).float() @ weight.t() + bias).numpy(), axis=1)
        for number, label in enumerate(classes):
            shares[rows, number] = answers[:, ANIMALS[label]].sum(axis=1)
    return shares
