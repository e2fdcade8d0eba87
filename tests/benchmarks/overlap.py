"""Whether decoding the next batch in a thread while the network runs saves CPU time: a prototype on one core.

    taskset -c 0 python -m tests.benchmarks.overlap PHOTOS

A server has a worker for each core, so each core is busy, and pictures per second are what CPU time allows.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import click
import numpy as np

from handler import memory
from handler.predictor import Predictor
from handler.preprocess import Pixels
from tests.benchmarks.timing import mean_interval, photographs, unpacked
from tests.zoo import ROOT


@click.command()
@click.argument("photos", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--archive", default=ROOT / "model-store" / "catsdogs.mar", type=click.Path(exists=True, path_type=Path))
@click.option("--limit", default=64, show_default=True, type=click.IntRange(4), help="Maximum number of photographs.")
@click.option("--rounds", default=8, show_default=True, type=click.IntRange(2), help="Measurements of each way.")
def main(photos: Path, archive: Path, limit: int, rounds: int) -> None:
    """Measure CPU times in ms per picture: means over the rounds with 95 % intervals, the two ways in turn."""
    pictures = photographs(photos, limit)
    memory.tune()
    with unpacked(archive) as folder, ThreadPoolExecutor(1) as pool:
        predictor = Predictor(folder)
        for size in (1, 4):
            predictor.warm_up(size)
            batches = [pictures[start : start + size] for start in range(0, len(pictures), size)]
            serial, overlapped = [], []
            for _ in range(rounds):
                serial.append(_cpu_ms(partial(_serial, predictor, batches)) / len(pictures))
                overlapped.append(_cpu_ms(partial(_overlapped, predictor, batches, pool)) / len(pictures))
            for name, times in (("one after the other", serial), ("overlapped", overlapped)):
                mean, half = mean_interval(np.array(times))
                click.echo(f"{predictor.runtime.name}, batches of {size}, {name:20} {mean:7.2f} +- {half:.2f} ms")


def _cpu_ms(work: Callable[[], None]) -> float:
    started = time.process_time()
    work()
    return (time.process_time() - started) * 1e3


def _decode(predictor: Predictor, batch: Sequence[bytes]) -> Pixels:
    return np.stack([predictor.decode(picture) for picture in batch])


def _serial(predictor: Predictor, batches: Sequence[Sequence[bytes]]) -> None:
    for batch in batches:
        predictor.probabilities(_decode(predictor, batch))


def _overlapped(predictor: Predictor, batches: Sequence[Sequence[bytes]], pool: ThreadPoolExecutor) -> None:
    coming = pool.submit(_decode, predictor, batches[0])
    for batch in [*batches[1:], None]:
        pixels = coming.result()
        if batch is not None:
            coming = pool.submit(_decode, predictor, batch)
        predictor.probabilities(pixels)


if __name__ == "__main__":
    main()
