"""Making of the reference for drift of an existing release: its checkpoint is not needed, and no answer changes."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from handler.components import FILE as COMPONENTS_FILE
from handler.files import UserError, sha256_file, write_atomic
from handler.release import read_release, verify_file
from training.data.manifest import Manifest
from training.release.network_file import NETWORK, WEIGHTS
from training.release.reference import LEAST_PICTURES, SAMPLE, make_reference, write_reference


def add_reference(
    release: Path, source: Manifest | Sequence[Path], on_stage: Callable[[str], None] = lambda stage: None
) -> dict[str, Any]:
    """Write the reference of a release into its release.json, in the place of the one there, and return it.

    Args:
        source: a manifest, whose val split is measured, or files of pictures such as users send.

    Raises:
        UserError: the release is incomplete or corrupted, was not trained on this manifest, or there are too few
            pictures.
    """
    facts = read_release(release)
    for name in (NETWORK, WEIGHTS):
        verify_file(release, name, facts.files.get(name, "not listed"))
    values = json.loads((release / "release.json").read_bytes())
    if isinstance(source, Manifest):
        check_manifest(values, source, ", or pictures that it was not trained on by --pictures")
        reference = make_reference(release, source, facts.input, facts.classes, on_stage)
    elif len(source) >= LEAST_PICTURES:
        on_stage(f"measuring {len(source)} pictures")
        pictures = (path.read_bytes() for path in source)
        reference = write_reference(release, pictures, facts.input, facts.classes)
    else:
        reference = None
    if reference is None:
        raise UserError(f"A reference takes at least {LEAST_PICTURES} pictures: with fewer, drift looks like chance.")
    files = {name: sha256 for name, sha256 in values["files"].items() if name != COMPONENTS_FILE}
    names = [SAMPLE, *([COMPONENTS_FILE] if "components" in reference else [])]
    values["files"] = files | {name: sha256_file(release / name) for name in names}
    write_atomic(release / "release.json", json.dumps({**values, "reference": reference}, indent=2).encode() + b"\n")
    if COMPONENTS_FILE not in names:
        (release / COMPONENTS_FILE).unlink(missing_ok=True)
    return reference


def check_manifest(values: dict[str, Any], manifest: Manifest, alternative: str = "") -> None:
    """Raise UserError where the release was neither trained nor evaluated on this manifest's split.

    Args:
        alternative: what else the verb takes, as the end of the error's sentence.
    """
    known = {values.get("manifest_sha256"), values.get("evaluated_manifest_sha256")}
    if manifest.sha256 not in known:
        raise UserError(
            "The release was trained on another manifest, so that it may know the val and test pictures of this one. "
            f"Name the folder of its own manifest by --data{alternative}."
        )
