"""The demo's model: a network of an archive in one file, and the facts about it."""

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from handler.calibration import uncalibrated_in
from handler.class_maps import Head, NoMaps, find_head
from handler.files import UserError
from handler.members import CARD
from handler.onnx_graph import Graph, with_output
from handler.release import FEW, TOP, Release, read_release
from handler.runtimes.onnx_files import FP32_FILE, INT8_FILE
from handler.runtimes.runtime import INT8
from handler.unsure import threshold_of
from serving.server.archive import unpack


def model_facts(archive: Path, precision: str, out: Path, runtime: Path) -> dict[str, Any]:
    """Write the network of an archive, the weights of its last layer and its card; return what model.json says of them.

    Args:
        precision: fp32 or int8.
        out: the demo's folder.
        runtime: the WebAssembly in it.

    Raises:
        UserError: the archive cannot be read, is not sound, or does not have the precision.
    """
    with tempfile.TemporaryDirectory() as scratch:
        unpack(archive, Path(scratch))
        release = read_release(Path(scratch))
        if precision not in release.golden_logits:
            raise UserError(f"{archive} has no network in {precision}.")
        path = Path(scratch) / (INT8_FILE if precision == INT8 else FP32_FILE)
        network, head = path.read_bytes(), _head(path)
        card = Path(scratch) / CARD
        if card.is_file():
            # As text, which each browser shows.
            shutil.copyfile(card, out / "model-card.txt")
    if head is not None:
        network = with_output(network, head.tensor)
    files: dict[str, Any] = {
        "network": _write(out, "network", "onnx", network),
        "runtime": {"name": str(runtime.relative_to(out)), "bytes": runtime.stat().st_size},
        "head": None if head is None else _write(out, "head", "bin", _numbers(head)),
    }
    links = [{"text": "About the model", "href": "model-card.txt"}] if (out / "model-card.txt").exists() else []
    return _facts(release, precision, head) | {"files": files, "links": links}


def _head(network: Path) -> Head | None:
    """Return the end of the network, from which class activation maps follow, where it has them."""
    try:
        return find_head(Graph(network))
    except NoMaps:
        return None


def _numbers(head: Head) -> bytes:
    """Return the weights of the last layer, float32 (classes, channels), and then its bias, (classes,)."""
    return b"".join(np.ascontiguousarray(part, "<f4").tobytes() for part in (head.weights, head.bias))


def _write(out: Path, stem: str, ending: str, content: bytes) -> dict[str, Any]:
    """Write a file that is named by its content, so that no cache can mix two versions."""
    name = f"{stem}.{hashlib.sha256(content).hexdigest()[:8]}.{ending}"
    (out / name).write_bytes(content)
    return {"name": name, "bytes": len(content)}


def _facts(release: Release, precision: str, head: Head | None) -> dict[str, Any]:
    """Return what the page and its answers say of the model."""
    return {
        "model": {
            "name": release.name,
            "version": release.version,
            "precision": precision,
            "sha256": release.weights_sha256,
            **({"run_id": release.run_id} if release.run_id else {}),
        },
        "classes": release.classes,
        "names": release.names,
        "input": {"size": release.input.size, "resize": release.input.resize},
        "threshold": threshold_of(release.unsure, precision),
        "uncalibrated": uncalibrated_in(release.uncalibrated, precision),
        # How many classes an answer names, the most probable first; null stands for all.
        "top": TOP if len(release.classes) > FEW else None,
        "head": head
        and {"tensor": head.tensor, "channels": head.weights.shape[1], "channels_last": head.channels_last},
    }
