"""Cost of monitoring: is throughput with everything on at least 0.97 of throughput with everything off?

python -m loadtest.monitoring_cost --rounds 3 --out runs/monitoring-cost

Both servers run at once, and only one of them is asked at a time: for some seconds the one, then the other, in pairs
whose order alternates. Each round starts both anew. The ratios are of pairs, by throughput and by CPU time. It needs
Linux.

Exit status: 0 at least 0.97; 10 less; 11 INCONCLUSIVE, measure more pairs; 12 INVALID, there are fewer than three
rounds, or they differ by more than 25 %; 2 wrong usage, a server did not start, or a request failed.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from handler.files import UserError
from loadtest.benchmark import run_benchmark
from loadtest.defaults import PICTURES
from loadtest.generate.pictures import Picture, make_pool
from loadtest.judge.machine import stolen
from loadtest.monitoring_cost.pairs import Pair, Slice
from loadtest.monitoring_cost.report import write
from loadtest.monitoring_cost.sides import OFF, ON, SIDES, Program, check, counters, prepare, scraping, started
from loadtest.rivals import closed
from loadtest.stages.measure import warm_up
from loadtest.stages.processes import cpu_seconds
from loadtest.stages.report import describe_setting
from loadtest.stages.server import Server

MAX_PICTURES = 16


def main() -> int:
    return run_benchmark(run, parse())


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.monitoring_cost",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds, at least 3 for a verdict (3)")
    parser.add_argument("--pairs", type=int, default=4, help="pairs of each number of clients in a round (4)")
    parser.add_argument("--seconds", type=float, default=5, help="seconds for which one server is asked (5)")
    parser.add_argument("--warmup-requests", type=int, default=600, help="requests to each server before a round (600)")
    parser.add_argument(
        "--clients", type=int, nargs="+", default=(8, 32), metavar="N", help="numbers of clients, in turn (8 32)"
    )
    parser.add_argument("--pictures", type=Path, default=PICTURES, help="folder with a subfolder for each class")
    parser.add_argument("--program", type=Path, default=Path(".venv/bin/catsdogs"), help="server (.venv/bin/catsdogs)")
    parser.add_argument("--archive", type=Path, default=Path("model-store/catsdogs.mar"), help="archive that is served")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/monitoring-cost"), help="folder of the report (runs/monitoring-cost)"
    )
    return parser.parse_args()


def run(options: argparse.Namespace) -> int:
    for name in ("rounds", "pairs"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name} must be 1 or more, not {getattr(options, name)}.")
    pictures = make_pool(options.pictures, most=MAX_PICTURES).good
    before, pairs = stolen(), list[Pair]()
    with tempfile.TemporaryDirectory(prefix="monitoring-cost-") as name:
        scratch = Path(name)
        programs = prepare(options.archive, scratch)
        for turn in range(options.rounds):
            pairs += measure_round(turn, programs, scratch / "records", pictures, options)
            verdict = write(pairs, options.out, describe_setting(before, tiny=False))
    print((options.out / "monitoring-cost.md").read_text())
    return verdict.exit_code


def measure_round(
    turn: int, programs: dict[str, Program], records: Path, pictures: Sequence[Picture], options: argparse.Namespace
) -> list[Pair]:
    """Start both servers and return the pairs of a round."""
    pairs = []
    with started(options.program, programs[ON]) as on, started(options.program, programs[OFF]) as off:
        servers = {ON: on, OFF: off}
        for server in servers.values():
            warm_up(server, pictures, options.warmup_requests)
        for clients in options.clients:
            for number in range(options.pairs):
                slices = {}
                for side in order(turn + number):
                    slices[side] = measure(side, servers[side], pictures, clients, options.seconds)
                pairs.append(Pair(clients, turn, slices[ON], slices[OFF]))
                tell(pairs[-1])
        for side, server in servers.items():
            check(side, counters(server), records)
    return pairs


def order(number: int) -> Sequence[str]:
    """Return the servers in the order of a pair, which alternates."""
    return SIDES if number % 2 == 0 else SIDES[::-1]


def measure(side: str, server: Server, pictures: Sequence[Picture], clients: int, seconds: float) -> Slice:
    """Ask one server for some seconds.

    Raises:
        UserError: a request failed.
    """
    with scraping(server) if side == ON else nullcontext():
        before = sum(cpu_seconds(server.process.pid).values())
        loop = closed.measure(server.client, pictures, clients, seconds)
        after = sum(cpu_seconds(server.process.pid).values())
    if loop.failed or not loop.answers:
        raise UserError(f"Requests failed, so nothing was measured: {loop.failed or 'there was no answer'}")
    return Slice(loop.rate, 1000 * (after - before) / loop.answers)


def tell(pair: Pair) -> None:
    print(
        f"round {pair.turn + 1}  {pair.clients:>2} clients  on {pair.on.rate:6.1f}/s {pair.on.cpu_ms:.2f} ms CPU"
        f"  off {pair.off.rate:6.1f}/s {pair.off.cpu_ms:.2f} ms  ratio {pair.by_rate:.3f}, by CPU {pair.by_cpu:.3f}",
        file=sys.stderr,
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
