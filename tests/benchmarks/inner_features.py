"""CPU time of the network's second output, which records take, beside the network without it:

    .venv/bin/python -m tests.benchmarks.inner_features ARCHIVE

Rounds with and without it alternate, each of 200 pictures in batches of one.
"""

import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from handler.predictor import Predictor
from serving.server.archive import unpack
from tests.runtimes import CHOICES
from tests.zoo import SAMPLES

ROUNDS, PICTURES = 3, 200


def cpu_ms(predictor: Predictor, pixels: list[np.ndarray]) -> float:
    """Return the CPU time of a picture in ms."""
    started = time.process_time()
    for number in range(PICTURES):
        _, inner = predictor.probabilities_and_inner(pixels[number % len(pixels)])
        if predictor.components is not None and inner is not None:
            predictor.components.project(inner)
    return (time.process_time() - started) / PICTURES * 1000


def main(archive: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        unpack(archive, Path(folder))
        for name, precision in CHOICES:
            plain, inner = (Predictor(Path(folder), name, precision, inner=wanted) for wanted in (False, True))
            if inner.components is None:
                continue
            pixels = [plain.decode(path.read_bytes())[None] for path in sorted(SAMPLES.glob("*/*.jpg"))]
            for predictor in (plain, inner):
                cpu_ms(predictor, pixels)
            rounds = [(cpu_ms(plain, pixels), cpu_ms(inner, pixels)) for _ in range(ROUNDS)]
            ratio = median(second / first for first, second in rounds)
            shown = ", ".join(f"{first:.2f} and {second:.2f}" for first, second in rounds)
            print(f"{name} {precision}: ms without and with the second output {shown}; ratio {ratio:.3f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
