"""The grid of a sweep: every combination of the values that keys of the config are given."""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from handler.files import UserError
from training.tracking.naming import NAMED


@dataclass(frozen=True, slots=True)
class Point:
    """One combination.

    Attributes:
        name: of the run's folder, made of the keys that vary.
        values: of the keys that vary, as they were written.
        overrides: every `section.key=value`, for --set.
    """

    name: str
    values: dict[str, str]
    overrides: list[str]

    def name_in_tracker(self, usual: str) -> str:
        """Return the run's usual name, with the varied values that it does not hold."""
        more = [f"{_last(key)}{value}" for key, value in self.values.items() if key not in NAMED]
        return "_".join([usual, *more])


def make_grid(settings: Sequence[str]) -> list[Point]:
    """Return the combinations of settings such as `train.learning_rate=0.05,0.1`; the last key varies first.

    Raises:
        UserError: no key has several values, a key is named twice, or a setting is none.
    """
    choices: dict[str, list[str]] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or "." not in key:
            raise UserError(f"--set takes section.key=value,value, for example train.epochs=2,4, not {setting!r}.")
        if key in choices:
            raise UserError(f"{key} is set twice: give all of its values in one --set, separated by commas.")
        choices[key] = list(dict.fromkeys(text.split(",")))
    varied = [key for key, values in choices.items() if len(values) > 1]
    if not varied:
        raise UserError("A sweep needs a key with several values, for example --set train.learning_rate=0.05,0.1")
    points = []
    for combination in itertools.product(*choices.values()):
        values = dict(zip(choices, combination, strict=True))
        name = "_".join(f"{_last(key)}-{re.sub(r'[^A-Za-z0-9.+-]+', '.', values[key])}" for key in varied)
        points.append(Point(name, {key: values[key] for key in varied}, [f"{k}={v}" for k, v in values.items()]))
    if len({point.name for point in points}) < len(points):
        raise UserError("Two runs of the sweep would have the same name: their values differ only in punctuation.")
    return points


def _last(key: str) -> str:
    return key.partition(".")[2]
