"""Names that users chose, as matplotlib draws them: no mathematics, and a font that has their characters."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache

import matplotlib
from matplotlib.font_manager import fontManager
from matplotlib.ft2font import FT2Font

BASE = "DejaVu Sans"  # comes with matplotlib
LONGEST = 40
NUMBERED = "#n: the n-th class of report.json"


def plain(text: str) -> str:
    """A text that matplotlib draws as it is: dollars begin no formula, an underscore hides no legend, one line."""
    line = "".join(sign if sign.isprintable() else " " for sign in text)
    if len(line) > LONGEST:
        line = f"{line[: LONGEST - 1]}…"
    escaped = line.replace("$", r"\$")
    return f" {escaped}" if escaped.startswith("_") else escaped


@contextmanager
def lettered(texts: Iterable[str]) -> Iterator[Callable[[str], bool]]:
    """Draws with fonts that have the characters of `texts`, as far as this machine has one.

    Yields:
        Whether a text can be drawn with them.
    """
    wanted = frozenset(sign for text in texts for sign in text if sign.isprintable())
    families, known = _families(wanted)
    with matplotlib.rc_context({"font.family": list(families)}):
        yield lambda text: known.issuperset(sign for sign in text if sign.isprintable())


def class_names(classes: Sequence[str], drawable: Callable[[str], bool]) -> list[str]:
    """Each class as it is drawn; one that no font can write by its number in report.json, from 1."""
    return [plain(label) if drawable(label) else f"#{number}" for number, label in enumerate(classes, start=1)]


def title_of(text: str, classes: Sequence[str], drawable: Callable[[str], bool]) -> str:
    """A title, and below it what the numbers are where there are any."""
    first = text if drawable(text) else text.encode("ascii", "replace").decode()
    escaped = "".join(sign if sign.isprintable() else " " for sign in first).replace("$", r"\$")
    return escaped if all(map(drawable, classes)) else f"{escaped}\n{NUMBERED}"


@cache
def _families(wanted: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Families that together have the characters, and those that they have."""
    families, known = [BASE], wanted & _characters(matplotlib.font_manager.findfont(BASE))
    regular = [entry for entry in fontManager.ttflist if entry.style == "normal" and entry.weight in (400, "normal")]
    for entry in sorted(regular, key=lambda entry: (entry.size != "scalable", entry.name)):
        if known == wanted:
            break
        more = (wanted & _characters(entry.fname)) - known
        if more:
            families.append(entry.name)
            known |= more
    return tuple(families), known


@cache
def _characters(path: str) -> frozenset[str]:
    """Those that a font has outlines of."""
    try:
        font = FT2Font(path)
        return frozenset(map(chr, font.get_charmap())) if font.scalable else frozenset()
    except (OSError, RuntimeError):
        return frozenset()
