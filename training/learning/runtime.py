"""The machine under a run: device, precision, seeds, and what to write down about them."""

import importlib.metadata
import os
import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
from torch import distributed

from common.git import revision

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Group:
    """The processes of one run: this one's rank, how many there are, and its device."""

    rank: int
    world: int
    device: torch.device

    def sum(self, values: Sequence[float]) -> list[float]:
        """Element by element over all processes."""
        if self.world == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(tensor)
        return [float(value) for value in tensor]

    def wait(self) -> None:
        if self.world > 1:
            distributed.barrier()

    def spread(self, tensors: Iterable[torch.Tensor]) -> None:
        """Gives every process what the first one has."""
        if self.world > 1:
            for tensor in tensors:
                distributed.broadcast(tensor, 0)


@contextmanager
def process_group() -> Iterator[Group]:
    """The group that torchrun started this process in, or this process alone."""
    if "LOCAL_RANK" not in os.environ:
        yield Group(0, 1, choose_device())
        return
    device = choose_device(int(os.environ["LOCAL_RANK"]))
    # Computing a teacher's answers may keep one process waiting for the others for long.
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timedelta(hours=12))
    try:
        yield Group(distributed.get_rank(), distributed.get_world_size(), device)
    finally:
        distributed.destroy_process_group()


def choose_device(index: int = 0) -> torch.device:
    return torch.device("cuda", index) if torch.cuda.is_available() else torch.device("cpu")


def choose_amp(setting: str, device: torch.device) -> torch.dtype | None:
    """Return the dtype to autocast to, or None.

    Emulated bfloat16 is ten times slower than float32, so `auto` takes only what is native: bfloat16 on processors
    with AMX or AVX512-BF16 (a step of ResNet18 then takes 0.5 to 0.6 of the time, on Zen 4) and on GPUs from Ampere on,
    float16 on older GPUs.
    """
    if setting == "auto" and device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if setting == "auto":
        native = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
        return torch.bfloat16 if native else None
    return {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}[setting]


def seed_everything(*seeds: int) -> None:
    """Seed what draws random numbers without a generator of its own: initial weights, dropout."""
    seed = int(np.random.default_rng(seeds).integers(2**32)) if len(seeds) > 1 else seeds[0]
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def git_sha() -> str:
    """Return the commit of this checkout, with `-dirty` where files differ from it; `unknown` outside of one."""
    return revision(REPOSITORY) or "unknown"


def versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in ("torch", "torchvision", "numpy", "pillow")}
