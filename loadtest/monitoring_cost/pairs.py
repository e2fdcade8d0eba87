"""Pairs of measurements, one with monitoring on and one with it off right before or after, and the verdict on them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, median

from common.binomial import cdf
from common.verdicts import Verdict
from loadtest.judge.rounds import disagreement, too_few

LEAST_RATIO = 0.97
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Slice:
    """One closed loop of one server."""

    rate: float
    """Answers per second."""
    cpu_ms: float
    """CPU time of all the server's processes for one answer."""


@dataclass(frozen=True, slots=True)
class Pair:
    clients: int
    turn: int
    """Number of the round, from 0. Both servers are started anew in each."""
    on: Slice
    off: Slice

    @property
    def by_rate(self) -> float:
        """Throughput with monitoring on, divided by that with it off."""
        return self.on.rate / self.off.rate

    @property
    def by_cpu(self) -> float:
        """The same as it would be on cores that do nothing else: by CPU time alone."""
        return self.off.cpu_ms / self.on.cpu_ms


@dataclass(frozen=True, slots=True)
class Ratio:
    """The median of the pairs' ratios, with its interval."""

    middle: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.middle:.3f} ({self.low:.3f} to {self.high:.3f})"

    @property
    def verdict(self) -> Verdict:
        """PASS or BREACH where the whole interval is on one side of 0.97."""
        if self.low >= LEAST_RATIO:
            return Verdict.PASS
        return Verdict.BREACH if self.high < LEAST_RATIO else Verdict.INCONCLUSIVE


def ratio_of(values: Sequence[float]) -> Ratio:
    """Return the median of ratios, and an interval that holds the true one with at least 95 %.

    The interval is from one of the sorted values to another, so it supposes nothing about how they are distributed but
    that they are independent. Fewer than six values give no such interval: it is then without ends.
    """
    ordered, count = sorted(values), len(values)
    outside = 0
    while outside < count / 2 and 2 * cdf(outside, count, 0.5) <= 1 - CONFIDENCE:
        outside += 1
    if not outside:
        return Ratio(median(ordered), 0.0, math.inf)
    return Ratio(median(ordered), ordered[outside - 1], ordered[-outside])


def clients_of(pairs: Sequence[Pair]) -> list[int]:
    return sorted({pair.clients for pair in pairs})


def with_clients(pairs: Sequence[Pair], clients: int) -> list[Pair]:
    return [pair for pair in pairs if pair.clients == clients]


def round_rates(pairs: Sequence[Pair], side: str) -> list[float]:
    """Return one server's mean rate in each round."""
    turns = sorted({pair.turn for pair in pairs})
    return [mean(getattr(pair, side).rate for pair in pairs if pair.turn == turn) for turn in turns]


def objections(pairs: Sequence[Pair]) -> list[str]:
    """Return the reasons why the rounds allow no verdict, a sentence each; none where they agree."""
    few = too_few(len({pair.turn for pair in pairs}))
    sentences = [few] if few else []
    for clients in clients_of(pairs):
        for side in ("on", "off"):
            rates = round_rates(with_clients(pairs, clients), side)
            if sentence := disagreement(rates, f"Monitoring {side}, {clients} clients"):
                sentences.append(sentence)
    return sentences


def verdict_of(pairs: Sequence[Pair]) -> Verdict:
    """Return the worst verdict on throughput over the numbers of clients; INVALID where the rounds do not agree."""
    if objections(pairs):
        return Verdict.INVALID
    verdicts = {ratio_of([pair.by_rate for pair in with_clients(pairs, count)]).verdict for count in clients_of(pairs)}
    return next(each for each in (Verdict.BREACH, Verdict.INCONCLUSIVE, Verdict.PASS) if each in verdicts)
