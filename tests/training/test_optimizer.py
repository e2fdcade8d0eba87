"""The optimizer and its schedules."""

import math

import pytest
import torch

from training import config as configs
from training.learning.optimizer import learning_rate, make_optimizer, picture_size, running_mean


def test_the_learning_rate_rises_over_one_epoch_and_falls_to_zero() -> None:
    config = configs.load(overrides=["train.epochs=14", "train.warmup_epochs=1"]).train
    rates = [learning_rate(config, step, 150) for step in range(config.epochs * 150)]
    assert max(rates) == rates[149] == rates[150] == config.learning_rate
    assert rates[:150] == sorted(rates[:150])
    assert rates[150:] == sorted(rates[150:], reverse=True)
    assert 0 < rates[-1] < 1e-5 * config.learning_rate
    # The cosine is at half of its height in its middle.
    assert rates[150 + 13 * 75] == pytest.approx(config.learning_rate / 2)


@pytest.mark.parametrize(("epochs", "steps"), [(1, 1), (1, 3), (1, 100), (2, 1), (3, 7)])
def test_the_shortest_runs_have_a_learning_rate_too(epochs: int, steps: int) -> None:
    config = configs.load(overrides=[f"train.epochs={epochs}"]).train
    rates = [learning_rate(config, step, steps) for step in range(epochs * steps)]
    assert max(rates) == config.learning_rate
    assert all(rate > 0 and math.isfinite(rate) for rate in rates)


@pytest.mark.parametrize(("smallest", "largest", "epochs"), [(64, 96, 14), (32, 224, 5), (40, 100, 9), (128, 128, 3)])
def test_pictures_grow_in_multiples_of_sixteen_within_the_sizes_that_are_named(
    smallest: int, largest: int, epochs: int
) -> None:
    overrides = [f"train.min_size={smallest}", f"train.max_size={largest}", f"train.epochs={epochs}"]
    config = configs.load(overrides=overrides).train
    sizes = [picture_size(config, epoch) for epoch in range(epochs)]
    assert sizes == sorted(sizes)
    assert all(size % 16 == 0 or size in (smallest, largest) for size in sizes)
    assert sizes[0] == smallest
    assert largest - 8 <= sizes[-1] <= largest


def test_the_only_epoch_has_the_smallest_pictures() -> None:
    config = configs.load(overrides=["train.epochs=1", "train.min_size=64", "train.max_size=96"]).train
    assert picture_size(config, 0) == 64


def test_the_optimizer_is_the_one_that_the_config_names() -> None:
    model = torch.nn.Linear(2, 2)
    sgd = make_optimizer(model, configs.load(overrides=["train.optimizer=sgd"]).train)
    assert isinstance(sgd, torch.optim.SGD)
    assert {(group["momentum"], group["nesterov"]) for group in sgd.param_groups} == {(0.9, True)}
    for name, kind in (("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)):
        assert type(make_optimizer(model, configs.load(overrides=[f"train.optimizer={name}"]).train)) is kind


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_weight_decay_pulls_at_kernels_and_not_at_norms_and_biases(name: str) -> None:
    torch.manual_seed(0)
    kernel = torch.nn.Linear(4, 4)
    model = torch.nn.Sequential(kernel, torch.nn.BatchNorm1d(4))
    before = {key: parameter.detach().clone() for key, parameter in model.named_parameters()}
    config = configs.load(overrides=[f"train.optimizer={name}", "train.weight_decay=0.5"]).train
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    make_optimizer(model, config).step()
    moved = {key for key, parameter in model.named_parameters() if not torch.equal(parameter, before[key])}
    assert moved == {"0.weight"}
    assert kernel.weight.norm() < before["0.weight"].norm()


@pytest.mark.parametrize(("count", "decay"), [(1, 2 / 11), (80, 81 / 90), (100_000, 0.995)])
def test_the_first_steps_weights_are_forgotten_sooner(count: int, decay: float) -> None:
    means, counters = [torch.zeros(3)], [torch.tensor(1)]
    running_mean(0.995)(means, [torch.ones(3)], count)
    running_mean(0.995)(counters, [torch.tensor(7)], count)
    torch.testing.assert_close(means[0], torch.full((3,), 1 - decay))
    assert counters[0] == 7
