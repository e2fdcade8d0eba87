"""The table and the picture of the released model's training runs: python -m docs.training_runs draws it again."""

from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from common.wilson import wilson_bounds

PICTURE = Path(__file__).with_name("training-runs.png")
SOURCES = ("small pictures", "photographs")
# Accuracy that the project aims at, by source.
AIMS = (0.983, 0.988)


@dataclass(frozen=True, slots=True)
class Run:
    """A run, and how many of how many test pictures its network is right on, in fp32 at its own input size."""

    name: str
    training: str
    epochs: int
    small: tuple[int, int]
    photographs: tuple[int, int]


RUNS = (
    Run("0.1.0", "labels alone, 64 to 96 px", 14, (2721, 2907), (478, 500)),
    Run("first part of 0.2.0", "labels and a teacher, 64 to 112 px", 29, (2811, 2907), (485, 500)),
    Run("0.2.0", "the same, 112 to 128 px", 38, (2831, 2902), (488, 500)),
    Run("0.3.0", "the same, a quarter of the pictures made worse, 96 to 128 px", 45, (2832, 2902), (489, 500)),
)


def table() -> str:
    """Return the rows in Markdown, with Wilson's 95 % intervals."""
    header = ["run", "training", "epochs in all", *SOURCES]
    rows = [[run.name, run.training, str(run.epochs), written(run.small), written(run.photographs)] for run in RUNS]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, ["---"] * len(header), *rows])


def written(counts: tuple[int, int]) -> str:
    low, high = wilson_bounds(*counts, confidence=0.975)
    return f"{100 * counts[0] / counts[1]:.2f} % ({100 * low:.2f} to {100 * high:.2f}, n = {counts[1]:,})"


def draw(path: Path = PICTURE) -> None:
    """Draw accuracy against epochs, with intervals and the aims."""
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    epochs = [run.epochs for run in RUNS]
    for source, aim, color, side, counts in (
        (SOURCES[0], AIMS[0], "tab:blue", -0.15, [run.small for run in RUNS]),
        (SOURCES[1], AIMS[1], "tab:orange", 0.15, [run.photographs for run in RUNS]),
    ):
        shares = [100 * right / count for right, count in counts]
        bounds = [wilson_bounds(*pair, confidence=0.975) for pair in counts]
        below = [share - 100 * low for share, (low, _) in zip(shares, bounds, strict=True)]
        above = [100 * high - share for share, (_, high) in zip(shares, bounds, strict=True)]
        axes.errorbar(
            [epoch + side for epoch in epochs],
            shares,
            (below, above),
            color=color,
            marker="o",
            markersize=4,
            capsize=3,
            label=source,
        )
        axes.axhline(100 * aim, color=color, linestyle="--", linewidth=1, label=f"aim, {source}")
    axes.set_xticks(epochs, [f"{run.epochs}\n{run.name.replace('first part of ', 'part of ')}" for run in RUNS])
    axes.set_xlabel("epochs in all, and the run")
    axes.set_ylabel("right, % (95 % interval)")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(loc="lower right", fontsize=8)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    draw()
