"""Measurement of the handler alone, without a server: pictures per second, as JSON.

python -m loadtest.rivals.limit ARCHIVE PICTURES --processes 2 --batch 8 --seconds 12
"""

import argparse
import json
import multiprocessing
import random
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from handler.predictor import Predictor
from loadtest.generate.pictures import make_pool
from serving.server.archive import unpack


def work(folder: str, pictures: str, most: int, batch: int, seconds: float, ready: threading.Barrier) -> int:
    """Bytes of JPEG to answers, one batch after the other; their number."""
    predictor = Predictor(Path(folder))
    predictor.warm_up(batch)
    pool = make_pool(Path(pictures), most=most).good
    rng, count = random.Random(multiprocessing.current_process().pid), 0
    ready.wait()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pixels = [predictor.decode(rng.choice(pool).data) for _ in range(batch)]
        predictor.answers(np.stack(pixels))
        count += batch
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--most", type=int, default=16, help="pictures that are drawn from")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=12)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, multiprocessing.Manager() as manager:
        unpack(options.archive, Path(folder))
        ready = manager.Barrier(options.processes)
        words = (folder, str(options.pictures), options.most, options.batch, options.seconds, ready)
        with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
            counts = pool.starmap(work, [words] * options.processes, chunksize=1)
    print(json.dumps({"rate": sum(counts) / options.seconds}))


if __name__ == "__main__":
    main()
