"""Class activation maps of networks of our own and of timm, by ONNX Runtime, and of those that have none."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from handler.class_maps import ClassMaps, NoMaps, find_head
from handler.onnx_graph import Graph
from handler.runtimes.choice import Choice
from handler.runtimes.onnx_files import FP32_FILE
from handler.runtimes.ort_runtime import RUNTIME
from tests.training.export_support import settled
from training.learning.model import Classifier
from training.release.int8.quantise import quantise
from training.release.onnx_model import to_onnx

SIZE = 96
PIXELS = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)


def written(model: Classifier, folder: Path) -> Path:
    (folder / FP32_FILE).write_bytes(to_onnx(model, SIZE).SerializeToString())
    return folder


@pytest.mark.parametrize(
    "arch",
    [
        "resnet18",
        *(pytest.param(arch, marks=pytest.mark.slow) for arch in ("mobilenet_v2", "timm:tf_efficientnet_lite0")),
        pytest.param("timm:resnet10t", marks=pytest.mark.slow),
    ],
)
def test_the_mean_of_a_map_is_the_logit_less_the_bias(arch: str, tmp_path: Path) -> None:
    model = settled(arch, SIZE)
    maps = ClassMaps(written(model, tmp_path), Choice(RUNTIME, "fp32"), 1)
    with torch.inference_mode():
        logits = model(torch.from_numpy(PIXELS)).numpy()
    for index in range(2):
        for made, row in zip(maps.of(PIXELS, [index] * 3), logits, strict=True):
            allowed = 1e-3 * max(1.0, float(np.abs(logits).max()))
            assert made.values.mean() + made.bias == pytest.approx(float(row[index]), abs=allowed)
            assert np.ptp(made.values) > 0


@pytest.mark.parametrize(
    "arch", ["baseline", "timm:convnext_atto", pytest.param("timm:mobilenetv3_small_050", marks=pytest.mark.slow)]
)
def test_a_network_with_another_end_has_none(arch: str, tmp_path: Path) -> None:
    """One score for two classes; a norm after the pool; a hidden layer after it."""
    with pytest.raises(NoMaps, match="does not end in global average pooling and a linear layer"):
        ClassMaps(written(settled(arch, SIZE), tmp_path), Choice(RUNTIME, "fp32"), 1)


class Deep(nn.Module):
    """A network with two layers after its pool."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 8, 3)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.pool(self.features(x)))
        return logits


def test_a_network_with_a_hidden_layer_after_its_pool_has_none(tmp_path: Path) -> None:
    torch.manual_seed(0)
    with pytest.raises(NoMaps, match="does not end in global average pooling and a linear layer"):
        ClassMaps(written(Classifier(Deep()).eval(), tmp_path), Choice(RUNTIME, "fp32"), 1)


def test_our_reading_of_a_graph_is_that_of_the_package_onnx(tmp_path: Path) -> None:
    """Nodes, constants of each type, and a bias and weights that are quantised by channel."""
    path = written(settled("resnet18", SIZE), tmp_path) / FP32_FILE
    (tmp_path / "int8.onnx").write_bytes(quantise(path, np.concatenate([PIXELS] * 4)))
    for file in (path, tmp_path / "int8.onnx"):
        wanted, graph = onnx.load(file).graph, Graph(file)
        for node in wanted.node:
            for output in node.output:
                assert graph.makers[output].op == node.op_type
                assert graph.makers[output].inputs == list(node.input)
        for tensor in wanted.initializer:
            np.testing.assert_array_equal(graph.constant(tensor.name), numpy_helper.to_array(tensor))
    exact, rounded = find_head(Graph(path)), find_head(Graph(tmp_path / "int8.onnx"))
    assert np.abs(exact.weights).max() > 0
    np.testing.assert_allclose(rounded.weights, exact.weights, atol=np.abs(exact.weights).max() / 60)
    np.testing.assert_allclose(rounded.bias, exact.bias, atol=0.01)
