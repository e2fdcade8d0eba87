"""The loss of a batch."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn import functional

from tests.training.train_support import (
    tiny,
)
from training import config as configs
from training.learning.loss import label_loss, loss_of, mix
from training.learning.runtime import Group
from training.learning.tasks.balance import class_weights

ALONE = Group(0, 1, torch.device("cpu"))


def test_mixup_mixes_each_picture_with_its_neighbour() -> None:
    pixels = torch.tensor([[0, 100], [200, 50], [40, 40]], dtype=torch.uint8)
    assert mix(pixels, 0.75).tolist() == [[10, 85], [150, 62], [80, 42]]
    assert mix(pixels, 0.75).dtype == torch.uint8
    assert torch.equal(mix(pixels, 1.0), pixels)
    features = torch.tensor([[0.0], [1.0]])
    assert mix(features, 0.75).tolist() == [[0.25], [0.75]]


class Fixed(torch.nn.Module):
    """Logits that are its inputs, whatever they are mixed of."""

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, None]:
        return inputs.float(), None


@pytest.mark.parametrize("share", [1.0, 0.7])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_cross_entropy_of_mixed_and_smoothed_labels(share: float, smoothing: float) -> None:
    torch.manual_seed(0)
    inputs, labels, none = torch.randn(6, 3), torch.tensor([0, 1, 2, 2, 1, 0]), torch.zeros(6, dtype=torch.int64)
    recipe = configs.load(overrides=[f"train.label_smoothing={smoothing}"]).train
    task: Any = SimpleNamespace(class_weights=None)  # asked for more only where there is something to match
    loss = loss_of((inputs, labels, none, none), Fixed(), task, recipe, share, ALONE.device, None)
    own = functional.one_hot(labels, 3).float()
    targets = share * own + (1 - share) * own.roll(1, 0)
    targets = targets * (1 - smoothing) + smoothing / 3
    wanted = -(targets * mix(inputs, share).log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(loss, wanted)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_balanced_weights_make_each_class_weigh_the_same(smoothing: float) -> None:
    recipe = tiny("train.class_weights=balanced", f"train.label_smoothing={smoothing}").train
    targets = torch.tensor([0] * 6 + [1] * 2)
    weights_of = class_weights(targets.tolist(), 2, recipe)
    assert weights_of is not None
    assert weights_of.tolist() == pytest.approx([8 / 12, 2.0])
    logits = torch.randn(8, 2, generator=torch.Generator().manual_seed(0))
    losses = [
        functional.cross_entropy(logits[targets == label], targets[targets == label], label_smoothing=smoothing)
        for label in (0, 1)
    ]
    loss = label_loss(logits, targets, recipe, weights_of)
    torch.testing.assert_close(loss, (losses[0] + losses[1]) / 2)
