"""A model that is compared: a checkpoint, a release's folder or an archive, as it would answer."""

import json
import zipfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from handler.files import UserError, sha256_file
from handler.members import LIST, MAX_BYTES, check_member_name, list_of
from handler.predictor import Predictor
from handler.preprocess import InputSpec, Pixels
from handler.runtimes.runtime import Logits
from training.data.loaders import EvalPictures, eval_loader
from training.data.manifest import Manifest
from training.evaluation.metrics import Floats
from training.evaluation.slices import brightness, sharpness
from training.learning.checkpoint import load_checkpoint, load_trained
from training.learning.start import known_pictures, released_pictures, unknown_ancestor

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Contestant:
    """A model that answers, and what is known of it."""

    path: Path
    classes: list[str]
    input: InputSpec
    logits: Callable[[Pixels], Logits]
    facts: dict[str, Any]
    """Facts for the report: kind, sha256 of the weights or the checkpoint, name and version of a release."""
    trained_on: bytes | None
    """The record of its pictures, see training/data/trained_on.py; None where nobody knows."""
    unknown_ancestor: str | None
    """A release that it comes from of which nobody knows the pictures."""


def open_contestant(path: Path, manifest: Manifest, stack: ExitStack) -> Contestant:
    """Load a model; what an archive was unpacked to lasts as long as `stack`.

    Raises:
        UserError: it cannot be read, or does not answer as it must.
    """
    if path.is_dir():
        refuse_run(path)
        return _of_release(path, path, manifest, "release")
    if path.suffix == ".mar":
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="catsdogs-compare-")))
        unpack(path, folder)
        return _of_release(path, folder, manifest, "archive")
    checkpoint = load_checkpoint(path)
    model = load_trained(checkpoint)
    try:
        trained_on = known_pictures(checkpoint, manifest, str(path))
    except UserError:
        trained_on = None
    return Contestant(
        path,
        checkpoint.classes,
        InputSpec(**checkpoint.config["input"]),
        _by_torch(model),
        {
            "path": str(path),
            "kind": "checkpoint",
            "sha256": sha256_file(path),
            "manifest_sha256": checkpoint.manifest_sha256,
        },
        trained_on,
        unknown_ancestor(checkpoint.start),
    )


def refuse_run(folder: Path) -> None:
    """Refuse the folder of a run, which holds checkpoints and no release."""
    if (folder / "last.pt").exists() and not (folder / "release.json").exists():
        raise UserError(
            f"{folder} is the folder of a run, not a release. Name its checkpoint {folder / 'best.pt'}, or make a "
            f"release by: catsdogs export --run {folder}"
        )


def _of_release(path: Path, folder: Path, manifest: Manifest, kind: str) -> Contestant:
    # Of an archive whichever runtime it is for; of a release ONNX Runtime's file is there.
    predictor = Predictor(folder)
    release, values = predictor.release, json.loads((folder / "release.json").read_bytes())
    facts = {"path": str(path), "kind": kind, "name": release.name, "version": release.version}
    facts["manifest_sha256"] = values.get("manifest_sha256", "")
    return Contestant(
        path,
        release.classes,
        release.input,
        predictor.network.logits,
        {**facts, "sha256": release.weights_sha256, "runtime": predictor.runtime.name},
        released_pictures(folder, values, manifest),
        unknown_ancestor(values.get("start")),
    )


def unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive of `catsdogs package`, each member of which is the one of its list.

    Raises:
        UserError: it is missing, or is no such archive.
    """
    try:
        with zipfile.ZipFile(archive) as packed:
            members = packed.infolist()
            if sum(member.file_size for member in members) > MAX_BYTES:
                raise ValueError(f"it has more than {MAX_BYTES} bytes")
            for member in members:
                packed.extract(check_member_name(member.filename), folder)
        files = [path for path in folder.rglob("*") if path.is_file()]
        sha256s = {path.relative_to(folder).as_posix(): sha256_file(path) for path in files}
        listed = sha256s.pop(LIST, None)
        if listed is None or (folder / LIST).read_bytes() != list_of(sha256s):
            raise ValueError("its members are not those of its list")
    except FileNotFoundError as error:
        raise UserError(f"There is no archive {archive}. Make it by: catsdogs package") from error
    except (ValueError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise UserError(f"{archive} is not an archive of catsdogs, or is corrupted: {error}.") from error


def _by_torch(model: torch.nn.Module) -> Callable[[Pixels], Logits]:
    @torch.inference_mode()
    def logits(pixels: Pixels) -> Logits:
        return np.asarray(model(torch.from_numpy(pixels)).numpy(), dtype=np.float32)

    return logits


def answers(
    contestant: Contestant, pictures: EvalPictures, workers: int, progress: Progress
) -> tuple[Floats, dict[str, Floats]]:
    """Return logits (n, classes) in the order of `pictures`, and brightness and sharpness (n,) of what was seen.

    Raises:
        UserError: a logit is not finite.
    """
    rows, light, detail, done = [], [], [], 0
    for batch, _ in eval_loader(pictures, workers, batch_size=32):
        pixels = batch.numpy()
        rows.append(contestant.logits(pixels).astype(np.float64))
        light.append(brightness(pixels))
        detail.append(sharpness(pixels))
        progress(done := done + len(pixels), len(pictures))
    logits = np.concatenate(rows)
    if not np.isfinite(logits).all():
        raise UserError(f"{contestant.path} answers with numbers that are not finite.")
    return logits, {"brightness": np.concatenate(light), "sharpness": np.concatenate(detail)}
