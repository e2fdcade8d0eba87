"""Measurement of the handler alone, without a server: pictures per second, as JSON.

python -m loadtest.rivals.limit ARCHIVE PICTURES --batch 4 --processes 2 --seconds 12
"""

import argparse
import json
import multiprocessing
import random
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from handler.predictor import Predictor
from handler.runtimes.choice import from_environment
from loadtest.generate.pictures import make_pool
from serving.server.archive import unpack


@dataclass(frozen=True, slots=True)
class Work:
    """The work of each process: batches of pictures, from JPEG bytes to answers, one after the other."""

    folder: str
    """The unpacked archive."""
    pictures: str
    pictures_used: int
    batch: int
    seconds: float
    warmup: float


def pictures_per_second(work: Work, ready: threading.Barrier) -> float:
    """Return one process's pictures per second, after a warm-up that all processes begin together."""
    predictor = Predictor(Path(work.folder), *from_environment())
    predictor.warm_up(work.batch)
    pool = make_pool(Path(work.pictures), most=work.pictures_used).good
    rng = random.Random(multiprocessing.current_process().pid)

    def run(seconds: float) -> float:
        begin, count = time.perf_counter(), 0
        while time.perf_counter() < begin + seconds:
            pixels = [predictor.decode(rng.choice(pool).data) for _ in range(work.batch)]
            predictor.answers(np.stack(pixels))
            count += work.batch
        return count / (time.perf_counter() - begin)

    ready.wait()
    run(work.warmup)
    return run(work.seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--batch", type=int, required=True, help="pictures that are computed together")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=12)
    parser.add_argument("--warmup", type=float, default=3)
    parser.add_argument("--pictures-used", type=int, default=16, help="pictures that are drawn from")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, multiprocessing.Manager() as manager:
        unpack(options.archive, Path(folder))
        ready = manager.Barrier(options.processes)
        work = Work(
            folder, str(options.pictures), options.pictures_used, options.batch, options.seconds, options.warmup
        )
        with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
            rates = pool.starmap(pictures_per_second, [(work, ready)] * options.processes, chunksize=1)
    print(json.dumps({"rate": sum(rates)}))


if __name__ == "__main__":
    main()
