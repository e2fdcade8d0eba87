import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from training.data.manifest import Manifest
from training.evaluation import input_size
from training.evaluation.evaluate import evaluate
from training.learning.model import build


@pytest.mark.parametrize(
    ("rows", "knee"),
    # Size, points below the best, p against the best.
    [
        ([(112, 2.0, 0.001), (128, 0.25, 0.4), (144, 0.1, 0.5), (160, 0.0, 1.0)], 128),
        # Few pictures show nothing; the loss in points counts all the same.
        ([(112, 0.3, 0.2), (128, 0.25, 0.6), (160, 0.0, 1.0)], 128),
        # Many pictures show what is small.
        ([(112, 0.4, 0.01), (128, 0.0, 1.0), (160, 0.1, 0.9)], 128),
        ([(112, 2.0, 0.001), (128, 1.0, 0.01), (160, 0.0, 1.0)], 160),
    ],
)
def test_the_knee_is_the_smallest_size_that_is_as_good_as_the_best(
    rows: list[tuple[int, float, float]], knee: int
) -> None:
    named = [{"size": size, "points_below_best": points, "p": p} for size, points, p in rows]
    assert input_size.choose_knee(named)["size"] == knee


def test_the_sentence_says_what_the_knee_gains() -> None:
    right = {112: np.arange(1000) < 900, 128: np.arange(1000) < 958, 160: np.arange(1000) < 960}
    costs = {112: 1.0, 128: 2.0, 160: 4.0}
    assert input_size.size_figures(right, costs)["sentence"] == (
        "128 pixels is the knee: 0.20 points below 160 pixels, the best, for 50% of its time "
        "(McNemar p = 0.5, n = 1000)."
    )
    del right[128]
    assert input_size.size_figures(right, costs)["sentence"] == (
        "160 pixels is the knee and the most accurate size (n = 1000): no smaller one is as good within 0.25 points."
    )


def test_sizes_are_measured_on_val(run: Path, manifest: Manifest, tmp_path: Path) -> None:
    measured = input_size.measure_sizes(run / "best.pt", manifest, [64, 32, 64], tmp_path)
    assert json.loads((tmp_path / "sizes.json").read_bytes()) == measured
    assert [row["size"] for row in measured["sizes"]] == [32, 64]
    # 32 pixels are the run's own size, at which evaluate gets as many right.
    report = evaluate(run / "best.pt", manifest, tmp_path / "evaluation", "val")
    assert measured["sizes"][0]["accuracy"]["right"] == report["slices"]["web"]["right"]
    assert measured["knee"] in (32, 64)
    assert measured["sentence"].startswith(f"{measured['knee']} pixels is the knee")
    with Image.open(tmp_path / "sizes.png") as image:
        image.load()


def test_larger_pictures_cost_more_and_threads_are_given_back() -> None:
    threads = torch.get_num_threads()
    costs = input_size.network_times(build("baseline", 2).eval(), [32, 128], rounds=3)
    assert 0 < costs[32] < costs[128]
    assert torch.get_num_threads() == threads
