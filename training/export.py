"""A checkpoint -> a release: model.safetensors, model.onnx, release.json, MODEL_CARD.md.

Kernels are stored as fp16 (half the size) and computed in fp32; norms and biases stay fp32. The gate compares the
released ONNX in ONNX Runtime with the network of the released weights in torch, on real pictures.
"""

import copy
import hashlib
import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxscript.optimizer
import safetensors.torch
import torch
from onnx import numpy_helper

from handler.files import UserError, sha256_file, write_atomic
from handler.preprocess import InputSpec, Pixels, decode
from handler.release import golden_pixels
from handler.runtimes.ort_runtime import OrtRuntime
from training.card import model_card
from training.data import read_picture
from training.manifest import Manifest, Picture
from training.model import Checkpoint, Classifier, State, build

# Of a probability: float32 arithmetic in another order moves it by about 1e-6.
PARITY = 1e-4
PARITY_PICTURES = 256
OPSET = 20


def rounded_state(model: Classifier) -> State:
    """Kernels as fp16, everything else as it is."""
    return {
        name: (tensor.half() if tensor.ndim > 1 else tensor).contiguous(memory_format=torch.contiguous_format)
        for name, tensor in model.backbone.state_dict().items()
    }


class GlobalMean(torch.nn.Module):
    """(n, channels, height, width) -> (n, channels): what adaptive pooling to one pixel does."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3))


def to_onnx(model: Classifier, size: int) -> onnx.ModelProto:
    """`image` uint8 (n, size, size, 3) -> `logits` float32 (n, classes), dynamic n."""
    model = copy.deepcopy(model)
    model.backbone.avgpool = GlobalMean()  # exports as one node; adaptive pooling and flatten as twenty
    example = torch.zeros((2, size, size, 3), dtype=torch.uint8)
    batch = torch.export.Dim("n", min=1, max=1024)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter deprecates parts of itself
        program = torch.onnx.export(
            model,
            (example,),
            input_names=["image"],
            output_names=["logits"],
            dynamic_shapes=({0: batch},),
            opset_version=OPSET,
            dynamo=True,
            optimize=False,
            verbose=False,
        )
    assert program is not None
    # Not the exporter's own optimizer: it folds norms into kernels, which fp16 then no longer holds exactly.
    onnxscript.optimizer.fold_constants(program.model, onnx_shape_inference=True)
    onnxscript.optimizer.remove_unused_nodes(program.model)
    proto: onnx.ModelProto = program.model_proto
    return store_as_fp16(proto)


def store_as_fp16(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Every kernel that fp16 holds exactly is stored so, behind a Cast that runtimes fold when they load."""
    result = copy.deepcopy(proto)
    casts = []
    for initializer in result.graph.initializer:
        values = numpy_helper.to_array(initializer)
        if values.dtype != np.float32 or values.ndim < 2 or not np.array_equal(values.astype(np.float16), values):
            continue
        name = initializer.name
        initializer.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.fp16"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}.fp16"], [name], to=onnx.TensorProto.FLOAT))
    for cast in reversed(casts):
        result.graph.node.insert(0, cast)
    del result.metadata_props[:]
    for node in result.graph.node:
        del node.metadata_props[:]  # stack traces of this machine
        node.doc_string = ""
    onnx.checker.check_model(result)
    return result


def probabilities(logits: torch.Tensor) -> torch.Tensor:
    return logits.float().softmax(1)


@torch.inference_mode()
def parity(model: Classifier, onnx_path: Path, pixels: Pixels) -> float:
    """Largest difference of a probability between torch and ONNX Runtime, over (n, size, size, 3)."""
    runtime = OrtRuntime(onnx_path, threads=1)
    worst = 0.0
    for start in range(0, len(pixels), 32):
        batch = pixels[start : start + 32]
        ours = probabilities(torch.from_numpy(runtime.logits(batch)))
        worst = max(worst, float((ours - probabilities(model(torch.from_numpy(batch)))).abs().max()))
    return worst


def export(
    checkpoint: Checkpoint,
    manifest: Manifest,
    out: Path,
    version: str,
    report: dict[str, Any] | None,
    on_stage: Callable[[str], None] = lambda stage: None,
) -> dict[str, Any]:
    """Writes a release to `out`; nothing is written where the gate fails.

    Args:
        report: of `evaluate` on the same checkpoint, for release.json and the card.

    Returns:
        What release.json says.

    Raises:
        UserError: the ONNX answers differently, or the manifest is not the checkpoint's.
    """
    if manifest.sha256 != checkpoint.manifest_sha256:
        raise UserError("The checkpoint was trained with another manifest.")
    spec = InputSpec(**checkpoint.config["input"])
    model = build(checkpoint.config["model"]["arch"], len(checkpoint.classes))
    model.load_state_dict(checkpoint.ema)
    state = rounded_state(model)
    model.backbone.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    model = model.eval().to(memory_format=torch.contiguous_format)

    on_stage("exporting to ONNX")
    proto = to_onnx(model, spec.size)
    out.mkdir(parents=True, exist_ok=True)
    candidate = out / ".candidate.onnx"
    try:
        candidate.write_bytes(proto.SerializeToString(deterministic=True))
        pictures = spread(manifest.split("test") or manifest.split("val"), PARITY_PICTURES)
        on_stage(f"comparing answers on {len(pictures)} pictures")
        pixels = np.stack([decode(read_picture(manifest.root, picture), spec) for picture in pictures])
        golden = golden_pixels(spec.size)
        difference = max(parity(model, candidate, pixels), parity(model, candidate, golden))
        if not difference <= PARITY:
            raise UserError(f"The ONNX differs from torch by {difference:.2g} in a probability; allowed is {PARITY}.")
        candidate.replace(out / "model.onnx")
    finally:
        candidate.unlink(missing_ok=True)
    write_atomic(out / "model.safetensors", safetensors.torch.save(state))
    with torch.inference_mode():
        golden_logits = model(torch.from_numpy(golden)).double().numpy().round(5).tolist()
    release = {
        "name": "catsdogs",
        "version": version,
        "classes": checkpoint.classes,
        "input": {"size": spec.size, "resize": spec.resize},
        "files": {name: sha256_file(out / name) for name in ("model.onnx", "model.safetensors")},
        "golden_logits": golden_logits,
        "parity": {"pictures": len(pictures), "max_difference": float(f"{difference:.2g}"), "allowed": PARITY},
        "manifest_sha256": checkpoint.manifest_sha256,
        "config": checkpoint.config,
        "config_sha256": hashlib.sha256(json.dumps(checkpoint.config, sort_keys=True).encode()).hexdigest(),
        "git_sha": checkpoint.git_sha,
        "versions": checkpoint.versions,
        "epochs": checkpoint.epoch,
        "metrics": report["slices"] if report else None,
    }
    write_atomic(out / "MODEL_CARD.md", model_card(release).encode())
    write_atomic(out / "release.json", json.dumps(release, indent=2).encode() + b"\n")
    return release


def spread(pictures: Sequence[Picture], count: int) -> list[Picture]:
    """`count` of them, evenly over the order, so of every class and folder."""
    count = min(count, len(pictures))
    return [pictures[index * len(pictures) // count] for index in range(count)]
