"""Two models on the test pictures that neither was trained on -> compare.json, differences.jpg.

catsdogs compare model-store/catsdogs runs/next/best.pt --data data
"""

import json
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax

from common.verdicts import Verdict
from handler.files import write_atomic
from training.data.loaders import EvalPictures
from training.data.manifest import Manifest, Picture, earlier_name
from training.data.trained_on import seen, union
from training.evaluation.compare import Conclusion, by_domain, by_trait, calibration, conclude, pair
from training.evaluation.contestants import Contestant, Progress, answers, open_contestant
from training.evaluation.differences import Difference, draw_differences
from training.evaluation.metrics import Bools, Floats, Ints
from training.evaluation.sources import domains
from training.evaluation.trained import pictures_of

WORKERS = 2
SHEET = 48


def compare(
    old: Path,
    new: Path,
    manifest: Manifest,
    out: Path,
    margin: float,
    unseen_only: bool = False,
    progress: Progress = lambda done, total: None,
) -> dict[str, Any]:
    """Write the report and, where the models differ, the contact sheet to `out`, and return the report.

    Args:
        margin: the accuracy that the new model may lose, in percentage points.
        unseen_only: leave out what either was trained on; otherwise that makes the comparison INVALID.

    Raises:
        UserError: a model cannot be loaded, or the manifest has no test picture.
    """
    tested = pictures_of(manifest, "test")
    with ExitStack() as stack:
        both = {"old": open_contestant(old, manifest, stack), "new": open_contestant(new, manifest, stack)}
        report: dict[str, Any] = {
            "manifest_sha256": manifest.sha256,
            "margin_points": margin,
            "models": {which: model.facts for which, model in both.items()},
            "notes": [note for which, model in both.items() if (note := _unknown_ancestor(which, model))],
            "left_out": 0,
        }
        invalid, pictures = _judgeable(both, manifest, tested, unseen_only)
        if invalid:
            conclusion = Conclusion(Verdict.INVALID, invalid)
        else:
            report["left_out"] = len(tested) - len(pictures)
            conclusion = _measure(both, manifest, pictures, out, margin, report, progress)
    report |= {
        "verdict": conclusion.verdict,
        "exit_code": conclusion.exit_code,
        "sentence": conclusion.sentence,
    }
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(out / "compare.json", json.dumps(report, indent=2, allow_nan=False).encode() + b"\n")
    return report


def _unknown_ancestor(which: str, model: Contestant) -> str | None:
    if model.unknown_ancestor is None:
        return None
    return (
        f"{which.upper()} comes from the release {model.unknown_ancestor}, and nobody knows on which pictures that was "
        "trained: it may have seen some of these."
    )


def _judgeable(
    both: dict[str, Contestant], manifest: Manifest, tested: list[Picture], unseen_only: bool
) -> tuple[str, list[Picture]]:
    """Return why the comparison says nothing, or nothing, and the pictures that neither model was trained on."""
    old, new = both["old"], both["new"]
    if set(old.classes) != set(new.classes):
        return f"OLD knows {', '.join(old.classes)}, and NEW {', '.join(new.classes)}: they cannot be compared.", []
    if unknown := sorted({picture.label for picture in tested} - set(old.classes)):
        return f"Neither model knows {', '.join(unknown)}, which the manifest has.", []
    for which, model in both.items():
        if model.trained_on is None:
            return (
                f"{which.upper()} does not say on which pictures it was trained, so it may know these. Put the "
                f"manifest of its training into {manifest.folder} as {earlier_name(model.facts['manifest_sha256'])}.",
                [],
            )
    known = {picture.path for picture in seen(manifest, tested, union(old.trained_on or b"", new.trained_on or b""))}
    left = [picture for picture in tested if picture.path not in known]
    if not left or (known and not unseen_only):
        first = min(known)
        hint = "" if not left else " Leave them out by --unseen-only."
        return f"{len(known)} of the {len(tested)} test pictures were trained on, for example {first}.{hint}", []
    return "", left


def _measure(
    both: dict[str, Contestant],
    manifest: Manifest,
    pictures: list[Picture],
    out: Path,
    margin: float,
    report: dict[str, Any],
    progress: Progress,
) -> Conclusion:
    """Fill the report's figures and draw the contact sheet."""
    classes = both["old"].classes
    labels = np.array([classes.index(picture.label) for picture in pictures])
    verdicts: list[Ints] = []
    probabilities: list[Floats] = []
    for place, model in enumerate(both.values()):
        dataset = EvalPictures(manifest.root, pictures, model.classes, model.input)
        logits, traits = answers(model, dataset, WORKERS, partial(_shift, progress, place * len(pictures)))
        logits = logits[:, [model.classes.index(label) for label in classes]]
        verdicts.append(logits.argmax(axis=1))
        probabilities.append(softmax(logits, axis=1))
    traits["size"] = np.array([min(picture.width, picture.height) for picture in pictures], dtype=np.float64)
    old_right, new_right = (verdict == labels for verdict in verdicts)
    figures = pair(old_right, new_right)
    of_class = {label: np.flatnonzero(labels == index) for index, label in enumerate(classes)}
    report |= {
        "all": figures,
        "calibration": calibration(labels, *probabilities),
        "by_class": by_domain(of_class, old_right, new_right),
        "by_source": by_domain(domains(pictures, classes), old_right, new_right),
        "by_trait": by_trait(traits, old_right, new_right),
        "differences": _differences(manifest, pictures, classes, verdicts, old_right, new_right, out),
    }
    return conclude(figures, margin)


def _shift(progress: Progress, start: int, done: int, total: int) -> None:
    """Report the progress of one of two models."""
    progress(start + done, 2 * total)


def _differences(
    manifest: Manifest,
    pictures: list[Picture],
    classes: list[str],
    verdicts: list[Ints],
    old_right: Bools,
    new_right: Bools,
    out: Path,
) -> list[dict[str, str]]:
    """Return the pictures that get different labels, those that NEW loses first, and draw them."""
    apart = np.flatnonzero(verdicts[0] != verdicts[1])
    order = sorted(apart, key=lambda i: (int(new_right[i]) - int(old_right[i]), pictures[i].path))
    rows = [
        Difference(pictures[i].path, pictures[i].label, classes[verdicts[0][i]], classes[verdicts[1][i]]) for i in order
    ]
    sheet = out / "differences.jpg"
    sheet.unlink(missing_ok=True)
    if rows:
        out.mkdir(parents=True, exist_ok=True)
        write_atomic(sheet, draw_differences(manifest.root, rows[:SHEET]))
    return [{"path": row.path, "truth": row.truth, "old": row.old, "new": row.new} for row in rows]
