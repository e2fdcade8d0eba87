import math

import pytest

from handler.files import UserError
from training import config as configs
from training.learning.divergence import EPOCHS, FAR, refuse_divergence

LOST = 2 * FAR * math.log(3)


def judge(losses: list[float], epochs: int = 20) -> None:
    refuse_divergence(losses, 3, configs.load(overrides=[f"train.epochs={epochs}", "train.learning_rate=0.3"]).train)


def test_a_loss_far_beyond_guessing_for_long_is_refused_with_what_to_do() -> None:
    with pytest.raises(UserError) as error:
        judge([1.0] + [LOST] * (EPOCHS - 1) + [2.5e6])
    assert str(error.value) == (
        "The run has diverged: its validation loss is 2.5e+06 after 6 of 20 epochs, where guessing among 3 classes "
        "costs 1.10. Lower train.learning_rate (it is 0.3), or start from trained weights by --config small; in "
        "another --run."
    )


@pytest.mark.parametrize(
    "losses", [[], [LOST] * (EPOCHS - 1), [LOST] * EPOCHS + [1.0], [1.0] + [LOST] * (EPOCHS - 1), [3.0] * 20]
)
def test_a_run_may_begin_badly_recover_or_be_sure_and_wrong(losses: list[float]) -> None:
    judge(losses)


def test_a_short_run_is_judged_by_all_of_its_epochs() -> None:
    judge([LOST], 2)
    with pytest.raises(UserError, match="has diverged"):
        judge([LOST, LOST], 2)
