"""The model files of the runtimes that read ONNX: the network as fp32, and the release's int8 network as it is."""

from pathlib import Path

FP32_FILE, INT8_FILE = "model.onnx", "model.int8.onnx"
# The same float32 numbers as torch's, added in another order.
FP32_TOLERANCE = 1e-4
# Runtimes and instruction sets round int8 activations to another step where a sum lies between two. One step can move a
# picture that the network is unsure of by this much (measured: 0.071 over 3,407 pictures).
INT8_TOLERANCE = 0.15


def make_fp32(network: Path, release: Path) -> bytes:
    """Return the ONNX network as it is."""
    return network.read_bytes()


def make_int8(network: Path, release: Path) -> bytes:
    """Return the int8 network of the release (training/release/quantise.py makes it)."""
    return (release / INT8_FILE).read_bytes()
