"""Conversion of an image's samples to 8 bits a channel: by the file's own rules, or not at all.

Pillow clips numbers of more than 16 bits, and drops the lower byte of those of 16, whatever they mean: floats between 0
and 1 become black, and a camera's 12 bits in 16 nearly so. The network would be sure of its answer nonetheless.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from handler import tiff
from handler.problem import Problem
from handler.strips import strips

WIDE = ("I", "F")
# Where 16 bits hold no more than this, they hold 12, or 8, or a picture that nobody can see.
LEAST_OF_16 = 4095


@dataclass(frozen=True, slots=True)
class Look:
    """The mapping from an image's samples to grey values or colours of 8 bits.

    `black` and `white` are the values that become 0 and 255; they are None where Pillow's own conversion is right.
    """

    black: float | None = None
    white: float | None = None
    opaque: bool = False
    """Whether the alpha channel is there and unused."""

    def to_grey(self, image: Image.Image) -> Image.Image:
        """An image of mode I, F or I;16, scaled to 8 bits."""
        assert self.black is not None
        assert self.white is not None
        values = np.nan_to_num(np.asarray(image).astype(np.float64))
        scaled = (values - self.black) * (255 / (self.white - self.black))
        return Image.fromarray(np.clip(np.rint(scaled), 0, 255).astype(np.uint8))


def look_at(image: Image.Image, samples: tiff.Samples | None, significant_bits: int | None, deep: bool) -> Look:
    """Decide how a decoded image is to be shown.

    Args:
        samples: what a TIFF says of its numbers.
        significant_bits: what a PNG says of them.
        deep: whether the file has 16 bits for each of several channels, of which Pillow keeps the upper 8.

    Raises:
        Problem: 415, nobody can know what the numbers mean.
    """
    if samples is not None and samples.format == tiff.SIGNED and samples.bits == 8:
        raise _unknown("has signed samples of 8 bits, whose black and white are not said")
    if image.mode in WIDE or image.mode.startswith("I;16"):
        return _scale(image, samples, significant_bits)
    if deep and image.mode in ("RGB", "RGBA", "CMYK", "LA") and 0 < _most(image) <= LEAST_OF_16 >> 8:
        raise _unknown("uses only the lower of its 16 bits")
    if image.format in ("BMP", "TIFF") and image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0):
        return Look(opaque=True)  # nothing at all would be seen: what is called alpha was never set
    return Look()


def _most(image: Image.Image) -> int:
    """The largest value of the channels that are colours."""
    colours = {"RGBA": 3, "LA": 1}.get(image.mode, len(image.getbands()))
    return max(int(np.max(image.getchannel(number).getextrema())) for number in range(colours))


def _scale(image: Image.Image, samples: tiff.Samples | None, significant_bits: int | None) -> Look:
    least, most = (float(value) for value in np.asarray(image.getextrema()))
    bits = samples.bits if samples else 16
    kind = samples.format if samples else tiff.UNSIGNED
    inverted = samples is not None and samples.white_is_zero
    if not (np.isfinite(least) and np.isfinite(most)):
        raise _unknown("holds numbers that are infinite or none")
    black, white = (samples.black or 0, samples.white) if samples else (0, None)
    if white is not None and black <= least and max(black + 1, most) <= white:
        return Look() if (black, white, inverted) == (0, 65535, False) else _between(black, white, inverted)
    if kind == tiff.FLOAT:
        if least >= 0 and most <= 1:
            return _between(0, 1, inverted)
        if least >= 0 and most <= 255 and _is_whole(image):
            return _between(0, 255, inverted)
        raise _unknown(f"holds numbers from {least:g} to {most:g}, and does not say which are black and white")
    if least < 0 and kind == tiff.UNSIGNED:  # beyond what Pillow's signed numbers hold
        raise _unknown("holds unsigned numbers of 32 bits that are too large")
    if image.mode == "I":
        full = 2 ** (bits - (kind == tiff.SIGNED)) - 1
        if least >= 0 and most <= 255:
            return _between(0, 255, inverted)
        if least >= 0 and 2 * most > full:
            return _between(0, full, inverted)
        raise _unknown(f"holds numbers from {least:g} to {most:g}, and does not say which are black and white")
    if bits < 16:
        return _between(0, 2**bits - 1, inverted)
    if significant_bits and 8 <= significant_bits < 16 and 0 < most < 2**significant_bits:
        return _between(0, 2**significant_bits - 1, inverted)
    if samples and samples.most and 8 <= samples.most.bit_length() < 16 and 0 < most <= samples.most:
        return _between(0, 2 ** samples.most.bit_length() - 1, inverted)
    if 0 < most <= LEAST_OF_16:
        raise _unknown(f"uses only the lowest {int(most).bit_length()} of its 16 bits")
    return _between(0, 65535, True) if inverted else Look()


def _between(black: float, white: float, inverted: bool) -> Look:
    return Look(white, black) if inverted else Look(black, white)


def _is_whole(image: Image.Image) -> bool:
    values = (np.asarray(strip) for _, strip in strips(image))
    return all(bool((strip == np.rint(strip)).all()) for strip in values)


def _unknown(reason: str) -> Problem:
    return Problem(415, "unsupported_image", f"The picture {reason}: save it with 8 bits per channel.")
