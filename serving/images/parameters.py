"""The parameters of the operations, as text: from a URL's query or the command line."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from common.imagenet import MEAN, STD
from handler.problem import Problem

NUMBER = re.compile(r"[0-9]{1,5}", re.ASCII)
# Parameters that an operation takes.
TAKEN: Mapping[str, tuple[str, ...]] = {
    "resize": ("width", "height"),
    "crop": ("width", "height", "left", "top"),
    "grayscale": (),
    "normalize": ("mean", "std", "format"),
    "show-input": ("format",),
}
# The first is the default.
FORMATS: Mapping[str, tuple[str, ...]] = {"normalize": ("json", "npy"), "show-input": ("png", "npy")}
# No picture has a longer side: handler/open_image.py.
MAX_SIDE = 65_535
# float32 overflows beyond.
LARGEST, LEAST_STD = 1e6, 1e-6


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters of one operation; each operation uses its own."""

    width: int | None = None
    height: int | None = None
    left: int | None = None
    top: int | None = None
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD
    format: str = ""


def read_parameters(operation: str, given: Iterable[tuple[str, str]]) -> Parameters:
    """Read the parameters of an operation.

    Raises:
        Problem: 400, one is unknown, given twice, or not what it must be.
    """
    values: dict[str, str] = {}
    for name, text in given:
        if name not in TAKEN[operation]:
            takes = " and ".join((", ".join(TAKEN[operation][:-1]), TAKEN[operation][-1])) if TAKEN[operation] else ""
            raise bad(f"{operation} takes {takes.removeprefix(' and ') or 'no parameters'}, and not {name[:40]!r}.")
        if name in values:
            raise bad(f"{name} is given more than once.")
        values[name] = text
    return Parameters(
        width=_whole(values, "width", least=1),
        height=_whole(values, "height", least=1),
        left=_whole(values, "left", least=0),
        top=_whole(values, "top", least=0),
        mean=_colours(values, "mean", MEAN, -LARGEST),
        std=_colours(values, "std", STD, LEAST_STD),
        format=_format(operation, values.get("format")),
    )


def _whole(values: Mapping[str, str], name: str, least: int) -> int | None:
    text = values.get(name)
    if text is None:
        return None
    if not NUMBER.fullmatch(text) or not least <= int(text) <= MAX_SIDE:
        raise bad(f"{name} must be a whole number from {least} to {MAX_SIDE}.")
    return int(text)


def _colours(values: Mapping[str, str], name: str, default: tuple[float, ...], least: float) -> tuple[float, ...]:
    text = values.get(name)
    if text is None:
        return default
    try:
        numbers = tuple(float(word) for word in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != 3 or not all(math.isfinite(number) and least <= number <= LARGEST for number in numbers):
        raise bad(f"{name} must be three numbers, for red, green and blue, such as 0.5,0.5,0.5.")
    return numbers


def _format(operation: str, text: str | None) -> str:
    formats = FORMATS.get(operation, ("png",))
    if text is None:
        return formats[0]
    if text not in formats:
        raise bad(f"format must be {' or '.join(formats)}.")
    return text


def bad(detail: str) -> Problem:
    return Problem(400, "bad_request", detail)
