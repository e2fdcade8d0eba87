"""Throughput of 1, 2 and 4 workers on as many cores: is it within 5 % of a straight line?

python -m loadtest.scaling --rounds 3 --out runs/scaling

The server, the gateway and the clients are pinned to as many cores as there are workers, so that one worker does not
have another's core for its overhead. The rounds are interleaved. More workers than cores are measured and not judged.
The pods' points come from a cluster, by tests/cluster/test_scaling.py: --pods FILE adds them.

Exit status: 0 within 5 % where the cores allow; 10 not so; 11 there is one core only; 12 INVALID, there are fewer than
three rounds, or they differ by more than 25 %; 2 wrong usage, or a server did not start.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path

from handler.files import UserError
from loadtest.benchmark import run_benchmark
from loadtest.defaults import PICTURES
from loadtest.generate.pictures import Picture, make_pool
from loadtest.judge.machine import stolen
from loadtest.report.words import plural
from loadtest.rivals import closed
from loadtest.rivals.batch import served_batch
from loadtest.rivals.peers import OURS, Peer, Places, ours
from loadtest.rivals.report import describe_setting
from loadtest.rivals.servers import serving
from loadtest.scaling.points import Point
from loadtest.scaling.report import read_points, write

# A worker's queue never runs empty with as many.
CLIENTS_PER_WORKER = 8
MAX_PICTURES = 16


def main() -> int:
    return run_benchmark(run, parse())


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.scaling", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", default="1,2,4", help="numbers of workers, joined by commas (1,2,4)")
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds, at least 3 for a verdict (3)")
    parser.add_argument("--seconds", type=float, default=12, help="seconds for which each number is measured (12)")
    parser.add_argument("--warmup", type=float, default=3, help="seconds before each measurement (3)")
    parser.add_argument("--pictures", type=Path, default=PICTURES, help="folder with a subfolder for each class")
    parser.add_argument("--archive", type=Path, default=Path("model-store/catsdogs.mar"))
    parser.add_argument("--ours", type=Path, default=Path(".venv"), help="environment of the shipped server (.venv)")
    parser.add_argument("--pods", type=Path, metavar="FILE", help="points of pods, which a cluster's test wrote")
    parser.add_argument("--out", type=Path, default=Path("runs/scaling"), help="folder of the report (runs/scaling)")
    return parser.parse_args()


def run(options: argparse.Namespace) -> int:
    workers = numbers(options.workers)
    if options.rounds < 1:
        raise UserError(f"--rounds must be 1 or more, not {options.rounds}.")
    points = read_points(options.pods) if options.pods else []
    batch = served_batch(options.archive)
    pictures = make_pool(options.pictures, most=MAX_PICTURES).good
    before, cores = stolen(), os.sched_getaffinity(0)
    with tempfile.TemporaryDirectory(prefix="scaling-") as scratch:
        places = Places(
            ours=options.ours.absolute(),
            theirs=Path(sys.prefix),
            asked_for=Path(sys.prefix),
            archive=options.archive.absolute(),
            unpacked=Path(scratch),
            scratch=Path(scratch),
        )
        for turn in range(options.rounds):
            for count in order(workers, turn):
                rate = measure(count, cores, places, pictures, options)
                points.append(Point("workers", count, turn, rate, allowed=count <= len(cores)))
                print(f"round {turn + 1}  {plural(count, 'worker')}  {rate:.1f}/s", file=sys.stderr, flush=True)
            verdict = write(points, options.out, describe_setting(before, batch))
    print((options.out / "scaling.md").read_text())
    return verdict.exit_code


def numbers(text: str) -> list[int]:
    """Parse numbers of workers, which must begin with 1.

    Raises:
        UserError: they are none, or do not.
    """
    try:
        values = sorted({int(number) for number in text.split(",")})
    except ValueError:
        values = []
    if not values or values[0] != 1:
        raise UserError(f"--workers must be numbers from 1 on, such as 1,2,4, and hold the 1; not {text}.")
    return values


def order(workers: Sequence[int], turn: int) -> Sequence[int]:
    """Return the numbers in the order of a round. Each begins a round in turn."""
    first = turn % len(workers)
    return (*workers[first:], *workers[:first])


def measure(
    count: int, cores: Collection[int], places: Places, pictures: tuple[Picture, ...], options: argparse.Namespace
) -> float:
    """Return the answers per second of so many workers, with everything pinned to as many cores."""
    os.sched_setaffinity(0, sorted(cores)[:count])
    try:
        with serving(Peer(OURS, partial(ours, workers=count)), places, pictures[0]) as server:
            clients = CLIENTS_PER_WORKER * count
            return closed.measure(server.client, pictures, clients, options.seconds, options.warmup).rate
    finally:
        os.sched_setaffinity(0, cores)


if __name__ == "__main__":
    sys.exit(main())
