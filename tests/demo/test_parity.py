"""The demo answers as a real server does: the same input, the same probabilities, the same map."""

import os
import random
from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from playwright.sync_api import Page

from handler.preprocess import InputSpec, decode
from handler.release import golden_pixels
from tests import zoo
from tests.demo.support import BLOB, SAMPLES, ask, large
from tests.e2e.support import PATH, command

SIZE = 176
SAME_PIXELS, OWN_DECODER = 1e-3, 0.02
# JavaScript: the network's input for a picture, in base64.
DECODE = f"""
async ([bytes, size, resize]) => {{
  {BLOB}
  const {{decode}} = await import("./compute/decode.js");
  const {{pixels}} = await decode(blobOf(bytes), {{size, resize}});
  return btoa(Array.from(pixels, (value) => String.fromCharCode(value)).join(""));
}}
"""


@pytest.fixture(scope="module")
def server(archive: Path) -> Iterator[str]:
    """Address of a real server that computes fp32."""
    with command(str(archive), "--precision", "fp32", "--workers", "1") as (_, port, _):
        yield f"http://127.0.0.1:{port}"


def answer(server: str, picture: bytes) -> dict[str, Any]:
    """Return the server's answer."""
    response = httpx.post(f"{server}{PATH}", params={"unsure": "true"}, content=picture, timeout=30, trust_env=False)
    assert response.status_code == 200, response.text
    document: dict[str, Any] = response.json()
    return document


def inputs(modules: Page, picture: bytes, spec: InputSpec) -> npt.NDArray[np.int64]:
    """Return the input that the demo computes, (size, size, 3)."""
    pixels = b64decode(modules.evaluate(DECODE, [b64encode(picture).decode(), spec.size, spec.resize]))
    return np.frombuffer(pixels, np.uint8).astype(int).reshape(spec.size, spec.size, 3)


def photographs(count: int) -> list[Path]:
    """Return original photographs, from a folder of class folders, where there is one; always the same."""
    folder = Path(os.environ.get("CATSDOGS_PHOTOS") or zoo.ROOT.parent / "shared" / "data" / "photos")
    paths = sorted(folder.glob("*/*.jpg"))
    return random.Random(0).sample(paths, min(count, len(paths)))


def test_the_same_pixels_have_the_same_probabilities(modules: Page, server: str) -> None:
    for pixels in golden_pixels(SIZE):
        png = zoo.encode(Image.fromarray(pixels), "PNG")
        ours, theirs = ask(modules, "classify", png), answer(server, png)
        assert ours["label"] == theirs["label"]
        assert ours["probabilities"] == pytest.approx(theirs["probabilities"], abs=SAME_PIXELS)


# High, wide, small and large ones; of more than 2^20 pixels, the server scales strips.
@pytest.mark.parametrize("resize", ["squeeze", "crop"])
@pytest.mark.parametrize(
    ("width", "height"), [(500, 375), (200, 297), (90, 1000), (60, 40), (176, 176), (1, 1), (1300, 900), (901, 1700)]
)
def test_a_picture_without_loss_is_scaled_to_the_same_input(
    modules: Page, width: int, height: int, resize: Any
) -> None:
    spec = InputSpec(SIZE, resize)
    noise = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    png = zoo.encode(Image.fromarray(noise), "PNG")
    assert (inputs(modules, png, spec) == decode(png, spec)).all()


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_picture_that_exif_turns_is_turned(modules: Page, orientation: int) -> None:
    photo = zoo.rotated_by_exif(orientation)
    ours, theirs = inputs(modules, photo, InputSpec(SIZE)), decode(photo, InputSpec(SIZE)).astype(int)
    # Both round between rows and columns, which a turn exchanges, and each has its own JPEG decoder.
    assert np.abs(ours - theirs).mean() < 1


def test_what_is_transparent_lies_on_white(modules: Page) -> None:
    image = zoo.photo().resize((SIZE, SIZE))
    image.putalpha(Image.linear_gradient("L").resize((SIZE, SIZE)))
    png = zoo.encode(image, "PNG")
    ours, theirs = inputs(modules, png, InputSpec(SIZE)), decode(png, InputSpec(SIZE)).astype(int)
    assert np.abs(ours - theirs).max() <= 2


@pytest.mark.parametrize("kind", [kind for kind in zoo.accepted() if kind != "tiff"])
def test_each_kind_of_picture_is_answered_as_by_the_server(modules: Page, server: str, kind: str) -> None:
    ours, theirs = ask(modules, "classify", zoo.accepted()[kind]), answer(server, zoo.accepted()[kind])
    assert ours["probabilities"] == pytest.approx(theirs["probabilities"], abs=OWN_DECODER)


@pytest.mark.parametrize("factor", [3, 6, 12])
def test_a_large_photograph_is_answered_as_by_the_server(modules: Page, server: str, factor: int) -> None:
    photo = large(factor)
    ours, theirs = ask(modules, "classify", photo), answer(server, photo)
    assert ours["probabilities"] == pytest.approx(theirs["probabilities"], abs=OWN_DECODER)


def test_photographs_have_the_servers_labels_and_nearly_its_probabilities(modules: Page, server: str) -> None:
    paths = [*SAMPLES, *photographs(24)]
    assert len(paths) >= 16
    for path in paths:
        ours, theirs = ask(modules, "classify", path), answer(server, path.read_bytes())
        assert ours["label"] == theirs["label"], path.name
        assert ours["probabilities"] == pytest.approx(theirs["probabilities"], abs=OWN_DECODER), path.name
        assert ours.keys() == theirs.keys()
        assert ours["model"] == theirs["model"]


def test_why_gives_the_servers_map(modules: Page, server: str) -> None:
    png = zoo.encode(zoo.photo(), "PNG")
    url = f"{server}/explanations"
    theirs = httpx.post(url, params={"class": "dog"}, content=png, timeout=30, trust_env=False).json()
    ours = ask(modules, "explain", png, "dog")
    assert np.array(ours.pop("map")) == pytest.approx(np.array(theirs.pop("map")), abs=1e-3)
    for name in ("logit", "bias"):
        assert ours.pop(name) == pytest.approx(theirs.pop(name), abs=1e-3)
    assert ours.pop("prediction").keys() <= theirs.pop("prediction").keys() | {"unsure", "uncalibrated_if"}
    assert ours == theirs
