from typing import Any

import pytest

from handler.files import UserError
from training.release.worth import measure_worth, refuse_poor


def report(*confusions: list[list[int]]) -> dict[str, Any]:
    """Return `evaluate`'s report of slices with these confusion counts; rows are truths."""
    slices = {
        str(number): {
            "right": sum(row[index] for index, row in enumerate(counts)),
            "count": sum(map(sum, counts)),
            "confusion": counts,
        }
        for number, counts in enumerate(confusions)
    }
    return {"classes": ["daisy", "rose", "tulip"], "slices": slices}


def test_the_worth_is_that_of_all_slices_together() -> None:
    first, second = [[3, 1, 0], [0, 2, 0], [0, 0, 0]], [[0, 0, 0], [1, 6, 0], [0, 0, 7]]
    accuracy, common, share = measure_worth(report(first, second))
    assert (accuracy.right, accuracy.count, common, share) == (18, 20, "rose", 0.45)


def test_a_model_that_is_right_as_often_as_its_most_common_class_is_refused_with_a_way_out() -> None:
    with pytest.raises(UserError) as error:
        refuse_poor(report([[0, 5, 0], [0, 10, 0], [0, 5, 0]]))
    assert str(error.value) == (
        "The model is right on 50.00 % (29.93 to 70.07, n = 20) of the test pictures, which does not show that it is "
        "better than always answering rose (50.00 %). Train it on more pictures or with another config, or test it on "
        "more; to export it as it is: --allow-poor"
    )


def test_a_few_right_answers_are_not_enough() -> None:
    # All of 3 right has an interval from 44 %, and a third is guessed right; of 2 of one class, two thirds are.
    refuse_poor(report([[1, 0, 0], [0, 1, 0], [0, 0, 1]]))
    with pytest.raises(UserError, match="does not show that it is better than always answering daisy"):
        refuse_poor(report([[2, 0, 0], [0, 1, 0], [0, 0, 0]]))


def test_a_model_whose_lower_bound_is_above_the_most_common_class_passes() -> None:
    refuse_poor(report([[6, 2, 2], [2, 6, 2], [1, 2, 7]]))
