"""Cost of the server by stage: what a request costs beside decoding its picture and computing the network.

python -m loadtest.stages --rounds 3 --out runs/stages
python -m loadtest.stages --serve before=../old/.venv/bin/catsdogs --serve after=.venv/bin/catsdogs

It starts the real server, and 1, 8 and 32 clients send pictures by REST, each its next one once the last is answered.
It reads the processes' CPU time and the server's own metrics. Several servers are measured in turn, in rounds. CPU time
hardly depends on other load on the machine; wall time does. Linux alone.

Exit status: 0 the table is shown; 2 wrong usage, a server did not start, or a request failed.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from handler.files import UserError
from loadtest.benchmark import run_benchmark
from loadtest.defaults import PICTURES
from loadtest.generate.pictures import make_pool
from loadtest.judge.machine import stolen
from loadtest.stages import report
from loadtest.stages.measure import CLIENTS, Cost, measure, warm_up
from loadtest.stages.server import serving
from loadtest.stages.tiny import write_tiny

# Pictures are sent as they are, like those of `make rivals`.
MAX_PICTURES = 16


def main() -> int:
    return run_benchmark(run, parse())


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.stages", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds (3)")
    parser.add_argument("--seconds", type=float, default=8, help="seconds for which each loop is measured (8)")
    parser.add_argument("--warmup", type=float, default=3, help="seconds of each loop before it is measured (3)")
    parser.add_argument(
        "--warmup-requests", type=int, default=600, help="requests to each server before the first loop (600)"
    )
    parser.add_argument(
        "--clients", type=int, nargs="+", default=CLIENTS, metavar="N", help="numbers of clients, in turn (1 8 32)"
    )
    parser.add_argument("--pictures", type=Path, default=PICTURES, help="folder with a subfolder for each class")
    parser.add_argument(
        "--serve",
        action="append",
        metavar="NAME=PROGRAM",
        help="server that is measured, and its name in the table; repeat it to compare (catsdogs=.venv/bin/catsdogs)",
    )
    parser.add_argument(
        "--archive", type=Path, default=Path("model-store/catsdogs.mar"), help="archive that is served (the released)"
    )
    parser.add_argument(
        "--tiny", action="store_true", help="serve a network that costs nothing, which isolates the server"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/stages"), help="folder of the report (runs/stages)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="where the picture is written too")
    return parser.parse_args()


def run(options: argparse.Namespace) -> int:
    if options.rounds < 1:
        raise UserError(f"--rounds must be 1 or more, not {options.rounds}.")
    programs = dict(named(text) for text in options.serve or ["catsdogs=.venv/bin/catsdogs"])
    pictures = make_pool(options.pictures, most=MAX_PICTURES).good
    results: dict[str, list[Cost]] = {name: [] for name in programs}
    before = stolen()
    with tempfile.TemporaryDirectory(prefix="stages-") as scratch:
        archive = options.archive
        if options.tiny:
            archive = Path(scratch) / "catsdogs.mar"
            write_tiny(options.archive, archive)
        for turn in range(options.rounds):
            order = list(programs) if turn % 2 == 0 else list(reversed(programs))
            for name in order:
                with serving(programs[name], archive) as server:
                    warm_up(server, pictures, options.warmup_requests)
                    for clients in options.clients:
                        cost = measure(server, pictures, clients, options.seconds, options.warmup)
                        results[name].append(cost)
                        tell(turn, name, cost)
            report.write(results, options.out, report.describe_setting(before, options.tiny))
    if options.plot:
        shutil.copyfile(options.out / "stages.png", options.plot)
    print((options.out / "stages.md").read_text())
    return 0


def named(text: str) -> tuple[str, Path]:
    """Return the name and the program of NAME=PROGRAM.

    Raises:
        UserError: it is not of that form.
    """
    name, sign, program = text.partition("=")
    if not (name and sign and program):
        raise UserError(f"--serve {text}: name a server and its program, as in --serve after=.venv/bin/catsdogs.")
    return name, Path(program)


def tell(turn: int, name: str, cost: Cost) -> None:
    print(
        f"round {turn + 1}  {name:<12} {cost.clients:>2} clients  {cost.rate:6.1f}/s  batch {cost.batch:.1f}  "
        f"pipeline {cost.pipeline_cpu_ms:.2f} ms, server {cost.server_cpu_ms:.2f} ms CPU a request",
        file=sys.stderr,
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
