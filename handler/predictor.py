"""A verified model that answers: the same for the server and for `catsdogs predict` without one."""

import logging
from pathlib import Path
from typing import Any, cast

import numpy as np

from handler.calibration import uncalibrated_in
from handler.class_maps import ClassMaps
from handler.components import FILE as COMPONENTS_FILE
from handler.components import Components, read_components
from handler.files import UserError, first_line
from handler.preprocess import Pixels, decode
from handler.release import FEW, GOLDEN_TOLERANCE, TOP, golden_pixels, read_release, verify_file
from handler.runtimes.choice import Choice, choose, model_names
from handler.runtimes.runtime import FP32, InnerNetwork, Logits
from handler.unsure import threshold_of

logger = logging.getLogger(__name__)


class Predictor:
    """The model of a folder that holds release.json and a runtime's model file.

    Args:
        runtime: name of the runtime; by default the fastest that is available.
        precision: fp32, fp16 or int8; by default the one that the release recommends for this processor.
        threads: of one call. Workers are processes, one for each core, and two threads each would fight.
        gpu: the one that this worker shall use, where a runtime can.
        inner: whether the network shall also give its inner features, where release and runtime allow it.

    Raises:
        UserError: a file is missing or is not the one of the release, or the model answers wrongly.
    """

    def __init__(
        self,
        folder: Path,
        runtime: str | None = None,
        precision: str | None = None,
        threads: int = 1,
        gpu: int | None = None,
        inner: bool = False,
    ) -> None:
        self.release = read_release(folder)
        for file in model_names():
            if (folder / file).exists():
                verify_file(folder, file, self.release.files.get(file, "not listed"))
        choice = choose(folder, self.release.precision, runtime, precision)
        self.runtime = choice.runtime
        self._folder, self._choice, self._threads = folder, choice, threads
        self.components: Components | None = None
        if not (inner and self._load_inner(folder, choice, threads, gpu)):
            self.network = self.runtime.load(folder / choice.model.name, choice.precision, threads, gpu)
            self.check()

    def _load_inner(self, folder: Path, choice: Choice, threads: int, gpu: int | None) -> bool:
        """Load the network so that it gives its inner features, and return whether that could be done."""
        tensor = self.release.reference.tensor if self.release.reference else None
        if tensor is None or self.runtime.load_inner is None:
            return False
        verify_file(folder, COMPONENTS_FILE, self.release.files.get(COMPONENTS_FILE, "not listed"))
        components = read_components(folder / COMPONENTS_FILE)
        try:
            self.network = network = self.runtime.load_inner(
                folder / choice.model.name, choice.precision, threads, gpu, tensor
            )
            self.check()
            components.project(network.logits_and_inner(golden_pixels(self.release.input.size))[1])
        except Exception as error:
            logger.warning("records are without inner features: %s", first_line(error))
            return False
        self.components = components
        return True

    @property
    def precision(self) -> str:
        """Precision that the network computes in: fp32, fp16 or int8."""
        return self.network.precision

    def check(self) -> None:
        """Compares the answers to four fixed pictures with those that the release was measured with."""
        probabilities = softmax(self.network.logits(golden_pixels(self.release.input.size)))
        goldens = self.release.golden_logits
        wanted = softmax(np.array(goldens.get(self.precision, goldens[FP32]), dtype=np.float32))
        difference = float(np.abs(probabilities - wanted).max())
        # `not <=` also refuses NaN.
        if not difference <= GOLDEN_TOLERANCE[self.precision]:
            raise UserError(f"The model answers wrongly on this machine: known pictures differ by {difference:.4f}.")

    def warm_up(self, batch_size: int) -> None:
        """Runs what a batch of any size may need once, so that no request pays for a first time."""
        size = self.release.input.size
        for count in range(1, batch_size + 1) if self.runtime.chooses_by_size else (batch_size,):
            self.network.logits(np.zeros((count, size, size, 3), dtype=np.uint8))

    def decode(self, data: bytes) -> Pixels:
        return decode(data, self.release.input)

    def probabilities(self, pixels: Pixels) -> Logits:
        """Return the probabilities, float32 (n, classes), of pixels, uint8 (n, size, size, 3)."""
        return softmax(self.network.logits(pixels))

    def probabilities_and_inner(self, pixels: Pixels) -> tuple[Logits, Logits | None]:
        """Return the probabilities, and the inner features, float32 (n, features), where the network gives them."""
        if self.components is None:
            return self.probabilities(pixels), None
        logits, inner = cast(InnerNetwork, self.network).logits_and_inner(pixels)
        return softmax(logits), inner

    def load_class_maps(self) -> ClassMaps:
        """Load what computes class activation maps. It takes memory until it is let go, and predictions never use it.

        Raises:
            NoMaps: the network has none, or nothing here computes them.
        """
        return ClassMaps(self._folder, self._choice, self._threads)

    def answers(self, pixels: Pixels) -> list[dict[str, Any]]:
        """Return n answers, as the API gives them, to pixels, uint8 (n, size, size, 3)."""
        return [self.answer(row) for row in self.probabilities(pixels)]

    @property
    def threshold(self) -> float | None:
        """Probability below which an answer is unsure, where the release has it."""
        return threshold_of(self.release.unsure, self.precision)

    def answer(self, probabilities: Logits, top_k: int | None = None, unsure: bool = False) -> dict[str, Any]:
        """One answer.

        Args:
            probabilities: float32 (classes,).
            top_k: how many classes are named, the most probable first; by default all where they are few, in the
                release's order.
            unsure: whether the answer says whether it is unsure, which takes a threshold, and in which conditions of a
                picture the probability is not calibrated, where that was measured.
        """
        if not np.isfinite(probabilities).all():
            raise ArithmeticError("the model answered with a number that is none")
        classes = self.release.classes
        if top_k is None and len(classes) > FEW:
            top_k = TOP
        order = range(len(classes)) if top_k is None else np.argsort(-probabilities, kind="stable")[:top_k].tolist()
        best = int(probabilities.argmax())
        return {
            "label": classes[best],
            "probability": round(float(probabilities[best]), 6),
            "probabilities": {classes[index]: round(float(probabilities[index]), 6) for index in order},
            **(self._trust(float(probabilities[best])) if unsure else {}),
            "model": {
                "name": self.release.name,
                "version": self.release.version,
                "precision": self.precision,
                "sha256": self.release.weights_sha256,
                **({"run_id": self.release.run_id} if self.release.run_id else {}),
            },
        }

    def _trust(self, probability: float) -> dict[str, Any]:
        """Return what an answer says of its probability."""
        conditions = uncalibrated_in(self.release.uncalibrated, self.precision)
        return {
            "unsure": probability < cast(float, self.threshold),
            **({"uncalibrated_if": list(conditions)} if conditions else {}),
        }


def softmax(logits: Logits) -> Logits:
    """Return probabilities that sum to 1 in each row of logits, float32 (n, classes)."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
