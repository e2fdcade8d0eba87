"""The operations. Each takes an encoded picture, decodes it as a prediction does, and returns an encoded result."""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from handler.image_facts import facts_of
from handler.load_image import upright
from handler.open_image import open_image
from handler.preprocess import InputSpec, Pixels, decode
from handler.problem import Problem
from serving.images.parameters import Parameters, bad

PNG, JSON, NPY = "image/png", "application/json", "application/octet-stream"
SUFFIXES = {PNG: ".png", JSON: ".json", NPY: ".npy"}
# Lower than zlib's default of 6: a result is mostly read once, and its time is bounded.
COMPRESS_LEVEL = 3
# Longest side that `resize` makes, in pixels.
MAX_SIDE = 4096
# Orientations of EXIF by which width and height change places.
TURNED = (5, 6, 7, 8)


@dataclass(frozen=True, slots=True)
class Result:
    """An encoded picture or array."""

    data: bytes
    content_type: str


def resize(data: bytes, parameters: Parameters, spec: InputSpec) -> Result:
    """Scale a picture to a width and a height; with only one of them, the aspect is kept."""
    width, height = parameters.width, parameters.height
    if width is None and height is None:
        raise bad("resize needs width or height: give one of them, or both.")
    image = open_image(data)
    full_width, full_height = reversed(image.size) if facts_of(image).turn in TURNED else image.size
    width = width or max(1, round(full_width * (height or 0) / full_height))
    height = height or max(1, round(full_height * width / full_width))
    if max(width, height) > MAX_SIDE:
        raise bad(f"The result would have {width} x {height} pixels; the limit is {MAX_SIDE} for a side.")
    # As for predictions, a large JPEG is decoded smaller, with at least twice the pixels needed.
    least = 2 * max(width, height)
    return png(upright(image, (least, least)).resize((width, height), Image.Resampling.BILINEAR))


def crop(data: bytes, parameters: Parameters, spec: InputSpec) -> Result:
    """Cut a rectangle out of a picture: by default the largest square, in the middle."""
    image = upright(open_image(data))
    side = min(image.size)
    width, height = parameters.width or parameters.height or side, parameters.height or parameters.width or side
    left = (image.width - width) // 2 if parameters.left is None else parameters.left
    top = (image.height - height) // 2 if parameters.top is None else parameters.top
    if left < 0 or top < 0 or left + width > image.width or top + height > image.height:
        raise bad(
            f"The rectangle of {width} x {height} pixels at {left}, {top} is not within the picture, which has "
            f"{image.width} x {image.height}: make it smaller, or move it."
        )
    return png(image.crop((left, top, left + width, top + height)))


def grayscale(data: bytes, parameters: Parameters, spec: InputSpec) -> Result:
    """Take the colours out of a picture (ITU-R 601-2 luma)."""
    return png(upright(open_image(data)).convert("L"))


def normalize(data: bytes, parameters: Parameters, spec: InputSpec) -> Result:
    """Scale to the network's size, divide by 255, take out the mean and divide by the standard deviation."""
    values = normalized(decode(data, spec), parameters)
    if parameters.format == "npy":
        return npy(values)
    document = {
        "shape": list(values.shape),
        "dtype": str(values.dtype),
        "mean": list(parameters.mean),
        "std": list(parameters.std),
        # Six digits are all that float32 has.
        "data": [[[float(f"{value:.6g}") for value in row] for row in channel] for channel in values.tolist()],
    }
    return Result(json.dumps(document, separators=(",", ":")).encode(), JSON)


def show_input(data: bytes, parameters: Parameters, spec: InputSpec) -> Result:
    """Return the network's input for a picture: its pixels as PNG, or the tensor itself as a .npy file."""
    pixels = decode(data, spec)
    # A batch of one, as a runtime is given it.
    return npy(pixels[np.newaxis]) if parameters.format == "npy" else png(Image.fromarray(pixels))


Operation = Callable[[bytes, Parameters, InputSpec], Result]
OPERATIONS: dict[str, Operation] = {
    "resize": resize,
    "crop": crop,
    "grayscale": grayscale,
    "normalize": normalize,
    "show-input": show_input,
}


def apply(operation: str, data: bytes, parameters: Parameters, spec: InputSpec) -> Result:
    """Carry out an operation.

    Args:
        spec: the input of the network, for `normalize` and `show-input`.

    Raises:
        Problem: the picture or a parameter is refused.
    """
    try:
        return OPERATIONS[operation](data, parameters, spec)
    except (MemoryError, Problem):
        raise
    except Exception as error:
        # As in `decode`: what Pillow cannot convert.
        raise Problem(415, "unsupported_image", "The colours of a picture of this kind are not read here.") from error


def normalized(pixels: Pixels, parameters: Parameters) -> npt.NDArray[np.float32]:
    """Return float32 (3, size, size) of pixels, uint8 (size, size, 3), in the order that PyTorch has."""
    mean, std = (np.array(values, dtype=np.float32) for values in (parameters.mean, parameters.std))
    return np.ascontiguousarray(((pixels.astype(np.float32) / 255 - mean) / std).transpose(2, 0, 1))


def png(image: Image.Image) -> Result:
    """Encode without metadata: a picture's place and camera are not passed on."""
    image.info.clear()
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=COMPRESS_LEVEL)
    return Result(file.getvalue(), PNG)


def npy(array: npt.NDArray[np.generic]) -> Result:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return Result(file.getvalue(), NPY)
