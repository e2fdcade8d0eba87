"""An int8 network for a release that is there already: catsdogs quantise."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from handler.files import UserError, sha256_file, write_atomic
from handler.release import read_release
from handler.runtimes.onnx_files import INT8_FILE
from handler.runtimes.runtime import FP32, INT8
from training.data.manifest import Manifest
from training.evaluation.card import model_card
from training.release.int8.add import add_int8
from training.release.network_file import NETWORK, read_network
from training.release.scratch import put_in_place, scratch_beside
from training.release.unsure import make_unsure


def requantise(
    release: Path, manifest: Manifest, progress: Callable[[int, int], None] = lambda done, total: None
) -> dict[str, Any]:
    """Make the int8 network of a release anew, judge it, and write what release.json and the card say of it.

    Args:
        manifest: the one that the release was trained and evaluated with.

    Returns:
        What release.json says of int8.

    Raises:
        UserError: it is another manifest, or the network cannot be quantised; nothing was changed.
    """
    facts, release = read_release(release), release.resolve()
    values = json.loads((release / "release.json").read_bytes())
    measured_with = values.get("evaluated_manifest_sha256") or values.get("manifest_sha256")
    if {manifest.sha256} != {measured_with, values.get("manifest_sha256")}:
        raise UserError(
            f"{release} was made with the manifest {measured_with}, and this one is {manifest.sha256}: its test "
            "pictures may have been trained on. Name the folder of the release's own manifest by --data."
        )
    with scratch_beside(release) as made:
        for path in release.iterdir():
            if path.name != INT8_FILE:
                shutil.copyfile(path, made / path.name)
        network = made.with_name(NETWORK)
        network.write_bytes(read_network(release, facts))
        values |= add_int8(network, made, manifest, facts.classes, facts.input, progress)
        if unsure := make_unsure(made, manifest, facts.input, facts.classes):
            values["unsure"] = unsure
        for measured in ("robustness", "sizes"):  # with another int8 network
            values.pop(measured, None)
        values["files"].pop(INT8_FILE, None)
        if values["precision"] != FP32:
            values["files"][INT8_FILE] = sha256_file(made / INT8_FILE)
        write_atomic(made / "release.json", json.dumps(values, indent=2).encode() + b"\n")
        write_atomic(made / "MODEL_CARD.md", model_card(values).encode())
        put_in_place(made, release)
    told: dict[str, Any] = values["precisions"][INT8]
    return told
