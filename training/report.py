"""Pictures of an evaluation: the confusion matrix, and a contact sheet of the worst mistakes."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from handler.files import write_atomic
from handler.preprocess import open_image, to_rgb

TILE = 160
CAPTION = 28
COLUMNS = 6


@dataclass(frozen=True, slots=True)
class Mistake:
    """A picture and the wrong verdict on it."""

    path: Path
    truth: str
    verdict: str
    probability: float


def draw_confusion(counts: Sequence[Sequence[int]], classes: Sequence[str], title: str, path: Path) -> None:
    figure = Figure(figsize=(4, 3.6), layout="constrained")
    axes = figure.subplots()
    shares = np.array(counts) / np.maximum(1, np.array(counts).sum(axis=1, keepdims=True))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for i, row in enumerate(counts):
        for j, count in enumerate(row):
            axes.text(
                j,
                i,
                f"{count}\n{100 * shares[i, j]:.1f} %",
                ha="center",
                va="center",
                color="white" if shares[i, j] > 0.5 else "black",
            )
    axes.set_xticks(range(len(classes)), classes)
    axes.set_yticks(range(len(classes)), classes)
    axes.set_xlabel("verdict")
    axes.set_ylabel("truth")
    axes.set_title(title, fontsize=10)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    write_atomic(path, buffer.getvalue())


def draw_mistakes(mistakes: Sequence[Mistake], path: Path) -> None:
    """A tile per mistake, in their order, each with truth, verdict and probability."""
    rows = max(1, -(-len(mistakes) // COLUMNS))
    sheet = Image.new("RGB", (COLUMNS * TILE, rows * (TILE + CAPTION)), "white")
    draw = ImageDraw.Draw(sheet)
    for index, mistake in enumerate(mistakes):
        x, y = index % COLUMNS * TILE, index // COLUMNS * (TILE + CAPTION)
        picture = to_rgb(open_image(mistake.path.read_bytes()))
        picture.thumbnail((TILE - 4, TILE - 4))
        sheet.paste(picture, (x + (TILE - picture.width) // 2, y + (TILE - picture.height) // 2))
        draw.text(
            (x + 4, y + TILE), f"{mistake.truth}, not {mistake.verdict} ({mistake.probability:.2f})", fill="black"
        )
        draw.text((x + 4, y + TILE + 12), mistake.path.name[:24], fill="grey")
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG")
    write_atomic(path, buffer.getvalue())
