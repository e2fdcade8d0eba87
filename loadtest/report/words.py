"""Numbers and verdicts as text for people."""

import math
import re

from common.verdicts import Verdict
from loadtest.judge.summary import Finding, Summary

SPACE = "\u00a0"
# Shown where nothing was measured.
NOTHING = "\u2013"
TIMES = "\u00d7"
JUDGED = (Verdict.PASS, Verdict.BREACH, Verdict.INCONCLUSIVE)


def duration(seconds: float | None) -> str:
    """Format seconds with three digits at most: 0.8 ms, 38 ms, 1.25 s, 12 min."""
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    if seconds >= 600:
        return f"{seconds / 60:.0f}{SPACE}min"
    # 0.9996 s would be 1,000 ms.
    return f"{seconds:.3g}{SPACE}s" if seconds >= 0.9995 else f"{1000 * seconds:.3g}{SPACE}ms"


def percent(share: float | None) -> str:
    """Format a share with as many digits as tell it from 0 % and 100 %: 12 %, 99.9 %, 0.0034 %."""
    if share is None or not math.isfinite(share):
        return NOTHING
    least = min(abs(share), abs(1 - share))
    # Rounded first, since 1 - 0.999 is a little less than 0.001.
    digits = 0 if least < 1e-12 else max(0, math.ceil(-math.log10(least) - 1e-9) - 1)
    text = f"{100 * share:.{digits}f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text}{SPACE}%"


def plain(text: str) -> str:
    """Return the text with ordinary spaces, for terminals and logs, which people search."""
    return text.replace(SPACE, " ")


def unbroken(text: str) -> str:
    """Return the text with a space before each unit at which no line is broken."""
    return re.sub(r"(?<=\d) (?=%|s\b|ms\b|min\b)", SPACE, text)


def rate(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return NOTHING
    return f"{value:,.0f}/s" if value >= 100 else f"{value:.1f}/s".replace(".0/s", "/s")


def times(ratio: float | None) -> str:
    """Format a ratio with a multiplication sign before it; infinite where it grew from 0."""
    if ratio is None:
        return NOTHING
    return f"{TIMES}\u221e" if math.isinf(ratio) else f"{TIMES}{ratio:.2f}"


def size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g}{SPACE}{unit}"
        count /= 1000
    return f"{count:.3g}{SPACE}TB"


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def weaker(finding: Finding) -> bool:
    """Did the gate assert less than the objective?"""
    return finding.asserted < finding.objective


def verdict_of(finding: Finding, summary: Summary) -> Verdict:
    """Return an objective's verdict, or the test's where that says that the measurement cannot be judged."""
    return finding.verdict if summary.verdict in JUDGED else summary.verdict
