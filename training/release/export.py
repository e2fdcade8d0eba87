"""A checkpoint -> a release: model.safetensors, model.onnx, release.json, MODEL_CARD.md.

    catsdogs export --data data --run runs/first --version 1.0.0

The temperature that `evaluate` fitted on the val split goes into the last layer, so that probabilities are calibrated.
Kernels are stored as fp16 (half the size) where that moves no probability by much, and computed in fp32; norms and
biases stay fp32. A model that is not shown to be better than the most common class is refused. Real pictures are
answered by the checkpoint, by torch with the stored weights, by ONNX Runtime and by MNN, and where two of them differ
there is no release.
"""

import hashlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch

from handler.files import UserError, sha256_file, write_atomic
from handler.preprocess import InputSpec, Pixels, decode
from handler.release import check_name, golden_pixels, read_release
from handler.runtimes import Logits
from handler.runtimes.mnn_runtime import MnnRuntime
from handler.runtimes.ort_runtime import OrtRuntime
from training.data.even import evenly
from training.data.manifest import Manifest
from training.data.pictures import read_picture
from training.data.trained_on import FILE as RECORD
from training.evaluation.card import model_card
from training.learning.checkpoint import Checkpoint, load_trained
from training.learning.model import Classifier, head_of
from training.learning.weights import TEMPERATURE
from training.release import parity
from training.release.kernels import choose_kernels
from training.release.onnx_model import to_onnx
from training.release.package import convert_to_mnn
from training.release.scratch import put_in_place, scratch_beside
from training.release.versions import forget, keep_current, prune, refuse_other_weights
from training.release.worth import refuse_poor

FILES = {"MODEL_CARD.md", "model.onnx", "model.safetensors", "release.json", RECORD}
KEEP = 5
PARITY_PICTURES = 256


def read_evaluation(folder: Path, checkpoint: Path) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Return what `evaluate` wrote about a checkpoint: its report on the test split, and its decisions by subject.

    None stands for what is not there or is of another checkpoint or split.

    Raises:
        UserError: a file is not JSON.
    """
    sha256 = sha256_file(checkpoint)

    def read(name: str) -> dict[str, Any] | None:
        try:
            values = json.loads((folder / name).read_bytes())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise UserError(f"{folder / name} is broken: run catsdogs evaluate again.") from error
        return values if isinstance(values, dict) and values.get("checkpoint_sha256") == sha256 else None

    report = read("report.json")
    decisions = {subject: read(name) for subject, name in (("resize", "rules.json"), ("size", "sizes.json"))}
    measured = {subject: values for subject, values in decisions.items() if values is not None}
    return report if report and report.get("split") == "test" else None, measured or None


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


def refuse_other_things(out: Path) -> None:
    """Raises UserError where `out` is there and is not a release, or holds more: it will be deleted."""
    if not out.exists():
        return
    if not out.is_dir():
        raise UserError(f"{out} is not a folder. Name one for the release.")
    if out.is_mount():
        raise UserError(f"{out} is a mounted folder, which cannot be replaced as a whole. Name a folder in it.")
    found = {path.name for path in out.iterdir()}
    if others := sorted(found - FILES):
        raise UserError(f"{out} holds {others[0]}, which is of no release, and would be lost. Name another folder.")
    if found:
        read_release(out)


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
    replace: bool = False,
    keep: int = KEEP,
) -> dict[str, Any]:
    """Writes a release to `out`, in the place of the one there; nothing changes where it fails or is killed.

    Args:
        manifest: pictures to compare answers on, of the checkpoint's classes.
        report: of `evaluate` on the same checkpoint, for release.json and the card.
        name: the model's, as it is addressed.
        size: side of the input in pixels, see `choose_input`.
        resize: rule of handler/preprocess.py, see `choose_input`.
        decisions: how rule and size were chosen, as measured, for release.json and the card.
        allow_poor: whether a model may be no better than the most common class.
        checkpoint_sha256: of the checkpoint's file, for release.json.
        replace: also a release with the same version and other weights.
        keep: earlier releases that stay, see training/release/versions.py.

    Returns:
        What release.json says.

    Raises:
        UserError: two computations answer differently (see training/release/parity.py), the manifest has other
            classes, there is nothing to compare on, the report shows a poor model, the version is taken, or `out` is
            in the way.
    """
    if unknown := sorted(set(manifest.classes) - set(checkpoint.classes)):
        raise UserError(f"The manifest has a class that the checkpoint does not know: {unknown[0]}.")
    try:
        for word in (name, version):
            check_name(word)
    except ValueError as error:
        raise UserError(f"A release's name and version become part of its address: {error}") from error
    spec = choose_input(checkpoint, report, size, resize)
    if report and report["slices"] and not allow_poor:
        refuse_poor(report)
    pictures = evenly(manifest.split("test") or manifest.split("val"), PARITY_PICTURES)
    if not pictures:
        raise UserError("The manifest has no picture in its test or val split to compare answers on.")
    out = out.resolve()
    refuse_other_things(out)
    model = load_trained(checkpoint).to(memory_format=torch.contiguous_format)
    temperature = float((report or {}).get("temperature", {}).get("value", 1.0))
    calibrate(model, temperature)
    with scratch_beside(out) as made:
        on_stage(f"answering {len(pictures)} pictures by torch")
        golden = golden_pixels(spec.size)
        real = np.stack([decode(read_picture(manifest.root, picture), spec) for picture in pictures])
        pixels = np.concatenate([real, golden])
        state, stored, kernels, rounding = choose_kernels(model, by_torch(model), pixels)

        on_stage("exporting to ONNX")
        proto = to_onnx(model, spec.size)
        write_atomic(made / "model.onnx", proto.SerializeToString(deterministic=True))
        write_atomic(made / "model.safetensors", safetensors.torch.save(state, {TEMPERATURE: repr(temperature)}))
        if checkpoint.trained_on is not None:
            write_atomic(made / RECORD, checkpoint.trained_on)
        on_stage("comparing answers")
        found = {
            "pictures": len(pictures),
            "patterns": len(golden),
            **compare_runtimes(made / "model.onnx", pixels, stored),
            "checkpoint": rounding,
        }
        release = {
            "name": name,
            "version": version,
            "classes": checkpoint.classes,
            "names": checkpoint.names,
            "input": {"size": spec.size, "resize": spec.resize},
            "files": {path.name: sha256_file(path) for path in sorted(made.iterdir())},
            "golden_logits": by_torch(model)(golden).astype(np.float64).round(5).tolist(),
            "parity": found,
            "manifest_sha256": checkpoint.manifest_sha256,
            "evaluated_manifest_sha256": report["manifest_sha256"] if report else None,
            "checkpoint_sha256": checkpoint_sha256,
            "config": checkpoint.config,
            "config_sha256": hashlib.sha256(json.dumps(checkpoint.config, sort_keys=True).encode()).hexdigest(),
            "teacher": checkpoint.teacher,
            "start": checkpoint.start,
            "git_sha": checkpoint.git_sha,
            "versions": checkpoint.versions,
            "epochs": checkpoint.epoch,
            "decisions": decisions,
            "temperature": temperature,
            "calibration": report.get("temperature") if report else None,
            "kernels": kernels,
            "metrics": report["slices"] if report else None,
        }
        write_atomic(made / "MODEL_CARD.md", model_card(release).encode())
        write_atomic(made / "release.json", json.dumps(release, indent=2).encode() + b"\n")
        if not replace:
            refuse_other_weights(out, version, release["files"]["model.safetensors"])
        keep_current(out, version)
        put_in_place(made, out)
        forget(out, version)
        prune(out, keep)
    return release


def calibrate(model: Classifier, temperature: float) -> None:
    """Divides the logits by a temperature, in the last layer itself: probabilities then mean what they say (Guo et
    al., arXiv 1706.04599), in every runtime and at no cost. No verdict changes."""
    with torch.no_grad():
        for parameter in head_of(model.backbone).parameters():
            parameter.div_(temperature)


def by_torch(model: Classifier) -> Callable[[Pixels], Logits]:
    @torch.inference_mode()
    def logits(pixels: Pixels) -> Logits:
        return np.asarray(model(torch.from_numpy(pixels)).numpy(), dtype=np.float32)

    return logits


def compare_runtimes(onnx_path: Path, pixels: Pixels, wanted: Logits) -> dict[str, Any]:
    """Holds ONNX Runtime and MNN against torch with the same weights; for release.json's `parity`."""
    by_ort = parity.answers(OrtRuntime(onnx_path, threads=1).logits, pixels)
    with tempfile.TemporaryDirectory(prefix="mnn-", dir=onnx_path.parent.parent) as folder:
        convert_to_mnn(onnx_path, Path(folder, "model.mnn"))
        by_mnn = parity.answers(MnnRuntime(Path(folder, "model.mnn"), threads=1).logits, pixels)
    return {
        **parity.compare(by_ort, wanted, parity.ONNX_RUNTIME, "The ONNX", "torch"),
        "mnn": parity.compare(by_mnn, wanted, parity.MNN, "The ONNX converted to MNN", "torch"),
    }
