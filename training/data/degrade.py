"""Training pictures made worse, so that the network learns to answer for such pictures too.

Six of the conditions that `catsdogs robustness` measures (training/evaluation/conditions.py) have their kind here, with
random strengths and on the square that the network sees. There, each condition is fixed and changes the picture that is
sent.
"""

import random
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

from handler.preprocess import Pixels

Change = Callable[[Pixels, random.Random], Pixels]

# Radius of the Gaussian blur, as a share of the side.
BLUR = (0.01, 0.03)
# Standard deviation of the noise, of 255.
NOISE = (5.0, 40.0)
# Side of the small picture that is scaled up again, as a share of the side.
SMALL = (0.2, 0.6)
# Width or height that is left by a squeeze, and sides of what hides a part, as shares of the side.
SQUEEZED = (0.45, 0.8)
HIDDEN = (0.2, 0.6)


def _blur(pixels: Pixels, rng: random.Random) -> Pixels:
    radius = rng.uniform(*BLUR) * len(pixels)
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius)))


def _noise(pixels: Pixels, rng: random.Random) -> Pixels:
    deviation, normal = rng.uniform(*NOISE), np.random.default_rng(rng.getrandbits(64))
    noise = normal.standard_normal(pixels.shape, dtype=np.float32)
    return (pixels + np.float32(deviation) * noise).clip(0, 255).astype(np.uint8)


def _small(pixels: Pixels, rng: random.Random) -> Pixels:
    size = len(pixels)
    side = round(size * rng.uniform(*SMALL))
    small = Image.fromarray(pixels).resize((side, side), Image.Resampling.BOX)
    return np.asarray(small.resize((size, size), Image.Resampling.BILINEAR))


def _quarter_turn(pixels: Pixels, rng: random.Random) -> Pixels:
    return np.rot90(pixels, rng.choice((1, 3)))


def _squeeze(pixels: Pixels, rng: random.Random) -> Pixels:
    """Squeeze in one direction, between black bars."""
    size = len(pixels)
    side = round(size * rng.uniform(*SQUEEZED))
    start, across = rng.randint(0, size - side), rng.random() < 0.5
    width, height = (side, size) if across else (size, side)
    narrow = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))
    squeezed = np.zeros_like(pixels)
    left, top = (start, 0) if across else (0, start)
    squeezed[top : top + height, left : left + width] = narrow
    return squeezed


def _hide(pixels: Pixels, rng: random.Random) -> Pixels:
    """Hide a part behind a rectangle of one colour, half of the time grey."""
    size = len(pixels)
    width, height = (round(size * rng.uniform(*HIDDEN)) for _ in range(2))
    left, top = rng.randint(0, size - width), rng.randint(0, size - height)
    hidden = pixels.copy()
    hidden[top : top + height, left : left + width] = (
        128 if rng.random() < 0.5 else [rng.randrange(256) for _ in range(3)]
    )
    return hidden


CHANGES: tuple[Change, ...] = (_blur, _noise, _small, _quarter_turn, _squeeze, _hide)


def degrade(pixels: Pixels, rng: random.Random) -> Pixels:
    """Return uint8 (size, size, 3) with one change of CHANGES, each as likely as the others."""
    return rng.choice(CHANGES)(pixels, rng)
