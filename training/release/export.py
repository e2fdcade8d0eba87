"""A checkpoint -> a release: model.safetensors, model.onnx, release.json, MODEL_CARD.md.

    catsdogs export --data data --run runs/first --version 1.0.0

The temperature that `evaluate` fitted on the val split goes into the last layer, so that probabilities are calibrated.
Kernels are stored as fp16 (half the size) where that moves no probability by much, and computed in fp32; norms and
biases stay fp32. A model that is not shown to be better than the most common class is refused. Real pictures are
answered by the checkpoint, by torch with the stored weights and by every runtime of CPUs, and where two of them differ
there is no release.
"""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch

from handler.files import UserError, write_atomic
from handler.preprocess import InputSpec, Pixels, decode
from handler.release import golden_pixels
from handler.runtimes.runtime import Logits
from training.data.even import evenly
from training.data.manifest import Manifest, Picture
from training.data.pictures import read_picture
from training.data.trained_on import FILE as RECORD
from training.evaluation.card import model_card
from training.learning.checkpoint import Checkpoint, load_trained
from training.learning.model import Classifier, State, head_of
from training.learning.weights import TEMPERATURE
from training.release.bom import check_license
from training.release.compare_runtimes import compare_runtimes
from training.release.description import describe
from training.release.int8.add import add_int8
from training.release.kernels import choose_kernels
from training.release.network_file import NETWORK, WEIGHTS, join
from training.release.onnx_model import refer_to, to_onnx
from training.release.reference import make_reference
from training.release.refusals import check_address, refuse_other_things
from training.release.scratch import put_in_place, scratch_beside
from training.release.unsure import make_unsure
from training.release.versions import forget, keep_current, prune, refuse_other_weights
from training.release.worth import refuse_poor

KEEP = 5
PARITY_PICTURES = 256


def choose_input(
    checkpoint: Checkpoint, report: dict[str, Any] | None, size: int | None, resize: str | None
) -> InputSpec:
    """Return the input that is asked for, else the one that was evaluated, else the one of the run's config.

    Raises:
        UserError: the figures were measured at another input than is asked for.
    """
    usual = checkpoint.config["input"]
    measured = InputSpec(**(report.get("input", usual) if report else usual))
    spec = InputSpec(size or measured.size, resize or measured.resize)  # type: ignore[arg-type]
    if report and spec != measured:
        raise UserError(
            f"The figures are of {measured.size} pixels by the rule {measured.resize}, the release would be of "
            f"{spec.size} by {spec.resize}: run catsdogs evaluate at that first."
        )
    return spec


def export(
    checkpoint: Checkpoint,
    manifest: Manifest,
    out: Path,
    version: str,
    report: dict[str, Any] | None,
    on_stage: Callable[[str], None] = lambda stage: None,
    *,
    name: str = "catsdogs",
    size: int | None = None,
    resize: str | None = None,
    decisions: dict[str, Any] | None = None,
    allow_poor: bool = False,
    checkpoint_sha256: str | None = None,
    run_id: str | None = None,
    replace: bool = False,
    keep: int = KEEP,
    int8: bool = True,
    license: str | None = None,
) -> dict[str, Any]:
    """Write a release to `out`, in the place of the one there; nothing changes where it fails or is killed.

    Args:
        manifest: pictures to compare answers on, of the checkpoint's classes.
        report: of `evaluate` on the same checkpoint, for release.json and the card.
        name: the model's, as it is addressed.
        size: side of the input in pixels, see `choose_input`.
        resize: rule of handler/preprocess.py, see `choose_input`.
        decisions: how rule and size were chosen, as measured, for release.json and the card.
        allow_poor: whether a model may be no better than the most common class.
        checkpoint_sha256: of the checkpoint's file, for release.json.
        run_id: of the training run in its tracker, for release.json and the server's answers.
        replace: also a release with the same version and other weights.
        keep: earlier releases that stay, see training/release/versions.py.
        int8: whether an int8 network is tried.
        license: of the weights, an SPDX expression.

    Returns:
        What release.json says.

    Raises:
        UserError: a runtime answers otherwise than torch, the manifest has other classes, there is nothing to compare
            on, the report shows a poor model, the version is taken, or `out` is in the way.
    """
    check_address(name, version)
    licensed = {"license": check_license(license)} if license else {}
    spec = choose_input(checkpoint, report, size, resize)
    if report and report["slices"] and not allow_poor:
        refuse_poor(report)
    pictures = compared_pictures(manifest, checkpoint)
    out = out.resolve()
    refuse_other_things(out)
    temperature = float((report or {}).get("temperature", {}).get("value", 1.0))
    with scratch_beside(out) as made:
        on_stage(f"answering {len(pictures)} pictures by torch")
        real = np.stack([decode(read_picture(manifest.root, picture), spec) for picture in pictures])
        measured = make_network(made, checkpoint, temperature, spec, real, on_stage)
        if int8 and report and report["manifest_sha256"] == manifest.sha256:
            measured |= add_int8_to(made, manifest, checkpoint.classes, spec, on_stage)
        reference = make_reference(made, manifest, spec, checkpoint.classes, on_stage)
        unsure = make_unsure(made, manifest, spec, checkpoint.classes, on_stage)
        told = {
            "checkpoint_sha256": checkpoint_sha256,
            "decisions": decisions,
            "reference": reference,
            "unsure": unsure,
        }
        release = describe(name, version, checkpoint, report, made, spec, run_id, **licensed, **told, **measured)
        publish(release, made, out, replace=replace, keep=keep)
    return release


def make_network(
    made: Path,
    checkpoint: Checkpoint,
    temperature: float,
    spec: InputSpec,
    real: Pixels,
    on_stage: Callable[[str], None],
) -> dict[str, Any]:
    """Write the network, its weights and the record of its pictures, once all runtimes answer alike.

    Args:
        real: pictures to compare answers on, beside the golden ones.

    Returns:
        What was measured meanwhile, for release.json.
    """
    model = load_trained(checkpoint).to(memory_format=torch.contiguous_format)
    calibrate(model, temperature)
    golden = golden_pixels(spec.size)
    pixels = np.concatenate([real, golden])
    state, stored, kernels, rounding = choose_kernels(model, by_torch(model), pixels)
    on_stage("exporting to ONNX")
    write_network(made, model, state, spec.size, temperature)
    if checkpoint.trained_on is not None:
        write_atomic(made / RECORD, checkpoint.trained_on)
    on_stage("comparing answers")
    compared = compare_runtimes(made, pixels, stored)
    return {
        "golden_logits": by_torch(model)(golden).astype(np.float64).round(5).tolist(),
        "parity": {"pictures": len(real), "patterns": len(golden), **compared, "checkpoint": rounding},
        "temperature": temperature,
        "kernels": kernels,
    }


def add_int8_to(
    made: Path, manifest: Manifest, classes: list[str], spec: InputSpec, on_stage: Callable[[str], None]
) -> dict[str, Any]:
    """Quantise the network of a release, and return what release.json says of it."""
    on_stage("quantising to int8")
    with tempfile.TemporaryDirectory(prefix="network-", dir=made.parent) as folder:
        network = Path(folder, NETWORK)
        network.write_bytes(join((made / NETWORK).read_bytes(), memoryview((made / WEIGHTS).read_bytes())))
        return add_int8(
            network,
            made,
            manifest,
            classes,
            spec,
            lambda done, total: on_stage(f"judging int8 by {done} of {total} test pictures"),
        )


def compared_pictures(manifest: Manifest, checkpoint: Checkpoint) -> list[Picture]:
    """Return the pictures on which answers are compared.

    Raises:
        UserError: there are none, or the manifest has other classes than the checkpoint.
    """
    if unknown := sorted(set(manifest.classes) - set(checkpoint.classes)):
        raise UserError(f"The manifest has a class that the checkpoint does not know: {unknown[0]}.")
    pictures = evenly(manifest.split("test") or manifest.split("val"), PARITY_PICTURES)
    if not pictures:
        raise UserError("The manifest has no picture in its test or val split to compare answers on.")
    return pictures


def write_network(made: Path, model: Classifier, state: State, size: int, temperature: float) -> None:
    """Write the weights, and the ONNX network that refers to them."""
    weights = safetensors.torch.save(state, {TEMPERATURE: repr(temperature)})
    network = refer_to(to_onnx(model, size), weights)
    write_atomic(made / WEIGHTS, weights)
    write_atomic(made / NETWORK, network.SerializeToString(deterministic=True))


def publish(release: dict[str, Any], made: Path, out: Path, *, replace: bool, keep: int) -> None:
    """Write card and release.json, and put the release in the place of the one in `out`, which is kept.

    Raises:
        UserError: its version is taken by other weights, which `replace` does not allow.
    """
    version = release["version"]
    write_atomic(made / "MODEL_CARD.md", model_card(release).encode())
    write_atomic(made / "release.json", json.dumps(release, indent=2).encode() + b"\n")
    if not replace:
        refuse_other_weights(out, version, release["files"][WEIGHTS])
    keep_current(out, version)
    put_in_place(made, out)
    forget(out, version)
    prune(out, keep)


def calibrate(model: Classifier, temperature: float) -> None:
    """Divide the logits by a temperature, in the last layer itself: probabilities then mean what they say (Guo et
    al., arXiv 1706.04599), in every runtime and at no cost. No verdict changes."""
    with torch.no_grad():
        for parameter in head_of(model.backbone).parameters():
            parameter.div_(temperature)


def by_torch(model: Classifier) -> Callable[[Pixels], Logits]:
    @torch.inference_mode()
    def logits(pixels: Pixels) -> Logits:
        return np.asarray(model(torch.from_numpy(pixels)).numpy(), dtype=np.float32)

    return logits
