"""The thresholds for unsure answers of an existing release, and what they do on pictures of other things."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from handler.files import UserError, write_atomic
from handler.preprocess import InputSpec, Pixels, decode
from handler.problem import Problem
from handler.release import Release, read_release, verify_file
from handler.runtimes.onnx_files import INT8_FILE
from training.data.manifest import Manifest
from training.evaluation.card import model_card
from training.release.add_reference import check_manifest
from training.release.network_file import NETWORK, WEIGHTS
from training.release.unsure import LEAST_PICTURES, load_networks, make_unsure, probabilities_of

Stage = Callable[[str], None]


def add_unsure(release: Path, manifest: Manifest, on_stage: Stage = lambda stage: None) -> dict[str, Any]:
    """Choose the thresholds on the val split, write them into release.json and the card, and return them.

    Raises:
        UserError: the release is incomplete or corrupted, was not trained on this manifest, or it has too few pictures.
    """
    facts, values = verified(release)
    check_manifest(values, manifest)
    unsure = make_unsure(release, manifest, facts.input, facts.classes, on_stage)
    if unsure is None:
        raise UserError(f"A threshold takes at least {LEAST_PICTURES} val pictures: with fewer, it would be chance.")
    if others := _again((values.get("unsure") or {}).get("others", {}), unsure):
        unsure["others"] = others
    _write(release, {**values, "unsure": unsure})
    return unsure


def measure_others(
    release: Path, kinds: Mapping[str, Sequence[Path]], on_stage: Stage = lambda stage: None
) -> dict[str, dict[str, Any]]:
    """Measure how many pictures of other things are called unsure, and write it into release.json and the card.

    Args:
        kinds: files of pictures that show none of the classes, by what they show.

    Returns:
        By kind: the number of pictures, and by precision the threshold and the number of those called unsure.

    Raises:
        UserError: the release is incomplete or corrupted, or has no threshold.
    """
    facts, values = verified(release)
    if not facts.unsure:
        raise UserError(f"{release} has no threshold for unsure answers: make it by catsdogs unsure --data.")
    networks, measured = load_networks(release), dict[str, dict[str, Any]]()
    for kind, paths in kinds.items():
        on_stage(f"answering {len(paths)} pictures: {kind}")
        pixels = [decoded for path in paths if (decoded := _decoded(path, facts.input)) is not None]
        measured[kind] = {"count": len(pixels)}
        for precision in facts.unsure:
            rows = probabilities_of(networks[precision], pixels, len(facts.classes))
            unsure = int((rows.max(axis=1) < facts.unsure[precision]).sum())
            measured[kind][precision] = {"threshold": facts.unsure[precision], "unsure": unsure}
    _write(release, {**values, "unsure": {**values["unsure"], "others": measured}})
    return measured


def _again(others: dict[str, Any], unsure: dict[str, Any]) -> dict[str, Any]:
    """Return what was measured on other things; nothing where it was by other thresholds than those now."""
    now = {precision: facts["threshold"] for precision, facts in unsure["precisions"].items()}
    same = all(
        measured["threshold"] == now.get(precision)
        for kind in others.values()
        for precision, measured in kind.items()
        if precision != "count"
    )
    return others if same else {}


def _decoded(path: Path, spec: InputSpec) -> Pixels | None:
    """Return the network's input for a picture; None where the server would refuse it."""
    try:
        return decode(path.read_bytes(), spec)
    except Problem:
        return None


def verified(release: Path) -> tuple[Release, dict[str, Any]]:
    """Return what a release says of itself, parsed and as it stands, once its files are verified."""
    facts = read_release(release)
    names = [NETWORK, WEIGHTS, *([INT8_FILE] if INT8_FILE in facts.files else [])]
    for name in names:
        verify_file(release, name, facts.files.get(name, "not listed"))
    return facts, json.loads((release / "release.json").read_bytes())


def _write(release: Path, values: dict[str, Any]) -> None:
    write_atomic(release / "release.json", json.dumps(values, indent=2).encode() + b"\n")
    write_atomic(release / "MODEL_CARD.md", model_card(values).encode())
