"""release.json: what a release says of itself."""

import hashlib
import json
from pathlib import Path
from typing import Any

from handler.files import sha256_file
from handler.preprocess import InputSpec
from training.learning.checkpoint import Checkpoint


def describe(
    name: str,
    version: str,
    checkpoint: Checkpoint,
    report: dict[str, Any] | None,
    made: Path,
    spec: InputSpec,
    run_id: str | None = None,
    **measured: Any,
) -> dict[str, Any]:
    """Return the content of release.json.

    Args:
        report: of `evaluate`.
        run_id: of the training run in its tracker.
        made: folder of the release's other files, whose sha256 it lists.
        measured: members that the export has measured or was told.
    """
    return {
        "name": name,
        "version": version,
        "classes": checkpoint.classes,
        "names": checkpoint.names,
        "input": {"size": spec.size, "resize": spec.resize},
        "files": {path.name: sha256_file(path) for path in sorted(made.iterdir())},
        "manifest_sha256": checkpoint.manifest_sha256,
        "evaluated_manifest_sha256": report["manifest_sha256"] if report else None,
        "config": checkpoint.config,
        "config_sha256": hashlib.sha256(json.dumps(checkpoint.config, sort_keys=True).encode()).hexdigest(),
        "teacher": checkpoint.teacher,
        "start": checkpoint.start,
        **({"averaged": checkpoint.averaged} if checkpoint.averaged else {}),
        "git_sha": checkpoint.git_sha,
        "versions": checkpoint.versions,
        "epochs": checkpoint.epoch,
        **({"run_id": run_id} if run_id else {}),
        "calibration": report.get("temperature") if report else None,
        "metrics": report["slices"] if report else None,
        **measured,
    }
