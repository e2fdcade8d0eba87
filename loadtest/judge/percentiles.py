"""HdrHistograms as curves over the number of nines, on which 99 %, 99.9 % and 99.99 % lie equally far apart."""

import math
from collections.abc import Sequence

from hdrh.histogram import HdrHistogram

from loadtest.judge.summary import Quantiles

MICROSECONDS = 1e6
# Points that lie closer, in nines and as a share of their latency, are one on paper.
APART = 0.01


def nines(share: float) -> float:
    """Return the number of nines of a share: 1 for 0.9, 2 for 0.99."""
    return -math.log10(1 - share)


def curve(quantiles: Quantiles, count: int) -> tuple[list[float], list[float]]:
    """Return the latency by quantile as steps: each value holds from its place to the next one's.

    Args:
        count: requests among which these were answered. Those that were not count as never answered, so the curve ends
            where they begin.

    Returns:
        Nines and seconds, both rising.
    """
    histogram = HdrHistogram.decode(quantiles.histogram.encode())
    places: list[float] = []
    seconds: list[float] = []
    count = max(count, histogram.total_count)
    before = 0
    for item in histogram.get_recorded_iterator():
        place = nines(before / count)
        before += item.count_at_value_iterated_to
        value = item.value_iterated_to / MICROSECONDS
        near = places and place - places[-1] < APART and value < seconds[-1] * (1 + APART)
        if not near or before == histogram.total_count:
            places.append(place)
            seconds.append(value)
    # The highest value holds until the last request, whose own place is past all nines where none failed.
    if before > 1:
        places.append(nines((before - (before == count)) / count))
        seconds.append(seconds[-1])
    return places, seconds


def ticks(highest: float) -> tuple[Sequence[float], Sequence[str]]:
    """Return the places and labels of the ticks of an axis in nines that ends at `highest`."""
    shares = [0.5] + [1 - 10.0**-power for power in range(1, max(2, math.ceil(highest)) + 1)]
    return [nines(share) for share in shares], [f"{100 * share:.10g} %" for share in shares]
