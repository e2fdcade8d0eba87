"""M/D/1: Poisson arrivals, one server, each request takes the same time. What there is to compare with.

The distribution of the wait is Erlang's (1909), in exact decimals: its terms grow large and cancel.
"""

from collections.abc import Callable
from decimal import Decimal, getcontext
from math import factorial, floor

getcontext().prec = 80


def waits_at_most(wait: float, rate: float, service: float) -> float:
    """The probability that a request waits no longer. Seconds, and requests per second."""
    if wait < 0:
        return 0.0
    arrivals, each, limit = Decimal(rate), Decimal(service), Decimal(wait)
    total = Decimal(0)
    for k in range(floor(wait / service + 1e-12) + 1):
        x = arrivals * (k * each - limit)
        total += (x**k if k else Decimal(1)) / factorial(k) * (-x).exp()
    return float((1 - arrivals * each) * total)


def quantile(share: float, rate: float, service: float) -> float:
    """Return a quantile of the latency, which is the wait and the service, in seconds."""
    return service + bisect(0, 200 * service, lambda wait: waits_at_most(wait, rate, service) < share)


def capacity(service: float, threshold: float, objective: float) -> float:
    """The highest rate at which that share of the requests is answered within the threshold."""
    most = 0.9999 / service
    return bisect(0.01, most, lambda rate: waits_at_most(threshold - service, rate, service) >= objective)


def bisect(low: float, high: float, below: Callable[[float], bool]) -> float:
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) else (low, middle)
    return low


def simulate(arrivals: list[float], service: float) -> list[float]:
    """Latencies of requests that come at these times, in order; seconds."""
    free, latencies = 0.0, []
    for arrival in arrivals:
        free = max(free, arrival) + service
        latencies.append(free - arrival)
    return latencies
