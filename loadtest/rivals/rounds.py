"""The measured rounds, the ratios of our rate to the others', and whether the rounds agree well enough for ratios."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from loadtest.judge.rounds import disagreement, too_few
from loadtest.rivals.closed import Loop
from loadtest.rivals.peers import OURS, PEERS, Row

LIMIT = "the same handler, no server"
LIMITS = {precision: Row(LIMIT, precision) for precision in ("fp32", "int8")}
ROWS = (*(peer.row for peer in PEERS), *LIMITS.values())
NO_CLIENTS = 0
CLIENTS = (1, 8, 32)
# One client says how long a request takes; from several on, the rate is what a server can do.
COMPARED = (8, 32)


@dataclass(frozen=True, slots=True)
class Measured:
    """One server in one round."""

    server: str
    precision: str
    turn: int
    """Number of the round, from 0."""
    loops: tuple[Loop, ...]
    """One loop for each number of clients; for LIMIT a single one, with NO_CLIENTS."""
    start_s: float | None
    memory_mib: float | None

    @property
    def row(self) -> Row:
        return Row(self.server, self.precision)

    def loop(self, clients: int) -> Loop:
        return next(loop for loop in self.loops if loop.clients in (clients, NO_CLIENTS))


def rows(results: Sequence[Measured]) -> list[Row]:
    """Return the rows that were measured, in the order of the report."""
    measured = {result.row for result in results}
    return [row for row in ROWS if row in measured]


def ours(results: Sequence[Measured]) -> list[Row]:
    """Return our server's rows, one for each precision."""
    return [row for row in rows(results) if row.server == OURS]


def rates(results: Sequence[Measured], row: Row, clients: int) -> dict[int, float]:
    """Return a row's answers per second by round."""
    return {result.turn: result.loop(clients).rate for result in results if result.row == row}


def ratios(results: Sequence[Measured], own: Row, other: Row, clients: int) -> list[float]:
    """Return the rate of one of our rows divided by another row's, for each round in which both were measured."""
    own_rates, other_rates = rates(results, own, clients), rates(results, other, clients)
    return [own_rates[turn] / other_rates[turn] for turn in sorted(own_rates.keys() & other_rates.keys())]


def ratio(results: Sequence[Measured], own: Row, other: Row, clients: int) -> float:
    """Return the median over the rounds of one of our rows' rate divided by another row's."""
    return median(ratios(results, own, other, clients))


def lowest_ratio(results: Sequence[Measured], own: Row, other: Row, clients: int) -> float:
    """Return the slowest round of one of our rows divided by the fastest of another row: the ratio is not lower."""
    return min(rates(results, own, clients).values()) / max(rates(results, other, clients).values())


def unsteady(results: Sequence[Measured]) -> dict[tuple[Row, int], str]:
    """Return a sentence for each row and number of clients whose rounds differ too much for a median."""
    sentences = {}
    for row in rows(results):
        for clients in COMPARED if row.server != LIMIT else (NO_CLIENTS,):
            what = str(row) if clients == NO_CLIENTS else f"{row}, {clients} clients"
            if sentence := disagreement(rates(results, row, clients).values(), what):
                sentences[row, clients] = sentence
    return sentences


def is_unsteady(results: Sequence[Measured], row: Row, clients: int) -> bool:
    return (row, NO_CLIENTS if row.server == LIMIT else clients) in unsteady(results)


def objections(results: Sequence[Measured]) -> list[str]:
    """Return the reasons why the rounds allow no verdict, a sentence each; none where ours agree.

    Another server that is slow in one round and fast in the next is so on a quiet machine, too, if it starts more
    threads than there are cores. Its ratio is then not given, but a bound.
    """
    few = too_few(len({result.turn for result in results}))
    silent = [
        sentence
        for (row, clients), sentence in unsteady(results).items()
        if not min(rates(results, row, clients).values())
    ]
    own = [sentence for (row, _), sentence in unsteady(results).items() if row.server == OURS]
    return [*([few] if few else []), *dict.fromkeys([*own, *silent])]
