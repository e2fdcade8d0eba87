"""Table of how many pictures pass until drift is told of, and what `catsdogs drift` says of them:

    .venv-train/bin/python -m tests.monitoring.delays PHOTOS [ANIMALS]

The photographs are changed, measured as the worker measures them, and replayed at 100 and 1,000 an hour: a day without
drift, then two days of it. ANIMALS are photographs of other animals (tests/monitoring/other_animals.py), which take the
place of a share of the photographs.
"""

import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from common.verdicts import Verdict
from handler.features import Reference, parse_reference
from handler.release import read_release
from monitoring.drift.judgement import Judgement, Records, judge, read_sample, sample_of
from tests.monitoring.measuring import CLASSES, SPEC, measured
from tests.monitoring.replay import RELEASE, Pool, Traffic, alerts, pool_of, shipped
from tests.zoo import encode
from training.release.reference import Measured, describe

DAY = 1440
SHARES, DRAWS = (0.2, 0.5, 1.0), 40
Rows = list[dict[str, float | str]]
Delays = dict[tuple[str, str, int], int | None]
Verdicts = dict[tuple[str, str], list[Judgement]]


def upscaled(image: Image.Image) -> Image.Image:
    """Return the picture as if it had been enlarged five times."""
    small = image.resize((max(1, image.width // 5), max(1, image.height // 5)), Image.Resampling.BILINEAR)
    return small.resize(image.size, Image.Resampling.BICUBIC)


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "half as bright": lambda image: ImageEnhance.Brightness(image).enhance(0.5),
    "blurred (Gauss, 1 % of the longer side)": lambda image: image.filter(
        ImageFilter.GaussianBlur(max(image.size) / 100)
    ),
    "enlarged five times": upscaled,
}


def rows_of(pictures: Sequence[Measured]) -> Rows:
    return [{**picture.features, "label": picture.label} for picture in pictures]


def mixed(rows: Rows, cats: float, rng: np.random.Generator) -> Rows:
    """Return pictures of which this share is predicted as cats."""
    by_class = [[row for row in rows if row["label"] == label] for label in CLASSES]
    chosen = rng.choice(2, 1000, p=[cats, 1 - cats])
    return [by_class[index][rng.integers(len(by_class[index]))] for index in chosen]


def animals(folder: Path) -> Rows:
    """Return the photographs in a folder."""
    return rows_of(measured([path.read_bytes() for path in sorted(folder.glob("*.webp"))]))


def with_others(usual: Rows, others: Rows, share: float, rng: np.random.Generator) -> Rows:
    """Return pictures of which this share is of others, each picture once."""
    number = min(len(others), round(len(usual) * share / (1 - share))) if share < 1 else len(others)
    rest = round(number * (1 - share) / share)
    chosen = [others[index] for index in rng.permutation(len(others))[:number]]
    return [*chosen, *(usual[index] for index in rng.permutation(len(usual))[:rest])]


def recorded(rows: Rows, components: bool) -> Judgement:
    """Return what `catsdogs drift` says of 500 of these pictures at most, against the shipped reference.

    Args:
        components: whether the records hold components of the network's inner features.
    """
    release = read_release(RELEASE)
    reference = read_sample(RELEASE, release)
    if not components:
        reference = reference.without_components()
    lines = [
        {"features": {name: value for name, value in row.items() if name != "label"}, "label": row["label"]}
        for row in rows
    ]
    records = Records([{**line, "time": number} for number, line in enumerate(lines)])
    return judge(records, release, reference, sample_of(records, reference))


def delay(reference: Reference, usual: Pool, drifted: Pool, per_hour: int, rng: np.random.Generator) -> int | None:
    """Return the pictures from the beginning of drift to the alert, the median of five; None where there is none."""
    delays = []
    for _ in range(5):
        fires = alerts([(usual, DAY), (drifted, 2 * DAY)], Traffic(per_hour), reference, rng)
        firing = np.logical_or.reduce(list(fires.values()))
        assert not firing[:DAY].any(), "an alert without drift"
        delays.append(float(np.argmax(firing[DAY:])) if firing[DAY:].any() else np.inf)
    minutes = float(np.median(delays))
    return round(minutes / 60 * per_hour) if np.isfinite(minutes) else None


def judged(draws: Sequence[Rows], name: str) -> Verdicts:
    """Return what `catsdogs drift` says of each draw of records, without components and with them."""
    return {
        (name, how): [recorded(rows, components) for rows in draws]
        for how, components in (("without components", False), ("with components", True))
    }


def table(photos: Path, others: Path | None = None) -> tuple[Delays, Verdicts]:
    """Return the delays in pictures by shift, reference and pictures an hour, and what records say of each shift.

    Of a mixture records are drawn many times: with few of them the verdict is a matter of chance.
    """
    rng = np.random.default_rng(0)
    files = [path.read_bytes() for path in sorted(photos.rglob("*.jpg"))]
    usual = measured(files)
    own = parse_reference(describe(usual, SPEC, CLASSES), CLASSES)
    assert own is not None
    shifts = {
        name: rows_of(
            measured(
                [encode(change(Image.open(io.BytesIO(data)).convert("RGB")), "JPEG", quality=90) for data in files]
            )
        )
        for name, change in CHANGES.items()
    }
    shifts |= {f"{share:.0%} cats instead of half": mixed(rows_of(usual), share, rng) for share in (0.9, 0.8)}
    verdicts = judged([rows_of(usual)], "none")
    for name, rows in shifts.items():
        verdicts |= judged([rows], name)
    if others is not None:
        strange = animals(others)
        for share in SHARES:
            draws = [with_others(rows_of(usual), strange, share, rng) for _ in range(DRAWS)]
            shifts[f"{share:.0%} other animals"] = draws[0]
            verdicts |= judged(draws, f"{share:.0%} other animals")
    return delays_of(rows_of(usual), own, shifts, rng), verdicts


def delays_of(usual: Rows, own: Reference, shifts: dict[str, Rows], rng: np.random.Generator) -> Delays:
    return {
        (shift, name, per_hour): delay(reference, pool_of(usual, reference), pool_of(rows, reference), per_hour, rng)
        for shift, rows in shifts.items()
        for name, reference in (("shipped", shipped()), ("own", own))
        for per_hour in (100, 1000)
    }


if __name__ == "__main__":
    delays, verdicts = table(*map(Path, sys.argv[1:]))
    for (shift, name, per_hour), pictures in delays.items():
        print(f"{shift}, {name} reference, {per_hour} an hour: {'-' if pictures is None else pictures}")
    for (shift, how), judgements in verdicts.items():
        first = judgements[0]
        p_values = {name: round(outcome.adjusted, 4) for name, outcome in first.outcomes.items()}
        of_all = [each.outcomes["all features"].adjusted for each in judgements if each.outcomes] or [float("nan")]
        drifts = sum(each.verdict is Verdict.BREACH for each in judgements)
        print(
            f"{shift}, {how}, {first.compared} records: BREACH in {drifts} of {len(judgements)}, all features p "
            f"{min(of_all):.4f} to {max(of_all):.4f}, the first {p_values}"
        )
