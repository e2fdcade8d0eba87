"""Comparison of servers on this machine. They are measured in turn, in rounds, so that other load meets them all.

python -m loadtest.rivals --rounds 3 --out runs/rivals

Closed loops of 1, 8 and 32 clients on the same cores, by REST, a JPEG as the body, or in a form for LitServe and
BentoML. All compute ResNet18 of the released weights for the released size. A server with OpenVINO gets our int8
network, too. The handler without a server computes batches of the archive's size. The report is rivals.json, a table
and a plot.

OpenVINO Model Server is a container that no Python package has, and is not compared.

Exit status: 0 the ratios are shown; 12 INVALID, there are fewer than three rounds, or ours differ by more than 25 %, or
a server answered nothing; 2 wrong usage, or a server did not start. A server whose rounds differ by more than 25 % gets
no ratio, but a lower bound.
"""

import argparse
import importlib.util
import math
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from handler.files import UserError
from loadtest.benchmark import run_benchmark
from loadtest.defaults import PICTURES
from loadtest.generate.pictures import Picture, make_pool
from loadtest.judge.machine import stolen
from loadtest.report.words import plural
from loadtest.rivals import closed, report
from loadtest.rivals.batch import holds_int8, served_batch
from loadtest.rivals.closed import Loop
from loadtest.rivals.no_server import NoServer
from loadtest.rivals.peers import ON_REQUEST, OURS, PEERS, WORKERS, Peer, Places, Row, contestants
from loadtest.rivals.rounds import CLIENTS, LIMITS, NO_CLIENTS, Measured
from loadtest.rivals.servers import serving
from serving.server.archive import unpack

# Pictures are sent as they are: a larger pool would hold them in other sizes too.
MAX_PICTURES = 16


def main() -> int:
    return run_benchmark(run, parse())


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.rivals", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds, at least 3 for a verdict (3)")
    parser.add_argument("--seconds", type=float, default=12, help="seconds for which each loop is measured (12)")
    parser.add_argument("--warmup", type=float, default=3, help="seconds of each loop before it is measured (3)")
    parser.add_argument("--pictures", type=Path, default=PICTURES, help="folder with a subfolder for each class")
    parser.add_argument("--release", type=Path, default=Path("model-store/catsdogs"))
    parser.add_argument("--archive", type=Path, default=Path("model-store/catsdogs.mar"))
    parser.add_argument("--ours", type=Path, default=Path(".venv"), help="environment of the shipped server (.venv)")
    parser.add_argument(
        "--with",
        dest="requested",
        type=lambda text: text.split(","),
        default=[],
        metavar="NAMES",
        help="servers on request, joined by commas: litserve,bentoml. `make rivals-more` installs and measures both",
    )
    parser.add_argument(
        "--asked-for", type=Path, default=Path(".venv-rivals"), help="environment of those on request (.venv-rivals)"
    )
    parser.add_argument(
        "--ours-alone",
        action="store_true",
        help="measure only catsdogs and the handler without a server (8 minutes)",
    )
    parser.add_argument("--out", type=Path, default=Path("runs/rivals"), help="folder of the report (runs/rivals)")
    return parser.parse_args()


def run(options: argparse.Namespace) -> int:
    if options.rounds < 1:
        raise UserError(f"--rounds must be 1 or more, not {options.rounds}.")
    if unknown := set(options.requested).difference(ON_REQUEST):
        raise UserError(f"--with knows {' and '.join(ON_REQUEST)}, not {', '.join(sorted(unknown))}.")
    if options.requested and options.ours_alone:
        raise UserError("--ours-alone leaves all other servers out, and --with names some: give one of the two.")
    if options.requested and not (options.asked_for / "bin" / "python").exists():
        raise UserError(f"{options.asked_for} has no Python. Set it up: make .venv-rivals/.installed")
    batch, int8 = served_batch(options.archive), holds_int8(options.archive)
    if options.ours_alone:
        peers, skipped = contestants((), int8=int8, openvino=True, peers=[peer for peer in PEERS if peer.name == OURS])
    else:
        peers, skipped = contestants(options.requested, int8=int8, openvino=is_installed("openvino"))
    # The handler without a server is a contestant, too.
    everyone: list[Peer | Row] = [*peers, *(row for row in LIMITS.values() if int8 or row.precision == "fp32")]
    for sentence in skipped:
        say(sentence)
    pictures = make_pool(options.pictures, most=MAX_PICTURES).good
    results: list[Measured] = []
    stolen_before = stolen()
    with tempfile.TemporaryDirectory(prefix="rivals-") as scratch:
        if not options.ours_alone:
            pack_stock(options.release, scratch)
        places = Places(
            ours=options.ours.absolute(),
            theirs=Path(sys.prefix),
            asked_for=options.asked_for.absolute(),
            archive=options.archive.absolute(),
            unpacked=Path(scratch) / "unpacked",
            scratch=Path(scratch),
        )
        unpack(places.archive, places.unpacked)
        for turn in range(options.rounds):
            for contestant in order(everyone, turn):
                if isinstance(contestant, Peer):
                    result = measure(contestant, places, pictures, turn, options)
                else:
                    result = limit(contestant, places, batch, turn, options)
                results.append(result)
                tell(result)
            verdict = report.write(results, options.out, report.describe_setting(stolen_before, batch), skipped)
    print((options.out / "rivals.md").read_text())
    return verdict.exit_code


def pack_stock(release: Path, folder: str) -> None:
    """Pack the weights for stock TorchServe, in a process of its own: torch takes memory from the servers."""
    say("Packing the weights for stock TorchServe")
    command = [sys.executable, "-m", "loadtest.rivals.pack", str(release), folder]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def order(everyone: Sequence[Peer | Row], turn: int) -> Sequence[Peer | Row]:
    """Return the contestants in the order of a round. Each begins a round in turn."""
    first = turn % len(everyone)
    return (*everyone[first:], *everyone[:first])


def measure(
    peer: Peer, places: Places, pictures: tuple[Picture, ...], turn: int, options: argparse.Namespace
) -> Measured:
    with serving(peer, places, pictures[0]) as server:
        loops = tuple(
            closed.measure(server.client, pictures, clients, options.seconds, options.warmup) for clients in CLIENTS
        )
        return Measured(*peer.row, turn, loops, server.start_s, server.memory_mib())


def limit(row: Row, places: Places, batch: int, turn: int, options: argparse.Namespace) -> Measured:
    """Measure the handler without a server, in the environment of the shipped server."""
    rate = NoServer(
        python=places.ours / "bin" / "python",
        archive=places.archive,
        pictures=options.pictures,
        batch=batch,
        processes=WORKERS,
        pictures_used=MAX_PICTURES,
        seconds=options.seconds,
        warmup=options.warmup,
        precision=row.precision,
    ).rate()
    return Measured(*row, turn, (Loop(NO_CLIENTS, rate, math.nan, math.nan, 0, 0),), None, None)


def tell(result: Measured) -> None:
    """Print the rates of one server in one round."""
    figures = ", ".join(f"{plural(loop.clients, 'client')}: {loop.rate:.1f}/s" for loop in result.loops)
    failed = sum(sum(loop.failed.values()) for loop in result.loops)
    say(f"round {result.turn + 1}  {result.row!s:<44} {figures}" + (f"  {failed} FAILED" if failed else ""))


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
