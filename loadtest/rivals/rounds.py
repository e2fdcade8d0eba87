"""The measured rounds, the ratios of our rate to the others', and whether the rounds agree well enough for ratios."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from loadtest.rivals.closed import Loop
from loadtest.rivals.peers import OURS, PEERS

LIMIT = "the same handler, no server"
NO_CLIENTS = 0
CLIENTS = (1, 8, 32)
# One client says how long a request takes; from several on, the rate is what a server can do.
COMPARED = (8, 32)
MIN_ROUNDS = 3
# Other load on the machine, or stolen processor time, makes rounds differ by more than this.
MAX_SPREAD = 0.25


@dataclass(frozen=True, slots=True)
class Measured:
    """One server in one round."""

    server: str
    turn: int
    """Number of the round, from 0."""
    loops: tuple[Loop, ...]
    """One loop for each number of clients; for LIMIT a single one, with NO_CLIENTS."""
    start_s: float | None
    memory_mib: float | None

    def loop(self, clients: int) -> Loop:
        return next(loop for loop in self.loops if loop.clients in (clients, NO_CLIENTS))


def names(results: Sequence[Measured]) -> list[str]:
    """Return the names of the servers that were measured, in the order of the report."""
    measured = {result.server for result in results}
    return [name for name in (*(peer.name for peer in PEERS), LIMIT) if name in measured]


def rates(results: Sequence[Measured], name: str, clients: int) -> dict[int, float]:
    """Return a server's answers per second by round."""
    return {result.turn: result.loop(clients).rate for result in results if result.server == name}


def ratios(results: Sequence[Measured], name: str, clients: int) -> list[float]:
    """Return our rate divided by another server's, for each round in which both were measured."""
    ours, theirs = rates(results, OURS.name, clients), rates(results, name, clients)
    return [ours[turn] / theirs[turn] for turn in sorted(ours.keys() & theirs.keys())]


def ratio(results: Sequence[Measured], name: str, clients: int) -> float:
    """Return the median over the rounds of our rate divided by another server's."""
    return median(ratios(results, name, clients))


def objections(results: Sequence[Measured]) -> list[str]:
    """Return the reasons why the rounds allow no verdict, a sentence each; none where they agree."""
    rounds = len({result.turn for result in results})
    sentences = []
    if rounds < MIN_ROUNDS:
        sentences.append(f"Too few rounds: {rounds}, where a median takes at least {MIN_ROUNDS}.")
    for name in names(results):
        for clients in COMPARED if name != LIMIT else (NO_CLIENTS,):
            measured = rates(results, name, clients).values()
            slowest, fastest = min(measured), max(measured)
            spread = round(fastest / slowest - 1, 3) if slowest else math.inf
            where = name if clients == NO_CLIENTS else f"{name}, {clients} clients"
            if not slowest:
                sentences.append(f"{where}: nothing was answered in a round.")
            elif spread > MAX_SPREAD:
                sentences.append(
                    f"{where}: the rounds differ by {100 * spread:.1f} %, from {slowest:.1f} to {fastest:.1f}/s, and"
                    f" {100 * MAX_SPREAD:g} % is the maximum."
                )
    return sentences
