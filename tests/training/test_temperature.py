import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from training.evaluation.metrics import Floats, Ints
from training.evaluation.temperature import fit_temperature


def calibrated(count: int, classes: int = 3) -> tuple[Ints, Floats]:
    """Logits, and labels drawn from their own probabilities."""
    rng = np.random.default_rng(1)
    logits = log_softmax(rng.normal(0, 2, (count, classes)), axis=1)
    cumulated = np.exp(logits).cumsum(axis=1)
    labels = (rng.random((count, 1)) > cumulated[:, :-1]).sum(axis=1)
    return labels.astype(np.int64), logits


def alike(probability: float, right: int, wrong: int = 0) -> tuple[Ints, Floats]:
    """So many pictures of two classes, all answered by class 1 with one probability."""
    logits = np.tile([0.0, np.log(probability / (1 - probability))], (right + wrong, 1))
    return np.array([1] * right + [0] * wrong), logits


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_much_data_undoes_a_scale(factor: float) -> None:
    labels, logits = calibrated(20_000)
    assert fit_temperature(factor * logits, labels).value == pytest.approx(factor, rel=0.03)


@pytest.mark.parametrize("factor", [0.369, 1.0, 3.0])
def test_with_as_many_pictures_as_the_released_model_had_it_is_within_a_percent_of_what_they_alone_give(
    factor: float,
) -> None:
    labels, logits = calibrated(2365)
    fitted = fit_temperature(factor * logits, labels)
    assert fitted.unshrunk is not None
    assert fitted.value == pytest.approx(fitted.unshrunk, rel=0.01)


@pytest.mark.parametrize("probability", [0.9, 0.95, 0.99])
def test_twenty_right_answers_leave_the_temperature_near_1_and_nobody_sure(probability: float) -> None:
    labels, logits = alike(probability, 20)
    fitted = fit_temperature(logits, labels)
    assert (fitted.count, fitted.unshrunk) == (20, None)
    assert 0.6 < fitted.value < 1.5
    # 20 of 20 right say that a probability is about 21/22, whatever the network says itself.
    assert softmax(logits / fitted.value, axis=1).max() < 0.985


@pytest.mark.parametrize("probability", [0.6, 0.8, 0.95, 0.99999])
@pytest.mark.parametrize("count", [3, 20, 200])
def test_no_number_of_right_answers_makes_a_network_surer_than_it_can_show(probability: float, count: int) -> None:
    labels, logits = alike(probability, count)
    surest = softmax(logits / fit_temperature(logits, labels).value, axis=1).max()
    assert surest < max(1 - 0.2 / (count + 1), probability)


def test_wrong_answers_of_a_sure_network_take_its_sureness() -> None:
    labels, logits = alike(0.9997, 187, 13)
    fitted = fit_temperature(logits, labels)
    assert softmax(logits / fitted.value, axis=1).max() == pytest.approx(187 / 200, abs=0.01)


def test_all_wrong_is_no_bound_either() -> None:
    labels, logits = alike(0.95, 0, 20)
    fitted = fit_temperature(logits, labels)
    assert fitted.unshrunk is None
    assert 2 < fitted.value < 20


def test_the_fewer_pictures_the_nearer_to_1() -> None:
    labels, logits = calibrated(4000)
    values = [fit_temperature(0.3 * logits[:count], labels[:count]).value for count in (5, 50, 4000)]
    assert 1 > values[0] > values[1] > values[2] == pytest.approx(0.3, rel=0.05)
