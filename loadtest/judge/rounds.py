"""Rounds of a comparison: are there enough of them, and do they agree well enough for a ratio?"""

import math
from collections.abc import Collection

MIN_ROUNDS = 3
# Other load on the machine, or stolen processor time, makes rounds differ by more than this.
MAX_SPREAD = 0.25


def too_few(rounds: int) -> str | None:
    """Return a sentence where there are too few rounds for a median."""
    if rounds >= MIN_ROUNDS:
        return None
    return f"Too few rounds: {rounds}, where a median takes at least {MIN_ROUNDS}."


def disagreement(rates: Collection[float], what: str) -> str | None:
    """Return a sentence where the rounds' rates differ by more than 25 %, or one of them is 0.

    Args:
        rates: per second, one of each round.
        what: begins the sentence.
    """
    slowest, fastest = min(rates), max(rates)
    if not slowest:
        return f"{what}: nothing was answered in a round."
    spread = round(fastest / slowest - 1, 3)
    if spread <= MAX_SPREAD or math.isclose(spread, MAX_SPREAD):
        return None
    return (
        f"{what}: the rounds differ by {100 * spread:.1f} %, from {slowest:.1f} to {fastest:.1f}/s, and"
        f" {100 * MAX_SPREAD:g} % is the maximum."
    )
