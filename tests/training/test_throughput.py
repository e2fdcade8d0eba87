import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from handler.files import UserError
from tests.training.train_support import changed, draw_manifest, tiny
from training.config import Config
from training.data.loaders import Batch, TrainPictures
from training.data.manifest import Manifest
from training.data.sampler import Sample
from training.learning import throughput
from training.learning.learner import Learner
from training.learning.model import build
from training.learning.throughput import Throughput, measure, slowdown_of_all


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Sixteen pictures to train on."""
    return draw_manifest(tmp_path_factory.mktemp("few"), {"train": 8, "val": 1})


def test_a_machine_that_slows_down_is_not_the_loader() -> None:
    row = Throughput(64, alone_rounds=[120.0, 100.0, 80.0, 60.0], fed_rounds=[99.0, 81.0, 7.0])
    assert row.slowdown == pytest.approx(0.1)
    assert (row.alone, row.fed) == pytest.approx((90.0, 81.0))


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
    (row,) = measure(config, few, tmp_path, rounds=2, steps=2)
    assert row.size == 32
    assert (len(row.alone_rounds), len(row.fed_rounds)) == (3, 2)
    assert max(row.fed_rounds) < 2 / 0.4 * 1.01
    assert row.slowdown > 0.2


def test_a_partly_frozen_network_is_timed_as_it_is_trained(
    few: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(build("resnet18", 2).state_dict(), tmp_path / "start.pt")
    config = tiny(
        "model.arch=resnet18", f"model.weights={tmp_path / 'start.pt'}", "model.freeze_to=layer2", "train.batch_size=2"
    )
    timed = list[Learner]()
    monkeypatch.setattr(throughput, "_measure_size", lambda context, learner, *_: timed.append(learner))
    measure(config, few, tmp_path, rounds=1, steps=1)
    modes = {name: block.training for name, block in timed[0].student.named_modules() if name.endswith(".bn1")}
    assert {name: mode for name, mode in modes.items() if mode} == {
        name: True for name in modes if "layer3" in name or "layer4" in name
    }
    assert len(modes) > 4


def test_too_few_pictures_are_one_sentence(few: Manifest, small_config: Config, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"A round takes 96 pictures; there are 16[.]"):
        measure(small_config, few, tmp_path)
