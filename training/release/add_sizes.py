"""A release at several input sizes: accuracy on the val split and the time of its networks, in each precision."""

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from common.cores import usable_cores
from handler.files import UserError, first_line, write_atomic
from handler.preprocess import InputSpec, Pixels, decode
from handler.release import Release
from handler.runtimes.choice import Choice, by_preference, is_installed
from handler.runtimes.onnx_files import FP32_FILE, INT8_FILE
from handler.runtimes.runtime import FP32, INT8
from training.data.even import evenly
from training.data.manifest import Manifest, Picture
from training.data.pictures import read_picture
from training.evaluation.card import model_card
from training.evaluation.input_size import BATCH, KNEE, ROUNDS, median_times, size_figures
from training.evaluation.metrics import Bools
from training.evaluation.report import draw_sizes
from training.evaluation.trained import DECIDED_ON
from training.release.add_reference import check_manifest
from training.release.add_unsure import verified
from training.release.int8.add import CALIBRATION_PICTURES
from training.release.int8.quantise import quantise
from training.release.network_file import read_network
from training.release.unsure import probabilities_of

Progress = Callable[[int, int], None]
FILES = {FP32: FP32_FILE, INT8: INT8_FILE}
# Dimensions of the network's input, (n, height, width, 3).
HEIGHT, WIDTH = 1, 2


def add_sizes(
    release: Path,
    manifest: Manifest,
    sizes: Sequence[int],
    limit: int | None = None,
    picture: Path | None = None,
    progress: Progress = lambda done, total: None,
) -> dict[str, Any]:
    """Measure a release at several input sizes, write the figures into release.json and the card, and return them.

    Args:
        sizes: sides of the square, pixels.
        limit: of the val pictures.
        picture: PNG of accuracy against time that is drawn too.
        progress: called with the networks that are measured and all of them.

    Raises:
        UserError: the release is incomplete or corrupted, was not trained on this manifest, or takes pictures of one
            size only; or the val split is empty.
    """
    facts, values = verified(release)
    check_manifest(values, manifest)
    pictures = evenly(manifest.split(DECIDED_ON), limit)
    if not pictures:
        raise UserError(f"The {DECIDED_ON} split has no pictures.")
    precisions = [precision for precision, file in FILES.items() if file in facts.files]
    choices = {precision: _runtime(precision) for precision in precisions}
    with tempfile.TemporaryDirectory(prefix="catsdogs-sizes-") as folder:
        measured = _measure(release, facts, manifest, pictures, sorted(set(sizes)), choices, Path(folder), progress)
    runtimes = ", ".join(f"{precision} by {choice.runtime.title}" for precision, choice in choices.items())
    made = {
        "split": DECIDED_ON,
        "pictures": len(pictures),
        "manifest_sha256": manifest.sha256,
        "cost": f"CPU time, 1 thread, batches of {BATCH}, median of {ROUNDS} interleaved rounds, {runtimes}",
        "rule": KNEE,
        "precisions": measured,
    }
    # Read again: the measurement takes minutes, and another verb may have written meanwhile.
    _, values = verified(release)
    values = {**values, "sizes": made}
    write_atomic(release / "release.json", json.dumps(values, indent=2).encode() + b"\n")
    write_atomic(release / "MODEL_CARD.md", model_card(values).encode())
    if picture is not None:
        picture.parent.mkdir(parents=True, exist_ok=True)
        draw_sizes(measured, f"{facts.name} {facts.version}, {DECIDED_ON} split, n = {len(pictures)}", picture)
    return made


def _runtime(precision: str) -> Choice:
    """Return the fastest runtime here that reads ONNX."""
    for choice in by_preference(precision):
        if choice.model.name == FILES[precision] and is_installed(choice.runtime.package):
            return choice
    raise UserError(f"No runtime that computes in {precision} is installed here: pip install 'catsdogs[train]'")


def _measure(
    release: Path,
    facts: Release,
    manifest: Manifest,
    pictures: Sequence[Picture],
    sizes: Sequence[int],
    choices: dict[str, Choice],
    folder: Path,
    progress: Progress,
) -> dict[str, Any]:
    network = read_network(release, facts)
    right: dict[str, dict[int, Bools]] = {precision: {} for precision in choices}
    files: dict[tuple[str, int], Path] = {}
    for number, size in enumerate(sizes):
        spec = InputSpec(size, facts.input.resize)
        made = {FP32: folder / f"{size}-{FP32_FILE}", INT8: folder / f"{size}-{INT8_FILE}"}
        made[FP32].write_bytes(at_size(network, size))
        if INT8 in choices:
            calibration = evenly(manifest.split("train"), CALIBRATION_PICTURES)
            made[INT8].write_bytes(quantise(made[FP32], np.stack(_pixels(manifest, calibration, spec))))
        pixels = _pixels(manifest, pictures, spec)
        for place, (precision, choice) in enumerate(choices.items()):
            try:
                computes = choice.runtime.load(made[precision], precision, usable_cores(), None).logits
                predicted = probabilities_of(computes, pixels, len(facts.classes)).argmax(axis=1)
            except Exception as error:  # a runtime raises its own kind
                raise UserError(f"The network does not take pictures of {size} pixels: {first_line(error)}") from error
            labels = [facts.classes.index(picture.label) for picture in pictures]
            right[precision][size] = predicted == np.array(labels)
            files[precision, size] = made[precision]
            progress(number * len(choices) + place + 1, len(sizes) * len(choices))
    calls = {key: _call(choices[key[0]], path, *key) for key, path in files.items()}
    times = median_times(calls)
    return {
        precision: size_figures(shares, {size: times[precision, size] for size in sizes})
        for precision, shares in right.items()
    }


def _pixels(manifest: Manifest, pictures: Sequence[Picture], spec: InputSpec) -> list[Pixels]:
    return [decode(read_picture(manifest.root, picture), spec) for picture in pictures]


def _call(choice: Choice, path: Path, precision: str, size: int) -> Callable[[], object]:
    """Return a call that answers a batch on one thread."""
    network = choice.runtime.load(path, precision, 1, None)
    batch = np.zeros((BATCH, size, size, 3), dtype=np.uint8)
    return lambda: network.logits(batch)


def at_size(network: bytes, size: int) -> bytes:
    """Return an ONNX network in one file with an input of another size, pixels."""
    model = onnx.load_model_from_string(network)
    for side in (HEIGHT, WIDTH):
        model.graph.input[0].type.tensor_type.shape.dim[side].dim_value = size
    del model.graph.value_info[:]  # shapes inside the network, of the size that it was exported for
    changed: bytes = model.SerializeToString()
    return changed
