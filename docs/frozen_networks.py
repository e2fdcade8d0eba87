"""Pictures per second of frozen networks by torch and by OpenVINO: python -m docs.frozen_networks prints the table."""

import statistics
import time
from collections.abc import Callable

import torch

from training.learning.inference import compiled
from training.learning.model import build

BATCH = 32
ROUNDS = 5
NETWORKS = {"EfficientNet-Lite2": "timm:tf_efficientnet_lite2"}
SIZES = (160, 208, 260)


@torch.inference_mode()
def measure(arch: str, size: int, batch: int = BATCH, rounds: int = ROUNDS) -> tuple[float, float, float]:
    """Return pictures/s by torch and by OpenVINO, medians of interleaved rounds, and the largest difference.

    Random weights take as long as trained ones.
    """
    network = build(arch, 2).eval()
    program = compiled(network, batch, size)
    pixels = torch.randint(0, 256, (batch, size, size, 3), dtype=torch.uint8)
    difference = (network(pixels) - program(pixels)).abs().max().item()
    times = [(seconds(network, pixels), seconds(program, pixels)) for _ in range(rounds)]
    by_torch, by_openvino = (batch / statistics.median(column) for column in zip(*times, strict=True))
    return by_torch, by_openvino, difference


def seconds(network: Callable[[torch.Tensor], torch.Tensor], pixels: torch.Tensor) -> float:
    started = time.perf_counter()
    network(pixels)
    return time.perf_counter() - started


def main() -> None:
    print("| network | size | torch | OpenVINO | ratio | largest difference of an output |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, arch in NETWORKS.items():
        for size in SIZES:
            by_torch, by_openvino, difference = measure(arch, size)
            ratio = by_openvino / by_torch
            print(f"| {name} | {size} px | {by_torch:.1f} | {by_openvino:.1f} | {ratio:.1f} | {difference:.0e} |")


if __name__ == "__main__":
    main()
