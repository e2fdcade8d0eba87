"""Search for the highest rate that keeps the objectives: doubling, bisection, and confirmation by longer runs.

A short trial says little about a rate near the limit: at 90 % of it, a minute leaves an uncertainty of 15 ms in a p99
of 100 ms. So a trial fails only where a broken objective is certain. The rate that the search finds may then be too
high, but is never far too low. It is confirmed by several longer runs that are judged together, and lowered until they
pass, as MLPerf's rules do for its server scenario. Each step down is twice as large as the one before, up to an
eighth, since near its limit a server is good in one run and bad in the next. The last step is then bisected by the same
long runs.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from common.binomial import lower_bound, min_sample_size, upper_bound
from loadtest import slo
from loadtest.capacity.trial import Capacity, Trial
from loadtest.report.words import duration, percent, plain
from monitoring.objectives import Latency

# How often the first rate is halved where it is too high already.
HALVINGS = 4
# A confirmation sends so many times the requests that would do if none were bad.
SPARE = 3
# Of the rate: a larger step would cost more runs on the way back up than it saves on the way down.
LARGEST_STEP = 0.125


@dataclass(frozen=True, slots=True)
class Tally:
    """The requests of one run that count for one objective, and those of them that were bad."""

    objective: float
    bad: int
    count: int
    effect: float = 1.0
    """Design effect, since bad requests come together: see common/binomial.py."""

    def broken(self, confidence: float) -> bool:
        """Is it certain, with this confidence, that the objective is not kept?"""
        bad, count = math.ceil(self.bad / self.effect), math.floor(self.count / self.effect)
        return count == 0 or lower_bound(min(bad, count), count, confidence) > 1 - self.objective


@dataclass(frozen=True, slots=True)
class Load:
    """The figures of one run at one rate."""

    trial: Trial
    tallies: tuple[Tally, ...]
    """The same objectives in each run."""
    limited: str | None = None
    """Why the generator could not ask at this rate."""
    late: str | None = None
    """Why a broken objective may be the generator's fault: it sent late, and latency counts from when a request was
    due. Objectives that are kept are kept all the same."""

    def broken(self, confidence: float) -> bool:
        return any(tally.broken(confidence) for tally in self.tallies)


Ask = Callable[[float, float, bool], Load]
"""A function that runs a load at a rate, for seconds, to search or to confirm, and returns what it measured."""


@dataclass
class Search:
    """The search for the capacity of one protocol."""

    plan: slo.Capacity
    latency: Latency
    availability: float
    protocol: str
    ask: Ask
    after: Callable[[Capacity], None] = lambda so_far: None
    """Called with what is known, after each trial."""

    def __post_init__(self) -> None:
        self.trials: list[Trial] = []
        self.passed = 0.0
        self.confirmed: float | None = None
        self.breached = math.inf
        self.limit: str | None = None

    def run(self) -> Capacity:
        self.bracket()
        while self.passed and self.breached - self.passed > self.plan.precision * self.breached:
            # What failed may have been twice what passed, or no rate at all.
            self.attempt((self.passed + self.breached) / 2)
        if self.passed:
            self.confirm(self.passed)
        return self.result()

    def bracket(self) -> None:
        """Search for a rate that passes and one that does not, within the limits of the plan."""
        rate = self.plan.start_rate
        while self.attempt(rate):
            if rate >= self.plan.highest_rate:
                return
            rate = min(2 * rate, self.plan.highest_rate)
        for _ in range(HALVINGS):
            if self.passed:
                return
            rate /= 2
            self.attempt(rate)

    def attempt(self, rate: float) -> bool:
        load = self.ask(rate, self.plan.trial, False)
        self.trials.append(load.trial)
        kept = load.limited is None and not load.broken(self.plan.confidence)
        if kept:
            self.passed = max(self.passed, rate)
        else:
            if rate < self.breached:
                self.limit = load.limited or load.late
            self.breached = min(self.breached, rate)
        self.after(self.so_far())
        return kept

    def confirm(self, rate: float) -> None:
        """Search for the highest rate, at most this one, at which long runs show that the objectives are kept."""
        least, step = self.plan.start_rate / 2**HALVINGS, self.plan.step_down
        while not self.confirms(rate):
            rate *= 1 - step
            step = min(2 * step, LARGEST_STEP)
            if rate < least:
                return
        while self.breached - rate > self.plan.precision * self.breached:
            middle = (rate + self.breached) / 2
            if self.confirms(middle):
                rate = middle

    def confirms(self, rate: float) -> bool:
        """Do all runs at this rate together show that the objectives are kept?

        It ends with the first run after which they no longer can.
        """
        loads: list[Load] = []
        while len(loads) < self.plan.confirm_runs:
            load = self.ask(rate, self.confirmation(rate), True)
            loads.append(load)
            self.trials.append(load.trial)
            self.after(self.so_far())
            if load.limited is not None or load.broken(self.plan.confidence) or not self.kept(loads):
                break
        else:
            self.confirmed = rate
            return True
        if rate < self.breached:
            self.limit = load.limited or load.late
        self.breached = min(self.breached, rate)
        return False

    def confirmation(self, rate: float) -> float:
        """Return the seconds of a run: as planned, or as many as it takes to send enough requests."""
        needed = max(
            min_sample_size(objective, self.plan.confidence)
            for objective in (self.latency.objective, self.availability)
        )
        return max(self.plan.confirm, math.ceil(SPARE * needed / self.plan.confirm_runs / rate))

    def kept(self, loads: Sequence[Load]) -> bool:
        """Can these runs still show that the objectives are kept, if no request fails in the remaining ones?"""
        for tallies in zip(*(load.tallies for load in loads), strict=True):
            effect = max(tally.effect for tally in tallies)
            expected = sum(tally.count for tally in tallies) * self.plan.confirm_runs / len(tallies)
            bad = math.ceil(sum(tally.bad for tally in tallies) / effect)
            if upper_bound(bad, math.floor(expected / effect), self.plan.confidence) > 1 - tallies[0].objective:
                return False
        return True

    def result(self) -> Capacity:
        confirmed, breached = self.confirmed, self.lowest_breached()
        objectives = f"{percent(self.latency.objective)} within {duration(self.latency.threshold)}"
        # A failed request is slow, too.
        if self.availability > self.latency.objective:
            objectives += f" and {percent(self.availability)} answered"
        if confirmed is None:
            sentence = (
                f"{self.protocol}: no rate keeps {objectives}; the lowest that was tried is {self.lowest_rate():.3g}/s."
            )
        elif breached is None:
            sentence = f"{self.protocol}: {confirmed:.3g}/s keeps {objectives}, and more was not tried."
        else:
            sentence = (
                f"{self.protocol}: {confirmed:.3g}/s keeps {objectives} at {self.plan.confidence:.0%} confidence;"
                f" {breached:.3g}/s does not."
            )
            if self.limit:
                sentence += f" There the generator is the limit, not the server: {self.limit}"
        return self.capacity(sentence, finished=True)

    def so_far(self) -> Capacity:
        breached = self.lowest_breached()
        if self.confirmed is None:
            sentence = f"{self.protocol}: not confirmed yet; {self.passed:.3g}/s passed a short trial"
        else:
            sentence = f"{self.protocol}: {self.confirmed:.3g}/s is confirmed, and more is being tried"
        sentence += "." if breached is None else f"; {breached:.3g}/s breached."
        return self.capacity(sentence, finished=False)

    def capacity(self, sentence: str, *, finished: bool) -> Capacity:
        return Capacity(
            protocol=self.protocol,
            threshold=self.latency.threshold,
            objective=self.latency.objective,
            availability=self.availability,
            confirmed=self.confirmed,
            lowest_breached=self.lowest_breached(),
            trials=tuple(self.trials),
            sentence=plain(sentence),
            finished=finished,
        )

    def lowest_breached(self) -> float | None:
        return None if math.isinf(self.breached) else self.breached

    def lowest_rate(self) -> float:
        return min(trial.rate for trial in self.trials)
