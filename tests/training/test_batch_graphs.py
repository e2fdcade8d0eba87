"""Graphs for each batch size, on a fake GPU: what a replay answers, and when there is none. CUDA itself is not run."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from handler.preprocess import Pixels
from handler.runtimes import torch_runtime
from handler.runtimes.batch_graphs import BatchGraphs
from handler.runtimes.half_weights import halve_weights
from handler.runtimes.runtime import GPU_BATCH
from handler.runtimes.torch_runtime import TorchNetwork
from tests.training.fake_gpu import FakeGpu
from training.learning.model import build

SIDE = 32


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ResNet18 of random weights and norms, as a release's program."""
    torch.manual_seed(0)
    model = build("resnet18", 2).to(memory_format=torch.contiguous_format)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if "running_mean" in name:
                tensor.uniform_(-0.1, 0.1)
    example = torch.zeros((2, SIDE, SIDE, 3), dtype=torch.uint8)
    path = tmp_path_factory.mktemp("program") / "model.pt2"
    size = torch.export.Dim("n", min=1, max=1024)
    torch.export.save(torch.export.export(model.eval(), (example,), dynamic_shapes=({0: size},)), path)
    return path


@pytest.fixture(params=["fp32", "fp16"])
def precision(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def batch(count: int, seed: int = 1) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)


def test_a_replay_answers_as_the_network_does_to_the_last_bit(program: Path, precision: str) -> None:
    eager, graphed, gpu = TorchNetwork(program, precision, 1), TorchNetwork(program, precision, 1), FakeGpu()
    graphed.use_graphs(gpu)
    for count in (1, 3, GPU_BATCH):
        graphed.logits(batch(count))  # captures
    assert gpu.captured == [(1, 2), (3, 2), (GPU_BATCH, 2)]
    gpu.replayed.clear()
    sizes = [3, 1, GPU_BATCH, 3]
    for seed, count in enumerate(sizes, 100):
        np.testing.assert_array_equal(graphed.logits(batch(count, seed)), eager.logits(batch(count, seed)))
    assert gpu.replayed == [(count, 2) for count in sizes]


def test_an_answer_is_not_overwritten_by_the_next_batch(program: Path) -> None:
    network = TorchNetwork(program, "fp32", 1)
    network.use_graphs(FakeGpu())
    network.logits(batch(2))
    first = network.logits(batch(2, 5))
    kept = first.copy()
    network.logits(batch(2, 6))
    np.testing.assert_array_equal(first, kept)


def test_a_batch_above_the_largest_is_computed_without_a_graph(program: Path) -> None:
    network, gpu = TorchNetwork(program, "fp32", 1), FakeGpu()
    wanted = network.logits(batch(GPU_BATCH + 1))
    network.use_graphs(gpu)
    np.testing.assert_array_equal(network.logits(batch(GPU_BATCH + 1)), wanted)
    assert gpu.captured == []


@pytest.mark.parametrize("shape", [(2, 1, 1, 3), (2, SIDE, SIDE, 1)])
def test_an_array_that_the_buffer_would_stretch_is_refused_as_without_graphs(
    program: Path, shape: tuple[int, ...]
) -> None:
    network = TorchNetwork(program, "fp32", 1)
    network.use_graphs(FakeGpu())
    for _ in range(2):  # before this size is captured, and after
        with pytest.raises(Exception, match="pixels"):
            network.logits(np.zeros(shape, dtype=np.uint8))
        network.logits(batch(2))


class Broken(FakeGpu):
    """A fake GPU that refuses to capture batches of two."""

    def capture(self, work: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, Callable[[], None]]:
        logits, replay = super().capture(work)
        if len(logits) == 2:
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing")
        return logits, replay


class Deaf(FakeGpu):
    """A fake GPU whose graphs do not see the pictures of a batch."""

    def copy(self, source: torch.Tensor, target: torch.Tensor) -> None:
        if source.dtype != torch.uint8:
            super().copy(source, target)


def test_a_size_that_cannot_be_captured_is_computed_without_a_graph_and_logged_once(
    program: Path, caplog: pytest.LogCaptureFixture
) -> None:
    network, gpu = TorchNetwork(program, "fp32", 1), Broken()
    wanted = network.logits(batch(2, 9))
    network.use_graphs(gpu)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            np.testing.assert_array_equal(network.logits(batch(2, 9)), wanted)
        network.logits(batch(3))
    (record,) = caplog.records
    assert record.getMessage().startswith("Batches of 2 are computed without a CUDA graph, and slower: CUDA error")
    assert [shape for shape in gpu.replayed if shape[0] == 2] == []


def test_a_graph_that_answers_otherwise_than_the_network_is_not_used(
    program: Path, caplog: pytest.LogCaptureFixture
) -> None:
    network, gpu = TorchNetwork(program, "fp32", 1), Deaf()
    wanted = network.logits(batch(2, 9))
    network.use_graphs(gpu)
    with caplog.at_level(logging.WARNING):
        network.logits(batch(2))
    assert "its logits differ by" in caplog.text
    gpu.replayed.clear()
    np.testing.assert_array_equal(network.logits(batch(2, 9)), wanted)
    assert gpu.replayed == []


def test_weights_that_are_halved_once_answer_as_those_that_autocast_converts_in_each_batch(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    halved = TorchNetwork(program, "fp16", 1).logits(batch(3))
    monkeypatch.setattr(torch_runtime, "halve_weights", lambda network: [])
    np.testing.assert_array_equal(halved, TorchNetwork(program, "fp16", 1).logits(batch(3)))


def test_kernels_are_halved_and_norms_are_not(program: Path) -> None:
    network = torch.export.load(program).module()
    chosen = set(halve_weights(network))
    types = {name: parameter.dtype for name, parameter in network.named_parameters()}
    assert {name for name, kind in types.items() if kind == torch.float16} == chosen
    assert {name for name in types if ".bn" in name or "downsample.1" in name}.isdisjoint(chosen)
    assert {"backbone.conv1.weight", "backbone.fc.weight", "backbone.fc.bias"} <= chosen
    assert len(chosen) == 22  # 20 convolutions, and the last layer's two


def test_a_batch_in_a_graph_is_read_before_the_next_and_in_order(program: Path) -> None:
    """The queue holds pictures to the device, the replay, logits to the host; then one wait."""
    calls: list[str] = []

    class Spy(FakeGpu):
        def copy(self, source: torch.Tensor, target: torch.Tensor) -> None:
            calls.append(f"copy {source.dtype}")
            super().copy(source, target)

        def capture(self, work: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, Callable[[], None]]:
            logits, replay = super().capture(work)

            def spied() -> None:
                calls.append("replay")
                replay()

            return logits, spied

        def wait(self) -> None:
            calls.append("wait")
            super().wait()

    network = TorchNetwork(program, "fp32", 1)
    network.use_graphs(Spy())
    network.logits(batch(2))
    calls.clear()
    network.logits(batch(2))
    assert calls == ["copy torch.uint8", "replay", "copy torch.float32", "wait"]


def test_all_sizes_write_to_one_buffer(program: Path) -> None:
    network = TorchNetwork(program, "fp32", 1)
    network.use_graphs(FakeGpu())
    for count in (1, 5):
        network.logits(batch(count))
    graphs = network.graphs
    assert isinstance(graphs, BatchGraphs)
    one, five = graphs.graphs[1], graphs.graphs[5]
    assert one is not None
    assert five is not None
    assert one.bytes_in.data_ptr() == five.bytes_in.data_ptr()
    assert one.pixels.data_ptr() == five.pixels.data_ptr()
