"""Root of a function of one variable, by bisection."""

from collections.abc import Callable

# Halvings of an interval no longer than 2, to below the precision of a float.
HALVINGS = 60


def falling_root(function: Callable[[float], float], low: float = 0.0, high: float = 1.0) -> float:
    """Return where a falling function becomes zero, or the nearer end where its sign does not change in between."""
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if function(middle) > 0 else (low, middle)
    return (low + high) / 2
