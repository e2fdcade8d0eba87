import numpy as np
import pytest

from handler.files import UserError
from handler.preprocess import Pixels
from handler.runtimes.runtime import Logits
from training.release import parity


def rows(*cats: float) -> Logits:
    return np.array([[cat, 1 - cat] for cat in cats], dtype=np.float32)


def test_what_differs_by_no_more_than_is_allowed_passes_with_its_figures() -> None:
    figures = parity.compare(rows(0.9, 0.2004), rows(0.9, 0.2), 1e-3, "One", "the other")
    assert figures == {"max_difference": pytest.approx(4e-4, rel=0.05), "allowed": 1e-3, "near_ties": 0}


@pytest.mark.parametrize("cat", [0.206, np.nan])
def test_what_differs_by_more_or_is_no_number_is_refused(cat: float) -> None:
    with pytest.raises(UserError, match=r"One differs from the other by \S+ in a probability; allowed is 0.005"):
        parity.compare(rows(0.9, cat), rows(0.9, 0.2), 5e-3, "One", "the other")


def test_another_label_is_refused_though_the_probability_hardly_moved() -> None:
    # The reference lies 0.006 apart, so it can tell; what is compared moved by 0.004 only.
    with pytest.raises(UserError, match="One gives 1 of 2 pictures another label than the other"):
        parity.compare(rows(0.9, 0.499), rows(0.9, 0.503), 5e-3, "One", "the other")


def test_another_label_is_counted_where_the_reference_itself_cannot_tell() -> None:
    figures = parity.compare(rows(0.9, 0.499), rows(0.9, 0.502), 5e-3, "One", "the other")
    assert figures["near_ties"] == 1


def test_answers_are_the_same_in_batches_of_any_size() -> None:
    def logits(pixels: Pixels) -> Logits:
        return np.asarray(pixels.astype(np.float32).mean(axis=(1, 2)))

    pixels = np.random.default_rng(0).integers(0, 256, (7, 4, 4, 3), dtype=np.uint8)
    whole = parity.answers(logits, pixels, 7)
    assert whole.shape == (7, 3)
    for batch in (1, 3, 32):
        np.testing.assert_array_equal(parity.answers(logits, pixels, batch), whole)
