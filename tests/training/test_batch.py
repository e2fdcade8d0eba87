import pytest

from training import config as configs
from training.learning.batch import for_pictures


@pytest.mark.parametrize(
    ("count", "batch"), [(5, 8), (96, 8), (255, 8), (256, 16), (1000, 56), (2048, 128), (24_000, 128)]
)
def test_the_batch_follows_the_number_of_pictures(count: int, batch: int) -> None:
    assert for_pictures(configs.load(), count).train.pictures_per_step == batch


def test_two_four_or_eight_processes_can_share_any_batch() -> None:
    assert {for_pictures(configs.load(), count).train.pictures_per_step % 8 for count in range(1, 3000, 7)} == {0}


@pytest.mark.parametrize(("optimizer", "share"), [("sgd", 1 / 16), ("adam", 1 / 4), ("adamw", 1 / 4)])
def test_the_learning_rate_follows_the_batch(optimizer: str, share: float) -> None:
    config = configs.load(overrides=[f"train.optimizer={optimizer}", "train.learning_rate=0.1"])
    assert for_pictures(config, 96).train.learning_rate == pytest.approx(0.1 * share)
    assert for_pictures(config, 5000).train.learning_rate == 0.1


def test_a_number_stays_as_it_is_with_its_learning_rate() -> None:
    config = configs.load(overrides=["train.batch_size=100"])
    assert for_pictures(config, 96) == config
