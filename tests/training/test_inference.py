"""A frozen network by OpenVINO: the same outputs, and torch where OpenVINO cannot."""

from pathlib import Path

import pytest
import torch
from torch import nn

from handler.runtimes import openvino_runtime
from tests.training.train_support import draw_manifest
from training.learning import views
from training.learning.inference import compiled
from training.learning.model import build
from training.learning.tasks.frozen import without_head
from training.learning.views import Cache, Views, fill

SIDE = 64
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    rest, _ = without_head(build("resnet18", 2))
    return rest.eval()


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    return torch.randint(0, 256, (3, SIDE, SIDE, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
def test_outputs_are_those_of_torch_for_whole_and_for_short_batches(network: nn.Module, pixels: torch.Tensor) -> None:
    run, expected = compiled(network, 3, SIDE), network(pixels)
    assert run is not network
    torch.testing.assert_close(run(pixels), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(run(pixels[:2]), expected[:2], rtol=1e-4, atol=1e-4)


def test_where_openvino_is_not_installed_torch_runs_it(network: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise ModuleNotFoundError(name="openvino")

    monkeypatch.setattr(openvino_runtime, "core", missing)
    assert compiled(network, 3, SIDE) is network


class Eigen(nn.Module):
    """Its operation is in torch and not in ONNX."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        values: torch.Tensor = torch.linalg.eigvals(pixels.float()[:, :3, :3, 0])
        return values.real


def test_where_onnx_lacks_an_operation_torch_runs_it() -> None:
    network = Eigen()
    assert compiled(network, 3, SIDE) is network


def test_many_views_are_computed_by_it_and_few_by_torch(
    network: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = draw_manifest(tmp_path, {"train": 5})
    used = []

    def recorded(network: nn.Module, batch: int, size: int) -> nn.Module:
        used.append((batch, size))
        return network

    monkeypatch.setattr(views, "compiled", recorded)
    for worth, amp, expected in ((21, None, []), (20, torch.bfloat16, []), (20, None, [(64, SIDE)])):
        monkeypatch.setattr(views, "WORTH", worth)
        cache = Cache(tmp_path / f"{worth} {amp}", "network", Views(SIDE, 2, 0.35, "squeeze"))
        fill(cache, network, manifest.root, manifest.pictures, CPU, amp, 0)
        assert used == expected
