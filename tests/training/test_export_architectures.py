import copy
import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn
from torchvision.ops import SqueezeExcitation

from handler.files import UserError
from handler.runtimes.runtime import Logits
from tests.training.export_support import assert_whole, settled, untrained
from training.data.manifest import Manifest
from training.learning.checkpoint import load_checkpoint
from training.learning.model import Classifier
from training.release import parity
from training.release.export import by_torch, export
from training.release.onnx_model import to_onnx
from training.release.package import package


@pytest.mark.parametrize(
    "arch",
    [
        "baseline",
        pytest.param("mobilenet_v2", marks=pytest.mark.slow),
        pytest.param("timm:tf_efficientnet_lite0", marks=pytest.mark.slow),
    ],
)
def test_every_network_is_released_and_packed(arch: str, run: Path, manifest: Manifest, tmp_path: Path) -> None:
    checkpoint = untrained(arch, load_checkpoint(run / "best.pt"))
    export(checkpoint, manifest, tmp_path / "release", "1", None, size=64)
    assert_whole(tmp_path / "release", "1")
    figures = json.loads((tmp_path / "release" / "release.json").read_bytes())["parity"]
    assert all(compared["max_difference"] <= compared["allowed"] for compared in figures["runtimes"].values())
    package(tmp_path / "release", tmp_path / "release.mar")
    assert (tmp_path / "release.mar").stat().st_size > 300_000


class Excited(nn.Module):
    """A network with a pool inside a block, which a convolution follows, and one before its last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(3, 8, 3), SqueezeExcitation(8, 4))
        self.pool = nn.AdaptiveAvgPool2d((1, 1))
        self.head = nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.pool(self.block(x)).flatten(1))
        return logits


def run_onnx(model: Classifier, size: int, count: int) -> tuple[Logits, Logits]:
    """Probabilities by ONNX Runtime and by torch, on noise."""
    session = onnxruntime.InferenceSession(to_onnx(model, size).SerializeToString(), providers=["CPUExecutionProvider"])
    pixels = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    by_onnx = parity.answers(lambda batch: session.run(["logits"], {"image": batch})[0], pixels)
    return by_onnx, parity.answers(by_torch(model), pixels)


def test_pools_inside_a_block_keep_their_dimensions() -> None:
    torch.manual_seed(0)
    by_onnx, wanted = run_onnx(Classifier(Excited()).eval(), 32, 5)
    np.testing.assert_allclose(by_onnx, wanted, atol=1e-5)
    assert np.ptp(wanted[:, 0]) > 1e-4


def test_a_networks_own_mean_and_deviation_are_folded_in() -> None:
    backbone = copy.deepcopy(settled("baseline", 32).backbone)
    by_onnx, wanted = run_onnx(Classifier(backbone, (0.5, 0.4, 0.3), (0.5, 0.25, 0.1)).eval(), 32, 5)
    np.testing.assert_allclose(by_onnx, wanted, atol=1e-5)
    _, others = run_onnx(Classifier(backbone).eval(), 32, 5)
    assert np.abs(wanted - others).max() > 1e-3


def test_exporting_leaves_the_network_as_it_is() -> None:
    model = settled("baseline", 32)
    to_onnx(model, 32)
    assert isinstance(model.backbone.avgpool, nn.AdaptiveAvgPool2d)


class Branching(nn.Module):
    """Asks a tensor for its value, which a graph cannot."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)[:, :2] if x.sum() > 0 else x.flatten(1)[:, 2:4]


def test_a_network_that_is_no_graph_is_refused_in_a_sentence() -> None:
    with pytest.raises(UserError, match="The network cannot be exported to ONNX: ") as raised:
        to_onnx(Classifier(Branching()).eval(), 32)
    assert "\n" not in str(raised.value)
