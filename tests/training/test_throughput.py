import time
from pathlib import Path
from typing import Any

import pytest

from handler.files import UserError
from tests.training.train_support import changed, draw_manifest
from training.config import Config
from training.data import Sample, TrainPictures
from training.manifest import Manifest
from training.throughput import Throughput, measure


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Sixteen pictures to train on."""
    return draw_manifest(tmp_path_factory.mktemp("few"), {"train": 8, "val": 1})


def test_a_slow_step_now_and_then_is_the_machines() -> None:
    found = Throughput(64, 8, alone_s=[1.0, 1.0, 9.0, 1.0], fed_s=[1.25, 1.25, 1.25, 7.0])
    assert (found.alone, found.fed) == (8.0, 6.4)
    assert found.slowdown == pytest.approx(0.2)


def test_a_loader_that_keeps_the_step_waiting_is_seen(
    few: Manifest, small_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = TrainPictures.__getitem__

    def slow(self: TrainPictures, sample: Sample) -> Any:
        time.sleep(0.2)
        return quick(self, sample)

    monkeypatch.setattr(TrainPictures, "__getitem__", slow)
    config = changed(small_config, batch_size=2)
    (found,) = measure(config, few, tmp_path, rounds=2, steps=2)
    assert found.size == 32
    assert len(found.alone_s) == len(found.fed_s) == 4
    assert min(found.fed_s) > 0.4
    assert found.slowdown == 1 - found.fed / found.alone


def test_too_few_pictures_are_one_sentence(few: Manifest, small_config: Config, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"A round takes 80 pictures; there are 16[.]"):
        measure(small_config, few, tmp_path)
