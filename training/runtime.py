"""The machine under a run: device, precision, seeds, and what to write down about them."""

import importlib.metadata
import os
import random
import subprocess
from pathlib import Path

import numpy as np
import torch

REPOSITORY = Path(__file__).parent.parent


def choose_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def choose_amp(setting: str, device: torch.device) -> bool:
    """Whether to autocast to bfloat16; emulated bfloat16 is ten times slower than float32."""
    if setting == "auto":
        return torch.cuda.is_bf16_supported() if device.type == "cuda" else torch.cpu._is_amx_tile_supported()
    return setting == "bf16"


def seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def cpu_count() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def git_sha() -> str:
    """The commit of this checkout, with `-dirty` where files differ from it; `unknown` outside of one."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return described.stdout.strip()


def versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in ("torch", "torchvision", "numpy", "pillow")}
