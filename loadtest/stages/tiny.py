"""An archive like the released one, whose network costs next to nothing, so that the server's own cost is seen.

It takes the mean of each colour and answers by these three numbers: its predictions mean nothing. A runtime
that reads ONNX computes it.
"""

import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from handler.files import UserError
from handler.members import LIST, RELEASE
from handler.release import golden_pixels
from handler.runtimes.runtime import FP32

NETWORK = "model.onnx"
WEIGHTS = np.array([[0.01, -0.01], [-0.02, 0.02], [0.01, -0.01]], dtype=np.float32)


def write_tiny(archive: Path, out: Path) -> None:
    """Write a copy of an archive with the tiny network in place of its own."""

    def shrink(members: dict[str, bytes]) -> None:
        for name in [name for name in members if name.endswith((".mnn", ".int8.onnx"))]:
            del members[name]
        members[NETWORK] = network()
        release = json.loads(members[RELEASE])
        release["files"] = {
            "model.safetensors": release["files"]["model.safetensors"],
            NETWORK: hashlib.sha256(members[NETWORK]).hexdigest(),
        }
        means = golden_pixels(release["input"]["size"]).astype(np.float32).mean(axis=(1, 2))
        release["precision"], release["precisions"] = FP32, {}
        release["golden_logits"] = (means @ WEIGHTS).tolist()
        members[RELEASE] = json.dumps(release).encode()

    copy_archive(archive, out, shrink)


def copy_archive(archive: Path, out: Path, change: Callable[[dict[str, bytes]], None]) -> None:
    """Write a copy of an archive whose members, by name, `change` has changed.

    Raises:
        UserError: the archive cannot be read.
    """
    try:
        with zipfile.ZipFile(archive) as source:
            members = {name: source.read(name) for name in source.namelist()}
            modes = {info.filename: info for info in source.infolist()}
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{archive} cannot be read: {error}") from error
    change(members)
    listed = [name for name in members if name != LIST]
    members[LIST] = "".join(f"{hashlib.sha256(members[name]).hexdigest()}  {name}\n" for name in listed).encode()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as target:
        for name, data in members.items():
            target.writestr(modes[name], data)


def network() -> bytes:
    """Return the network: uint8 pictures in, the mean of each colour, two logits out."""
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("Cast", ["image"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["numbers", "axes"], ["means"], keepdims=0),
        helper.make_node("MatMul", ["means", "weights"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", "height", "width", 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2])],
        [
            numpy_helper.from_array(np.array([1, 2], dtype=np.int64), "axes"),
            numpy_helper.from_array(WEIGHTS, "weights"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(model.SerializeToString())
