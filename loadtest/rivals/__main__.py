"""Comparison of servers on this machine. They are measured in turn, in rounds, so that other load meets them all.

python -m loadtest.rivals --rounds 3 --out runs/rivals

Closed loops of 1, 8 and 32 clients on the same cores, by REST, a JPEG as the body; all compute ResNet18 of the released
weights for the released size. It leaves rivals.json, a table and a plot.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from handler.files import UserError
from loadtest.defaults import PICTURES
from loadtest.generate.pictures import Picture, make_pool
from loadtest.judge.machine import stolen
from loadtest.rivals import closed, report
from loadtest.rivals.closed import Loop
from loadtest.rivals.peers import PEERS, WORKERS, Peer, Places, serving
from loadtest.rivals.report import LIMIT, Measured

CLIENTS = (1, 8, 32)
BATCH = 8
# As they are: a pool of more would hold them in other sizes too.
MOST = 16


def main() -> int:
    options = parse()
    try:
        return run(options)
    except UserError as error:
        print(f"catsdogs: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped. The results of complete rounds are kept.", file=sys.stderr)
        return 130


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.rivals", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="medians are of so many (3)")
    parser.add_argument("--seconds", type=float, default=12, help="that each loop is measured (12)")
    parser.add_argument("--warmup", type=float, default=3, help="seconds before each that are not (3)")
    parser.add_argument("--pictures", type=Path, default=PICTURES, help="in folders named by their class")
    parser.add_argument("--release", type=Path, default=Path("model-store/catsdogs"))
    parser.add_argument("--archive", type=Path, default=Path("model-store/catsdogs.mar"))
    parser.add_argument("--ours", type=Path, default=Path(".venv"), help="environment of the shipped server (.venv)")
    parser.add_argument("--out", type=Path, default=Path("runs/rivals"))
    return parser.parse_args()


def run(options: argparse.Namespace) -> int:
    pictures = make_pool(options.pictures, most=MOST).good
    found: list[Measured] = []
    before = stolen()
    with tempfile.TemporaryDirectory(prefix="rivals-") as scratch:
        say("Packing the weights for stock TorchServe")
        subprocess.run(
            [sys.executable, "-m", "loadtest.rivals.pack", str(options.release), scratch],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        places = Places(
            ours=options.ours.absolute(),
            theirs=Path(sys.prefix),
            release=options.release.absolute(),
            scratch=Path(scratch),
        )
        for turn in range(options.rounds):
            # Each begins a round in turn.
            first = turn % len(PEERS)
            for peer in (*PEERS[first:], *PEERS[:first]):
                found.append(measure(peer, places, pictures, turn, options))
                tell(found[-1])
            found.append(limit(places, turn, options))
            tell(found[-1])
            report.write(found, options.out, before)
    print((options.out / "rivals.md").read_text())
    return 0


def measure(
    peer: Peer, places: Places, pictures: tuple[Picture, ...], turn: int, options: argparse.Namespace
) -> Measured:
    with serving(peer, places, pictures[0]) as server:
        loops = tuple(
            closed.ask_for(server.client, pictures, clients, options.seconds, options.warmup) for clients in CLIENTS
        )
        return Measured(peer.name, turn, loops, server.start_s, server.memory_mib())


def limit(places: Places, turn: int, options: argparse.Namespace) -> Measured:
    words = [str(places.ours / "bin" / "python"), "-m", "loadtest.rivals.limit", str(options.archive)]
    words += [str(options.pictures), "--seconds", str(options.seconds)]
    words += ["--processes", str(WORKERS), "--batch", str(BATCH), "--most", str(MOST)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    rate = float(json.loads(done.stdout)["rate"])
    return Measured(LIMIT, turn, (Loop(BATCH, rate, float("nan"), float("nan"), 0, 0),), None, None)


def tell(one: Measured) -> None:
    said = ", ".join(f"{loop.clients}: {loop.rate:.1f}/s" for loop in one.loops)
    failed = sum(sum(loop.failed.values()) for loop in one.loops)
    say(f"round {one.turn + 1}  {one.server:<38} {said}" + (f"  {failed} FAILED" if failed else ""))


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
