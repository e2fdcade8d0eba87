"""Static quantisation of an ONNX network by ONNX Runtime, in the QDQ form that ONNX Runtime and OpenVINO read.

Weights are int8 with a scale for each output channel, activations uint8. The ranges of activations are moving averages
over the batches of calibration pictures. Weights use 7 bits, because two products of full range overflow the 16-bit
sums of processors that have AVX2 and no VNNI (ONNX Runtime's `reduce_range`).
"""

import logging
import tempfile
from pathlib import Path

import onnx
import onnxruntime
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.calibrate import CalibrationDataReader

from handler.files import UserError, first_line
from handler.preprocess import Pixels

BATCH = 10


class Batches(CalibrationDataReader):  # type: ignore[misc]
    """The calibration pictures in batches, as the quantiser reads them."""

    def __init__(self, pixels: Pixels) -> None:
        self.left = [pixels[start : start + BATCH] for start in range(0, len(pixels), BATCH)]

    def get_next(self) -> dict[str, Pixels] | None:
        return {"image": self.left.pop(0)} if self.left else None


def quantise(network: Path, pixels: Pixels) -> bytes:
    """Return the int8 network.

    Args:
        network: ONNX that holds its weights.
        pixels: calibration pictures, uint8 (n, size, size, 3).

    Raises:
        UserError: the network has something that cannot be quantised.
    """
    with tempfile.TemporaryDirectory(prefix="catsdogs-int8-") as folder:
        folded, made = Path(folder, "folded.onnx"), Path(folder, "int8.onnx")
        _fold(network, folded)
        root = logging.getLogger()
        level = root.level
        root.setLevel(logging.ERROR)  # the quantiser recommends what _fold did
        try:
            quantize_static(
                folded,
                made,
                Batches(pixels),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
                extra_options={"CalibMovingAverage": True},
            )
        except Exception as error:  # it raises whatever a graph surprises it with
            raise UserError(f"The network cannot be quantised: {first_line(error)}") from error
        finally:
            root.setLevel(level)
        return made.read_bytes()


def _fold(network: Path, target: Path) -> None:
    """Fold norms into kernels and casts into weights, which quantisation and its scales by channel need."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(network), options, providers=["CPUExecutionProvider"])
    model = onnx.load(target)
    # ONNX Runtime adds its own operator sets, none of which is used; other readers refuse them.
    standard = [entry for entry in model.opset_import if entry.domain == ""]
    del model.opset_import[:]
    model.opset_import.extend(standard)
    onnx.save(model, target)
