"""Pictures of a training and of an evaluation, each written whole or not at all."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image, ImageDraw
from sklearn.metrics import precision_recall_curve  # type: ignore[import-untyped]

from handler.files import write_atomic
from handler.load_image import upright
from handler.open_image import open_image
from training.data.lettering import font_for
from training.data.shards import read_picture_file
from training.evaluation.lettering import class_names, lettered, title_of
from training.evaluation.metrics import Floats, Ints

TILE = 160
CAPTION = 40
COLUMNS = 6
# Classes above which cells are too small for numbers and curves too many for names.
MANY = 12
NAMED_CURVES = 5


@dataclass(frozen=True, slots=True)
class Mistake:
    """A picture and the wrong verdict on it."""

    path: Path
    truth: str
    verdict: str
    probability: float


def save(figure: Figure, path: Path) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    write_atomic(path, buffer.getvalue())


def draw_confusion(counts: Sequence[Sequence[int]], classes: Sequence[str], title: str, path: Path) -> None:
    """Shares of each truth; with more than MANY classes by colour alone, stretched so that rare mistakes show."""
    with lettered([*classes, title]) as drawable:
        _draw_confusion(counts, class_names(classes, drawable), title_of(title, classes, drawable), path)


def _draw_confusion(counts: Sequence[Sequence[int]], classes: Sequence[str], title: str, path: Path) -> None:
    many = len(classes) > MANY
    side = max(4.0, 0.6 * len(classes)) if not many else 2.5 + 0.26 * len(classes)
    figure = Figure(figsize=(side, 0.9 * side), layout="constrained")
    axes = figure.subplots()
    shares = np.array(counts) / np.maximum(1, np.array(counts).sum(axis=1, keepdims=True))
    image = axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5 if many else 1, 0, 1))
    if many:
        figure.colorbar(image, ax=axes, shrink=0.7, label="share of the truth's pictures")
    else:
        for i, row in enumerate(counts):
            for j, count in enumerate(row):
                axes.text(
                    j,
                    i,
                    f"{count}\n{100 * shares[i, j]:.1f} %",
                    ha="center",
                    va="center",
                    fontsize=10 if len(classes) <= 4 else 6,
                    color="white" if shares[i, j] > 0.5 else "black",
                )
    ticks = 7 if many else 10
    axes.set_xticks(range(len(classes)), classes, rotation=90 if len(classes) > 4 else 0, fontsize=ticks)
    axes.set_yticks(range(len(classes)), classes, fontsize=ticks)
    axes.set_xlabel("verdict")
    axes.set_ylabel("truth")
    axes.set_title(title, fontsize=10)
    save(figure, path)


def draw_precision_recall(
    labels: Ints, probabilities: Floats, scores: Mapping[str, Mapping[str, Any]], title: str, path: Path
) -> None:
    """One curve per class that occurs; of more than MANY only the NAMED_CURVES of least average precision have names.

    Args:
        labels: int64 (n,).
        probabilities: float64 (n, classes).
        scores: of `by_class`, in the order of the columns.
    """
    with lettered([*scores, title]) as drawable:
        averages = [row["average_precision"] for row in scores.values()]
        names = class_names(list(scores), drawable)
        _draw_precision_recall(labels, probabilities, averages, names, title_of(title, list(scores), drawable), path)


def _draw_precision_recall(
    labels: Ints,
    probabilities: Floats,
    averages: Sequence[float | None],
    names: Sequence[str],
    title: str,
    path: Path,
) -> None:
    occurring = [
        (average, name, index)
        for index, (average, name) in enumerate(zip(averages, names, strict=True))
        if average is not None
    ]
    named = sorted(occurring)[:NAMED_CURVES] if len(averages) > MANY else occurring
    figure = Figure(figsize=(5, 4.2), layout="constrained")
    axes = figure.subplots()
    for average, name, index in [curve for curve in occurring if curve not in named] + named:
        precision, recall, _ = precision_recall_curve(labels == index, probabilities[:, index])
        if (average, name, index) in named:
            axes.step(recall, precision, where="post", label=f"{name} (AP {average:.4f})")
        else:
            axes.step(recall, precision, where="post", color="0.8", linewidth=0.8)
    axes.set(xlim=(0, 1.01), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
    axes.set_title(title, fontsize=10)
    axes.legend(loc="lower left", fontsize=8)
    save(figure, path)


def draw_reliability(
    before: Sequence[Mapping[str, Any]],
    after: Sequence[Mapping[str, Any]],
    names: tuple[str, str],
    title: str,
    path: Path,
) -> None:
    """Share right against the verdict's probability, by bins of `reliability`, before and after the temperature."""
    with lettered([title]) as drawable:
        _draw_reliability(before, after, names, title_of(title, (), drawable), path)


def _draw_reliability(
    before: Sequence[Mapping[str, Any]],
    after: Sequence[Mapping[str, Any]],
    names: tuple[str, str],
    title: str,
    path: Path,
) -> None:
    figure = Figure(figsize=(5, 5.2), layout="constrained")
    axes, below = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    for bins, name, marker in ((before, names[0], "o"), (after, names[1], "s")):
        axes.errorbar(
            [row["confidence"] for row in bins],
            [row["share"] for row in bins],
            yerr=_arms(bins),
            marker=marker,
            markersize=4,
            capsize=2,
            linewidth=1,
            label=name,
        )
        middles = [(row["above"] + row["up_to"]) / 2 for row in bins]
        widths = [row["up_to"] - row["above"] for row in bins]
        below.bar(middles, [row["count"] for row in bins], widths, alpha=0.5)
    axes.set(ylabel="share right", ylim=(0, 1.02))
    axes.set_title(title, fontsize=10)
    axes.legend(loc="upper left", fontsize=8)
    below.set(xlabel="probability of the verdict", ylabel="pictures", xlim=(0, 1), yscale="symlog")
    below.set_ylim(bottom=0)
    save(figure, path)


def draw_slices(traits: Mapping[str, Mapping[str, Any]], accuracy: float, title: str, path: Path) -> None:
    """Accuracy with its interval in each slice of `by_slice`; the line is that of all pictures."""
    with lettered([title]) as drawable:
        _draw_slices(traits, accuracy, title_of(title, (), drawable), path)


def _draw_slices(traits: Mapping[str, Mapping[str, Any]], accuracy: float, title: str, path: Path) -> None:
    rows = [(trait, row) for trait, figures in traits.items() for row in figures["slices"]]
    figure = Figure(figsize=(6, 1.2 + 0.32 * len(rows)), layout="constrained")
    axes = figure.subplots()
    places = range(len(rows))
    slices = [row for _, row in rows]
    axes.axvline(100 * accuracy, color="0.7", linewidth=1)
    axes.errorbar(
        [100 * row["share"] for row in slices], places, xerr=100 * _arms(slices), fmt="o", markersize=4, capsize=3
    )
    axes.set_yticks(places, [f"{trait}: {row['name']} (n = {row['count']})" for trait, row in rows], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("accuracy, % with 95 % interval")
    axes.set_title(title, fontsize=10)
    save(figure, path)


def draw_sizes(measured: Mapping[str, Mapping[str, Any]], title: str, path: Path) -> None:
    """Accuracy with its interval against the network's time, a point for each input size.

    Args:
        measured: what `size_figures` returned, by precision; one without a name has no entry in the legend.
    """
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for number, (name, report) in enumerate(measured.items()):
        rows, color = report["sizes"], f"C{number}"
        cost = [row["milliseconds"] for row in rows]
        shares = [row["accuracy"] for row in rows]
        heights = [100 * row["share"] for row in shares]
        axes.errorbar(
            cost,
            heights,
            yerr=100 * _arms(shares),
            fmt="o-",
            capsize=3,
            linewidth=1,
            color=color,
            label=name or None,
        )
        for row, place in zip(rows, zip(cost, heights, strict=True), strict=True):
            axes.annotate(str(row["size"]), place, xytext=(4, 6), textcoords="offset points", fontsize=8)
            if row["size"] == report["knee"]:
                whose = f" of {name}" if name else ""
                label, ring = f"knee{whose}: {row['size']} pixels", color if name else "C3"
                axes.plot(*place, "o", markersize=14, markerfacecolor="none", color=ring, label=label)
    axes.set(
        xlabel="network alone, milliseconds of one CPU thread per picture", ylabel="accuracy, % with 95 % interval"
    )
    axes.set_title(title, fontsize=10)
    axes.legend(loc="best", fontsize=8)
    save(figure, path)


def draw_curves(history: Sequence[Mapping[str, float]], path: Path) -> None:
    """Rows of history.csv: both losses, and the validation's accuracy over the size of the training pictures."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    losses, accuracy = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in history]
    for key, name in (("train_loss", "training"), ("val_loss", "validation")):
        losses.plot(epochs, [row[key] for row in history], marker=".", label=name)
    losses.set_ylabel("mean cross-entropy")
    losses.legend(fontsize=8)
    accuracy.plot(epochs, [100 * row["val_accuracy"] for row in history], marker=".", color="C1")
    accuracy.set_ylabel("validation accuracy, %")
    sizes = accuracy.twinx()
    sizes.step(epochs, [row["size"] for row in history], where="mid", color="0.7", linewidth=1)
    sizes.set_ylabel("training pictures, pixels", color="0.5")
    sizes.yaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (losses, accuracy):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch")
    save(figure, path)


def draw_mistakes(mistakes: Sequence[Mistake], classes: Sequence[str], path: Path) -> None:
    """A tile per mistake, in their order, each with truth, verdict and probability."""
    rows = max(1, -(-len(mistakes) // COLUMNS))
    sheet = Image.new("RGB", (COLUMNS * TILE, rows * (TILE + CAPTION)), "white")
    draw = ImageDraw.Draw(sheet)
    for index, mistake in enumerate(mistakes):
        x, y = index % COLUMNS * TILE, index // COLUMNS * (TILE + CAPTION)
        picture = upright(open_image(read_picture_file(mistake.path)))
        picture.thumbnail((TILE - 4, TILE - 4))
        sheet.paste(picture, (x + (TILE - picture.width) // 2, y + (TILE - picture.height) // 2))
        verdict, truth = (_named(label, classes) for label in (mistake.verdict, mistake.truth))
        lines = (f"{verdict} ({mistake.probability:.2f})", f"is {truth}", mistake.path.name)
        for line, (text, color) in enumerate(zip(lines, ("black", "black", "grey"), strict=True)):
            shown = "".join(sign if sign.isprintable() else " " for sign in text)[:26]
            if font := font_for(shown, 10):
                draw.text((x + 4, y + TILE + 12 * line), shown, fill=color, font=font)
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG")
    write_atomic(path, buffer.getvalue())


def _named(label: str, classes: Sequence[str]) -> str:
    """A class as Pillow can write it here, or by its number in report.json, from 1."""
    return label if font_for(label, 10) else f"#{classes.index(label) + 1}"


def _arms(proportions: Sequence[Mapping[str, Any]]) -> Floats:
    """Lengths of error bars, (2, n); rounding can put a bound of 0 or 1 on the wrong side by 1e-17."""
    lengths = [(row["share"] - row["low"], row["high"] - row["share"]) for row in proportions]
    return np.maximum(0, np.array(lengths, dtype=np.float64).T)
