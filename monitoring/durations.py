"""Durations as slo.yaml writes them."""

import re

UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(value: object) -> object:
    """Return 90, "90s", "250ms", "1.5m" and "2h" as seconds, and all that is no text as it is.

    Raises:
        ValueError: a text is no duration.
    """
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)?", value.strip())
    if match is None:
        raise ValueError(f"{value!r} is not a duration: write 250ms, 90s, 3m or 1h")
    return float(match[1]) * UNITS_S[match[2] or "s"]
