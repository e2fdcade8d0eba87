"""torch: what a GPU runs. The network comes as an exported program, so neither torchvision nor its code is needed."""

import os
from pathlib import Path

import numpy as np

from handler.files import UserError
from handler.preprocess import Pixels
from handler.runtimes.runtime import FP16, FP32, Logits, ModelFile, Runtime

# `cuda` refuses a machine without a GPU, where a slow answer would hide that one is missing; a worker's number follows.
DEVICE_VARIABLE = "CATSDOGS_DEVICE"


class TorchNetwork:
    """The program of a release: uint8 NHWC in, logits out, any batch size.

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

    def logits(self, pixels: Pixels) -> Logits:
        torch = self._torch
        half = torch.autocast(self.device.type, torch.float16, enabled=self.precision == "fp16")
        with torch.inference_mode(), half:
            # Bytes over the bus, a quarter of floats.
            out = self._network(torch.from_numpy(np.ascontiguousarray(pixels)).to(self.device))
        return np.asarray(out.float().cpu().numpy(), dtype=np.float32)


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
