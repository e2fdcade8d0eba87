"""Robustness of an existing release, measured and written into its release.json and its card."""

import json
from pathlib import Path
from typing import Any

from handler.files import write_atomic
from training.data.manifest import Manifest
from training.evaluation.card import model_card
from training.evaluation.robustness import Progress, measure_robustness
from training.release.add_reference import check_manifest
from training.release.add_unsure import verified
from training.release.unsure import load_networks


def add_robustness(
    release: Path, manifest: Manifest, limit: int | None = None, progress: Progress = lambda done, total: None
) -> dict[str, Any]:
    """Measure accuracy and calibration in each condition, write them into release.json and the card, and return them.

    Args:
        limit: of the pictures of each source.

    Raises:
        UserError: the release is incomplete or corrupted, was not trained on this manifest, or the test split is empty.
    """
    facts, values = verified(release)
    check_manifest(values, manifest)
    measured = measure_robustness(load_networks(release), manifest, facts.input, facts.classes, limit, progress)
    # Read again: the measurement takes minutes, and another verb may have written meanwhile.
    _, values = verified(release)
    values = {**values, "robustness": measured}
    write_atomic(release / "release.json", json.dumps(values, indent=2).encode() + b"\n")
    write_atomic(release / "MODEL_CARD.md", model_card(values).encode())
    return measured
