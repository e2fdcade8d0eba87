"""Comparison of every runtime of CPUs with torch, which a release must pass before it exists."""

import tempfile
from pathlib import Path
from typing import Any

from handler.files import UserError
from handler.preprocess import Pixels
from handler.runtimes.choice import is_installed
from handler.runtimes.runtime import FP32, Logits, Runtime
from training.release import parity
from training.release.kinds import cpu_runtimes, make_model
from training.release.network_file import NETWORK, WEIGHTS, join


def compare_runtimes(made: Path, pixels: Pixels, wanted: Logits) -> dict[str, Any]:
    """Compare the runtimes' fp32 answers with those of torch with the same weights, for release.json's `parity`.

    Args:
        made: folder that holds the network and its weights.
        wanted: probabilities by torch, (n, classes).

    Returns:
        `max_difference` over all runtimes, and the figures of each by its name.

    Raises:
        UserError: a runtime is not installed, cannot run the network, or answers otherwise.
    """
    with tempfile.TemporaryDirectory(prefix="runtimes-", dir=made.parent) as folder:
        network = Path(folder, NETWORK)
        network.write_bytes(join((made / NETWORK).read_bytes(), memoryview((made / WEIGHTS).read_bytes())))
        figures = {
            runtime.name: _compare(runtime, network, made, pixels, wanted, Path(folder))
            for runtime in cpu_runtimes()
            if FP32 in runtime.models
        }
    largest = max(float(compared["max_difference"]) for compared in figures.values())
    return {"max_difference": largest, "runtimes": figures}


def _compare(
    runtime: Runtime, network: Path, made: Path, pixels: Pixels, wanted: Logits, folder: Path
) -> dict[str, Any]:
    if not is_installed(runtime.package):
        raise UserError(f"{runtime.title} must answer as torch does, and is not installed here ({runtime.package}).")
    model = runtime.models[FP32]
    path = folder / f"made-{runtime.name}-{model.name}"
    path.write_bytes(make_model(model, network, made))
    answers = parity.answers(runtime.load(path, FP32, 1, None).logits, pixels)
    return parity.compare(answers, wanted, model.tolerance, runtime.title, "torch")
