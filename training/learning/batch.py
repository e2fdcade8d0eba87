"""The batch of `train.batch_size: auto`: it follows the number of pictures, and the learning rate follows it.

With the batch of a large data set, a folder of a hundred pictures is one step an epoch: too few steps to learn in, at a
learning rate for many.
"""

import math

from training.config import Config

LARGEST = 128
# Also what batches are a multiple of, so that 2, 4 or 8 processes can share one.
SMALLEST = 8
# Steps that an epoch has at least, as far as batches of SMALLEST allow.
STEPS = 16


def for_pictures(config: Config, count: int) -> Config:
    """Return the config with numbers in the place of `auto` for `count` pictures to train on.

    The learning rate is in proportion to the batch for SGD (Goyal et al., arXiv 1706.02677), and to its square root for
    Adam, whose steps do not depend on the size of a gradient (Malladi et al., arXiv 2205.10287).
    """
    train = config.train
    if train.batch_size != "auto":
        return config
    batch = min(LARGEST, max(SMALLEST, count // STEPS // SMALLEST * SMALLEST))
    share = batch / LARGEST
    rate = train.learning_rate * (share if train.optimizer == "sgd" else math.sqrt(share))
    return config.model_copy(update={"train": train.model_copy(update={"batch_size": batch, "learning_rate": rate})})
