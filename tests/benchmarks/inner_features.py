"""CPU time of the network's second output, which records take, beside the network without it:

    .venv/bin/python -m tests.benchmarks.inner_features ARCHIVE

The network without a second output, with one that is not read (a batch without a due record), and with one that is read
and projected. Rounds of the three alternate, each of 200 pictures in batches of one.
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


def cpu_ms(predictor: Predictor, pixels: list[np.ndarray], due: bool = False) -> float:
    """Return the CPU time of a picture in ms.

    Args:
        due: whether the second output is read and projected.
    """
    started = time.process_time()
    for number in range(PICTURES):
        batch = pixels[number % len(pixels)]
        if not due:
            predictor.probabilities(batch)
            continue
        _, inner = predictor.probabilities_and_inner(batch)
        assert predictor.components is not None
        assert inner is not None
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
            subjects = ((plain, False), (inner, False), (inner, True))
            for predictor, due in subjects:
                cpu_ms(predictor, pixels, due)
            rounds = [[cpu_ms(predictor, pixels, due) for predictor, due in subjects] for _ in range(ROUNDS)]
            unread, read = (median(times[place] / times[0] for times in rounds) for place in (1, 2))
            shown = ", ".join("/".join(f"{each:.2f}" for each in times) for times in rounds)
            print(
                f"{name} {precision}: ms without the second output/not read/read {shown}; not read {unread:.3f} of"
                f" without, read {read:.3f}"
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
