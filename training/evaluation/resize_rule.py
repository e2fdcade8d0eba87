"""Squeeze or crop at serving: decided by measurement on val pictures at usual aspects, never on the test split.

catsdogs evaluate --data data --run runs/first --compare-rules    # -> rules.json
"""

import io
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import numpy as np
from PIL import Image

from handler.load_image import upright
from handler.open_image import open_image
from handler.preprocess import InputSpec, Pixels, Resize, decode
from training.data.even import evenly
from training.data.loaders import EvalPictures
from training.data.manifest import Manifest, Picture
from training.data.pictures import read_picture
from training.evaluation.metrics import SIGNIFICANT, Bools, Ints, mcnemar, proportion
from training.evaluation.sources import domains
from training.evaluation.trained import (
    DECIDED_ON,
    Progress,
    open_trained,
    origin,
    pictures_of,
    right_verdicts,
    write_json,
)

# What cameras and telephones make, in parts of 24, landscape twice as often as portrait. An assumption, kept apart
# from the photographs under test, which must not decide.
ASPECTS = {(4, 3): 8, (3, 2): 5, (16, 9): 3, (3, 4): 4, (2, 3): 3, (9, 16): 1}


def usual_aspect(sha256: str) -> tuple[int, int]:
    """Width and height of one of ASPECTS, chosen by a picture's content in proportion to the table."""
    parts = [aspect for aspect, share in ASPECTS.items() for _ in range(share)]
    return parts[int(sha256, 16) % len(parts)]


def natural(data: bytes, aspect: tuple[int, int]) -> bytes:
    """A square picture stretched to an aspect at the same area, as PNG; any other picture as it is.

    A square is taken for a picture that was squeezed to one, so this is a stand-in for what it was made from.
    """
    image = upright(open_image(data))
    if image.width != image.height:
        return data
    stretch = (aspect[0] / aspect[1]) ** 0.5
    size = (round(image.width * stretch), round(image.height / stretch))
    buffer = io.BytesIO()
    image.resize(size, Image.Resampling.BICUBIC).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


class NaturalPictures(EvalPictures):
    """Pictures as the server would see them, had they not been squeezed to squares."""

    def __getitem__(self, index: int) -> tuple[Pixels, int]:
        picture = self.pictures[index]
        data = natural(read_picture(self.root, picture), usual_aspect(picture.sha256))
        return decode(data, self.spec), self.labels[index]


def compare_rules(
    checkpoint_path: Path,
    manifest: Manifest,
    out: Path,
    limit: int | None = None,
    progress: Progress = lambda done, total: None,
) -> dict[str, Any]:
    """Accuracy by each rule of handler/preprocess.py, on val pictures at usual aspects; writes rules.json.

    The test split is reported as it is, after the choice and without a say in it.

    Args:
        limit: of the pictures of each split.

    Raises:
        UserError: as `open_trained`, or the val split is empty.
    """
    checkpoint, model, spec = open_trained(checkpoint_path, manifest)
    chosen = evenly(pictures_of(manifest, DECIDED_ON), limit)
    tested = evenly(manifest.split("test"), limit)
    rules: tuple[Resize, ...] = get_args(Resize)
    total, done = len(rules) * (len(chosen) + len(tested)), 0

    def right_by(kind: type[EvalPictures], pictures: list[Picture], rule: Resize) -> Bools:
        nonlocal done
        dataset = kind(manifest.root, pictures, checkpoint.classes, InputSpec(spec.size, rule))
        answers = right_verdicts(model, dataset, checkpoint, lambda now, _: progress(done + now, total))
        done += len(pictures)
        return answers

    right = {rule: right_by(NaturalPictures, chosen, rule) for rule in rules}
    test = mcnemar(right["squeeze"], right["crop"])
    on_test = {rule: right_by(EvalPictures, tested, rule) for rule in rules} if tested else {}
    squares = [picture for picture in chosen if picture.width == picture.height]
    aspects = Counter(usual_aspect(picture.sha256) for picture in squares)
    report = {
        **origin(checkpoint_path, manifest),
        "pictures": len(chosen),
        "size": spec.size,
        "stretched": len(squares),
        "aspects": {f"{width}:{height}": aspects[width, height] for width, height in ASPECTS},
        "rules": _shares(right, np.arange(len(chosen))),
        "mcnemar": {"only_squeeze": test["only_first"], "only_crop": test["only_second"], "p": test["p"]},
        "chosen": choose_rule(test),
        "sentence": _rule_sentence(test, len(chosen)),
        "test_pictures_as_they_are": {
            name: _shares(on_test, rows)
            for name, rows in (domains(tested, checkpoint.classes) if tested else {}).items()
        },
    }
    write_json(out / "rules.json", report)
    return report


def _shares(right: Mapping[Resize, Bools], rows: Ints) -> dict[Resize, dict[str, Any]]:
    """Return the accuracy of each rule on some of the pictures."""
    return {rule: asdict(proportion(int(answers[rows].sum()), len(rows))) for rule, answers in right.items()}


def choose_rule(test: dict[str, Any]) -> Resize:
    """The better rule by McNemar's test of squeeze (first) and crop; squeeze, which loses nothing, unless it is shown.

    Args:
        test: of `mcnemar`.
    """
    return "crop" if test["p"] <= SIGNIFICANT and test["only_second"] > test["only_first"] else "squeeze"


def _rule_sentence(test: dict[str, Any], count: int) -> str:
    reason = (
        "as the better one"
        if test["p"] <= SIGNIFICANT
        else "which loses no part of the picture, as neither is shown to be better"
    )
    return (
        f"{choose_rule(test)} is chosen, {reason}: of {count} val pictures at usual aspects, {test['only_first']} are "
        f"right by squeeze alone and {test['only_second']} by crop alone (McNemar p = {test['p']:.2g})."
    )
