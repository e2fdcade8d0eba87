"""The archive with a tiny network, which `loadtest.stages` serves: it needs onnx, as training does."""

from pathlib import Path

import numpy as np

from handler.predictor import Predictor
from loadtest.stages.tiny import WEIGHTS, write_tiny
from serving.server.archive import read_archive, unpack


def test_the_tiny_archive_is_accepted_and_answers_by_the_mean_of_each_colour(archive: Path, tmp_path: Path) -> None:
    write_tiny(archive, tmp_path / "catsdogs.mar")
    assert read_archive(tmp_path / "catsdogs.mar", None).name == "catsdogs"
    unpack(tmp_path / "catsdogs.mar", tmp_path / "model")
    predictor = Predictor(tmp_path / "model", "ort")
    size = predictor.release.input.size
    red = np.zeros((1, size, size, 3), dtype=np.uint8)
    red[..., 0] = 200
    logits = predictor.network.logits(red)
    assert np.allclose(logits, 200 * WEIGHTS[0], atol=1e-3)
