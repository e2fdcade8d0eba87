import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from handler.files import UserError
from tests.training.train_support import changed, draw_manifest
from training.config import Config
from training.data.loaders import Batch, TrainPictures
from training.data.manifest import Manifest
from training.data.sampler import Sample
from training.learning.throughput import Throughput, measure, slowdown_of_all


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Sixteen pictures to train on."""
    return draw_manifest(tmp_path_factory.mktemp("few"), {"train": 8, "val": 1})


def test_a_machine_that_slows_down_is_not_the_loader() -> None:
    throughput = Throughput(64, alone_rounds=[120.0, 100.0, 80.0, 60.0], fed_rounds=[99.0, 81.0, 7.0])
    assert throughput.slowdown == pytest.approx(0.1)
    assert (throughput.alone, throughput.fed) == pytest.approx((90.0, 81.0))


def test_a_run_is_slowed_by_what_its_pictures_take_longer() -> None:
    small, large = Throughput(64, [200.0, 200.0], [100.0]), Throughput(128, [50.0, 50.0], [50.0])
    # Of a picture of each size: 25 ms alone and 30 ms fed.
    assert slowdown_of_all([small, large]) == pytest.approx(1 / 6)


def test_a_loader_that_keeps_the_step_waiting_is_seen(
    few: Manifest, small_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = TrainPictures.__getitems__

    def slow(self: TrainPictures, samples: Sequence[Sample]) -> Batch:
        time.sleep(0.4)
        return quick(self, samples)

    monkeypatch.setattr(TrainPictures, "__getitems__", slow)
    config = changed(small_config, batch_size=2)
    (throughput,) = measure(config, few, tmp_path, rounds=2, steps=2)
    assert throughput.size == 32
    assert (len(throughput.alone_rounds), len(throughput.fed_rounds)) == (3, 2)
    assert max(throughput.fed_rounds) < 2 / 0.4 * 1.01
    assert throughput.slowdown > 0.2


def test_too_few_pictures_are_one_sentence(few: Manifest, small_config: Config, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"A round takes 96 pictures; there are 16[.]"):
        measure(small_config, few, tmp_path)
