"""Names of runs that are likely mistyped."""

from pathlib import Path


def mistyped(run: Path) -> Path | None:
    """Return the run beside `run` whose name it likely is: two letters swapped, or one missing or too many.

    Another letter or digit, or a longer ending, is how runs are told apart: model-a and model-b, retrain-1 and
    retrain-2, release and release-larger.
    """
    beside = sorted(path.parent for path in run.parent.glob("*/last.pt"))
    return next(
        (path for path in beside if _swapped(run.name, path.name) or _letter_missing(run.name, path.name)), None
    )


def _swapped(name: str, other: str) -> bool:
    """Whether two neighbouring letters stand the other way round."""
    return any(
        name[:at] + name[at + 1] + name[at] + name[at + 2 :] == other and name[at : at + 2].isalpha()
        for at in range(len(name) - 1)
        if name[at] != name[at + 1]
    )


def _letter_missing(name: str, other: str) -> bool:
    """Whether one of the names has one letter more, and not at its end."""
    short, long = sorted((name, other), key=len)
    return any(long[:at] + long[at + 1 :] == short and long[at].isalpha() for at in range(len(long) - 1))
