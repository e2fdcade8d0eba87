"""Comparison of servers on this machine. They are measured in turn, in rounds, so that other load meets them all.

python -m loadtest.rivals --rounds 3 --out runs/rivals

Closed loops of 1, 8 and 32 clients on the same cores, by REST, a JPEG as the body; all compute ResNet18 of the released
weights for the released size. The handler without a server computes batches of the archive's size. The report is
rivals.json, a table and a plot.

Exit status: 0 the ratios are shown; 12 INVALID, there are fewer than three rounds, or they differ by more than 25 %;
2 wrong usage, or a server did not start.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from common.verdicts import WRONG_USAGE
from handler.files import UserError
from loadtest.defaults import PICTURES
from loadtest.generate.pictures import Picture, make_pool
from loadtest.judge.machine import stolen
from loadtest.report.words import plural
from loadtest.rivals import closed, report
from loadtest.rivals.batch import served_batch
from loadtest.rivals.closed import Loop
from loadtest.rivals.peers import PEERS, WORKERS, Peer, Places, serving
from loadtest.rivals.rounds import CLIENTS, LIMIT, NO_CLIENTS, Measured

# Pictures are sent as they are: a larger pool would hold them in other sizes too.
MAX_PICTURES = 16


def main() -> int:
    options = parse()
    try:
        return run(options)
    except UserError as error:
        print(f"catsdogs: {error}", file=sys.stderr)
        return WRONG_USAGE
    except KeyboardInterrupt:
        print("Stopped. The results of complete rounds are kept.", file=sys.stderr)
        return 130


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
    parser.add_argument("--out", type=Path, default=Path("runs/rivals"), help="folder of the report (runs/rivals)")
    return parser.parse_args()


def run(options: argparse.Namespace) -> int:
    if options.rounds < 1:
        raise UserError(f"--rounds must be 1 or more, not {options.rounds}.")
    batch = served_batch(options.archive)
    pictures = make_pool(options.pictures, most=MAX_PICTURES).good
    results: list[Measured] = []
    stolen_before = stolen()
    with tempfile.TemporaryDirectory(prefix="rivals-") as scratch:
        pack_stock(options.release, scratch)
        places = Places(
            ours=options.ours.absolute(),
            theirs=Path(sys.prefix),
            release=options.release.absolute(),
            archive=options.archive.absolute(),
            scratch=Path(scratch),
        )
        for turn in range(options.rounds):
            for peer in order(turn):
                result = measure(peer, places, pictures, turn, options) if peer else limit(places, batch, turn, options)
                results.append(result)
                tell(result)
            verdict = report.write(results, options.out, report.describe_setting(stolen_before, batch))
    print((options.out / "rivals.md").read_text())
    return verdict.exit_code


def pack_stock(release: Path, folder: str) -> None:
    """Pack the weights for stock TorchServe, in a process of its own: torch takes memory from the servers."""
    say("Packing the weights for stock TorchServe")
    command = [sys.executable, "-m", "loadtest.rivals.pack", str(release), folder]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def order(turn: int) -> Sequence[Peer | None]:
    """Return the servers in the order of a round, None for the handler without one. Each begins a round in turn."""
    contestants = (*PEERS, None)
    first = turn % len(contestants)
    return (*contestants[first:], *contestants[:first])


def measure(
    peer: Peer, places: Places, pictures: tuple[Picture, ...], turn: int, options: argparse.Namespace
) -> Measured:
    with serving(peer, places, pictures[0]) as server:
        loops = tuple(
            closed.measure(server.client, pictures, clients, options.seconds, options.warmup) for clients in CLIENTS
        )
        return Measured(peer.name, turn, loops, server.start_s, server.memory_mib())


def limit(places: Places, batch: int, turn: int, options: argparse.Namespace) -> Measured:
    """Measure the handler without a server, in the environment of the shipped server."""
    command = [str(places.ours / "bin" / "python"), "-m", "loadtest.rivals.limit", str(places.archive)]
    command += [str(options.pictures), "--seconds", str(options.seconds), "--warmup", str(options.warmup)]
    command += ["--processes", str(WORKERS), "--batch", str(batch), "--pictures-used", str(MAX_PICTURES)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    rate = float(json.loads(done.stdout)["rate"])
    return Measured(LIMIT, turn, (Loop(NO_CLIENTS, rate, math.nan, math.nan, 0, 0),), None, None)


def tell(result: Measured) -> None:
    """Print the rates of one server in one round."""
    figures = ", ".join(f"{plural(loop.clients, 'client')}: {loop.rate:.1f}/s" for loop in result.loops)
    failed = sum(sum(loop.failed.values()) for loop in result.loops)
    say(f"round {result.turn + 1}  {result.server:<38} {figures}" + (f"  {failed} FAILED" if failed else ""))


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
