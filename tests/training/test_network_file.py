"""The released network and its weights are two files, of which each archive holds a joined one."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from handler.files import UserError, sha256_file, write_atomic
from handler.release import read_release
from tests.zoo import ROOT
from training.release.network_file import read_network

RELEASE = ROOT / "model-store" / "catsdogs"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(RELEASE, tmp_path / "release"))


def write_network(release: Path, network: bytes) -> None:
    """Replace model.onnx, and what release.json says of it."""
    write_atomic(release / "model.onnx", network)
    values = json.loads((release / "release.json").read_bytes())
    values["files"]["model.onnx"] = sha256_file(release / "model.onnx")
    (release / "release.json").write_text(json.dumps(values))


def test_the_joined_network_holds_the_tensors_that_onnx_reads_from_both_files() -> None:
    joined = onnx.load_from_string(read_network(RELEASE, read_release(RELEASE))).graph.initializer
    both = onnx.load(RELEASE / "model.onnx").graph.initializer
    assert [(tensor.name, tensor.data_type, tensor.raw_data) for tensor in joined] == [
        (tensor.name, tensor.data_type, tensor.raw_data) for tensor in both
    ]
    assert not any(tensor.external_data for tensor in joined)


def test_a_network_that_holds_its_weights_is_left_as_it_is(copy: Path) -> None:
    whole = read_network(copy, read_release(copy))
    write_network(copy, whole)
    (copy / "model.safetensors").unlink()
    assert read_network(copy, read_release(copy)) == whole


def test_weights_that_are_missing_are_named(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"model\.safetensors is missing"):
        read_network(copy, read_release(copy))


def beyond_the_end(network: bytes) -> bytes:
    """An offset of 8 digits, made larger than the file."""
    at = network.index(b"offset\x12\x08") + len(b"offset\x12\x08")
    return network[:at] + b"99999999" + network[at + 8 :]


@pytest.mark.parametrize("damage", [beyond_the_end, lambda network: network[:-9]], ids=["beyond the end", "cut off"])
def test_a_network_that_does_not_go_with_its_weights_is_refused(copy: Path, damage: Callable[[bytes], bytes]) -> None:
    write_network(copy, damage((copy / "model.onnx").read_bytes()))
    with pytest.raises(UserError, match=r"model\.onnx does not go with model\.safetensors"):
        read_network(copy, read_release(copy))
