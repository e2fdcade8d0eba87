"""The capacity as a share of the no-server limit, as MLPerf compares its scenarios Server and Offline."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from common.verdicts import Verdict
from loadtest.capacity.trial import Capacity
from loadtest.judge.rounds import disagreement, too_few
from loadtest.report.words import plain, plural


@dataclass(frozen=True, slots=True)
class Share:
    """A confirmed rate relative to what the handler computes without a server."""

    limits: tuple[float, ...]
    """Pictures per second without a server, one of each round: measured before each confirming run."""
    limit: float | None
    """Their median. None, as all that follows, where no rate is confirmed or the rounds do not agree."""
    share: float | None
    """The confirmed rate divided by the limit."""
    low: float | None
    """The confirmed rate divided by the highest limit of a round."""
    high: float | None
    """The lowest rate that breached divided by the lowest limit; None, too, where no rate breached."""
    objection: str | None
    """The reason why there is no share, as a sentence."""

    @property
    def sentence(self) -> str:
        if self.objection is not None:
            return f"INVALID: there is no share of the no-server limit. {self.objection}"
        if self.share is None or self.low is None or self.limit is None:
            return "There is no share of the no-server limit, since no rate is confirmed."
        end = f"to {self.high:.2f}" if self.high is not None else "or more"
        return (
            f"That is {self.share:.2f} ({self.low:.2f} {end}) of the no-server limit, {self.limit:.1f}/s in"
            f" {plural(len(self.limits), 'round')}."
        )

    def verdict(self, least: float | None) -> Verdict:
        """Return whether at least this share is certain, or certainly not reached.

        Args:
            least: None where no share is demanded.
        """
        if self.objection is not None:
            return Verdict.INVALID
        if self.share is None or self.low is None:
            return Verdict.BREACH
        if least is None or self.low >= least:
            return Verdict.PASS
        return Verdict.BREACH if self.high is not None and self.high < least else Verdict.INCONCLUSIVE


def share_of(capacity: Capacity, limits: Sequence[float]) -> Share:
    """Return the capacity's share of the median limit; none where the rounds are too few or do not agree."""
    rounds = tuple(limits)
    confirmed, breached = capacity.confirmed, capacity.lowest_breached
    if confirmed is None:
        return Share(rounds, None, None, None, None, None)
    objection = too_few(len(rounds)) or disagreement(rounds, "The handler without a server")
    if objection is not None:
        return Share(rounds, None, None, None, None, plain(objection))
    middle = median(rounds)
    high = breached / min(rounds) if breached is not None and math.isfinite(breached) else None
    return Share(rounds, middle, confirmed / middle, confirmed / max(rounds), high, None)
