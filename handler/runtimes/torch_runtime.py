"""torch: what a GPU runs. The network comes as an exported program, so neither torchvision nor its code is needed."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from handler.files import UserError
from handler.preprocess import Pixels
from handler.runtimes.batch_graphs import BatchGraphs, Device
from handler.runtimes.cuda_device import CudaDevice
from handler.runtimes.half_weights import halve_weights
from handler.runtimes.runtime import FP16, FP32, GPU_BATCH, Logits, ModelFile, Runtime

if TYPE_CHECKING:
    from torch import Tensor

# `cuda` refuses a machine without a GPU, where a slow answer would hide that one is missing; a worker's number follows.
DEVICE_VARIABLE = "CATSDOGS_DEVICE"
# `0` computes every batch without a CUDA graph.
GRAPHS_VARIABLE = "CATSDOGS_CUDA_GRAPHS"


class TorchNetwork:
    """The program of a release: uint8 NHWC in, logits out, any batch size.

    On a GPU batches of up to GPU_BATCH pictures are computed by a captured graph, others eagerly.

    Raises:
        UserError: the device that is asked for is not there.
    """

    def __init__(self, path: Path, precision: str, threads: int, gpu: int | None = None) -> None:
        import torch
        from torch.export.passes import move_to_device_pass

        wanted = wanted_device()
        if wanted == "cuda" and not torch.cuda.is_available():
            raise UserError(
                f"There is no GPU here, and {DEVICE_VARIABLE}=cuda asks for one: is it requested by the pod's limits, "
                "and does nvidia-smi see it?"
            )
        device = f"cuda:{gpu or 0}" if wanted == "cuda" else wanted
        torch.set_num_threads(threads)
        torch.backends.cudnn.benchmark = True  # the warm-up runs every batch size, so all are chosen before READY
        self._torch, self.device, self.precision = torch, torch.device(device), precision
        program = move_to_device_pass(torch.export.load(path), device)
        self._network = program.module().to(memory_format=torch.channels_last)
        if precision == FP16:
            halve_weights(self._network)
        self.graphs: BatchGraphs | None = None
        if self.device.type == "cuda" and os.environ.get(GRAPHS_VARIABLE) != "0":
            self.use_graphs(CudaDevice(self.device))

    def use_graphs(self, device: Device) -> None:
        """Compute batches of up to GPU_BATCH pictures by graphs from now on."""
        self.graphs = BatchGraphs(self._compute, self._eager, device, GPU_BATCH)

    def logits(self, pixels: Pixels) -> Logits:
        with self._torch.inference_mode():
            return self._eager(pixels) if self.graphs is None else self.graphs.logits(pixels)

    def _eager(self, pixels: Pixels) -> Logits:
        # Bytes over the bus, a quarter of floats.
        out = self._compute(self._torch.from_numpy(np.ascontiguousarray(pixels)).to(self.device))
        return np.asarray(out.cpu().numpy(), dtype=np.float32)

    def _compute(self, pixels: "Tensor") -> "Tensor":
        # Autocast keeps converted weights in a cache; one that a captured graph filled would lie in the graph's memory.
        half = self._torch.autocast(
            self.device.type, self._torch.float16, enabled=self.precision == FP16, cache_enabled=False
        )
        with half:
            out: Tensor = self._network(pixels).float()
        return out


def wanted_device() -> str:
    """Return the device that is asked for, else a GPU where there is one."""
    import torch

    return os.environ.get(DEVICE_VARIABLE) or ("cuda" if torch.cuda.is_available() else "cpu")


def usual_precision() -> str:
    """Return fp16 on a GPU and fp32 elsewhere. Weights stay fp32, so a norm loses nothing."""
    return FP16 if wanted_device() == "cuda" else FP32


def rank(cpuinfo: str) -> int:
    """Return the first rank: an archive has torch's file only where a GPU is meant."""
    return 0


FILE, MAKE = "model.pt2", "training.release.torch_program:make"

RUNTIME = Runtime(
    name="torch",
    title="torch",
    package="torch.export",
    models={
        FP32: ModelFile(FILE, tolerance=1e-4, make=MAKE, rank=rank),
        FP16: ModelFile(FILE, tolerance=5e-3, make=MAKE, rank=rank),
    },
    load=TorchNetwork,
    usual_precision=usual_precision,
    gpu=True,
    chooses_by_size=True,  # cuDNN's benchmark
)
