"""Probabilities of pictures by int8 in OpenVINO, and how it computes its convolutions, as JSON.

ONEDNN_MAX_CPU_ISA=AVX2 python -m tests.handler.by_instruction_set FOLDER PICTURES...

The environment variable limits the instruction sets of oneDNN, which computes the convolutions, and is read once in a
process. The predictor checks the golden answers when it loads.
"""

import json
import sys
from pathlib import Path

import numpy as np

from handler.predictor import Predictor
from handler.runtimes.openvino_runtime import OpenvinoNetwork


def main(folder: Path, pictures: list[Path]) -> None:
    predictor = Predictor(folder, "openvino", "int8")
    network = predictor.network
    assert isinstance(network, OpenvinoNetwork)
    computed = [
        operation.get_rt_info() for operation in network._request.get_compiled_model().get_runtime_model().get_ops()
    ]
    methods = {
        facts["primitiveType"].astype(str) for facts in computed if facts["layerType"].astype(str) == "Convolution"
    }
    probabilities = [
        predictor.probabilities(np.stack([predictor.decode(path.read_bytes())]))[0].tolist() for path in pictures
    ]
    print(json.dumps({"methods": sorted(methods), "probabilities": probabilities}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(argument) for argument in sys.argv[2:]])
