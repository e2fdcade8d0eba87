"""The verdicts of every gate, such as the load test and the comparison of models, and their exit statuses."""

from enum import StrEnum


class Verdict(StrEnum):
    """The outcome of a gate, or of one objective in it."""

    PASS = "PASS"  # noqa: S105
    BREACH = "BREACH"
    """An objective is not kept, or the new model is worse."""
    INCONCLUSIVE = "INCONCLUSIVE"
    """Too few requests or pictures to decide."""
    INVALID = "INVALID"
    """The measurement cannot be trusted, such as where the load generator was too slow."""
    NOT_READY = "NOT_READY"
    """The target, such as a server, is not ready."""

    @property
    def exit_code(self) -> int:
        """The exit status of a gate that ends with this verdict."""
        return EXIT_CODES[self]


EXIT_CODES = {
    Verdict.PASS: 0,
    Verdict.BREACH: 10,
    Verdict.INCONCLUSIVE: 11,
    Verdict.INVALID: 12,
    Verdict.NOT_READY: 13,
}
# What is shown to be broken is broken, whatever else is not known.
WORST_FIRST = (Verdict.NOT_READY, Verdict.BREACH, Verdict.INVALID, Verdict.INCONCLUSIVE, Verdict.PASS)
WRONG_USAGE = 2
"""The exit status where the gate was called wrongly: there is no verdict."""
