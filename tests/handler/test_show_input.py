"""`show-input` returns exactly what the worker gives its runtime, for every kind of picture."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from handler.catsdogs_handler import CatsDogsHandler
from serving.images.operations import apply
from serving.images.parameters import Parameters
from tests import zoo
from tests.handler.test_mutations import ask

CAT = Image.open(io.BytesIO(zoo.CAT.read_bytes())).convert("RGB")


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return zoo.encode(CAT, "JPEG", exif=exif)


PICTURES: dict[str, Callable[[], bytes]] = {
    "photo": zoo.CAT.read_bytes,
    "large jpeg": lambda: zoo.encode(CAT.resize((3000, 2100)), "JPEG"),
    "turned jpeg": turned,
    "cmyk": lambda: zoo.encode(CAT.convert("CMYK"), "JPEG"),
    "alpha": lambda: zoo.encode(CAT.convert("RGBA"), "PNG"),
    "grey": lambda: zoo.encode(CAT.convert("L"), "PNG"),
    "palette": lambda: zoo.encode(CAT.convert("P"), "GIF"),
    "webp": lambda: zoo.encode(CAT, "WEBP"),
    "tiff": lambda: zoo.encode(CAT, "TIFF"),
}


class Recorder:
    """Stands before a network, and keeps what it is given."""

    def __init__(self, network: Any) -> None:
        self.network = network
        self.given: list[Any] = []

    def logits(self, pixels: Any) -> Any:
        self.given.append(pixels.copy())
        return self.network.logits(pixels)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.network, name)


@pytest.mark.parametrize("kind", PICTURES)
def test_it_is_what_the_runtime_is_given(
    ready: CatsDogsHandler, unpacked: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(ready.predictor.network)
    monkeypatch.setattr(ready.predictor, "network", recorder)
    picture = PICTURES[kind]()
    ((status, _),) = ask(ready, unpacked, [picture])
    assert status == 200
    (given,) = recorder.given
    spec = ready.predictor.release.input
    tensor = np.load(io.BytesIO(apply("show-input", picture, Parameters(format="npy"), spec).data))
    assert (tensor.dtype, tensor.shape) == (given.dtype, given.shape)
    np.testing.assert_array_equal(tensor, given)
    shown = Image.open(io.BytesIO(apply("show-input", picture, Parameters(format="png"), spec).data))
    np.testing.assert_array_equal(np.asarray(shown), given[0])
