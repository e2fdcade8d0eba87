"""Frozen networks: without their last layer, and asked about pictures by all processes of a run together."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from torch import nn

from training.data.manifest import Picture
from training.learning.model import Classifier, head_inputs, head_of
from training.learning.tasks.context import Context
from training.learning.views import Cache, Features, Views, fill


def without_head(classifier: Classifier) -> tuple[Classifier, nn.Module]:
    """A copy of `classifier` that ends with the features (n, k), and a copy of its last layer."""
    rest = copy.deepcopy(classifier)
    head = head_of(rest.backbone)
    prefix = next(name for name, module in rest.backbone.named_modules() if module is head)
    parent, _, name = prefix.rpartition(".")
    head_inputs(rest.backbone)  # refuses what is no linear layer
    setattr(rest.backbone.get_submodule(parent), name, nn.Identity())
    return rest, head


def features_of(
    context: Context, network: nn.Module, name: str, views: Views, pictures: Sequence[Picture], work: str
) -> Features:
    """Return a frozen network's outputs (pictures, views, k); what the cache lacks is computed by all processes.

    Args:
        network: uint8 (n, size, size, 3) -> (n, k), in evaluation mode and on the group's device.
        name: of the network and its weights, by which the cache knows it.
        work: for `context.on_work`.
    """
    group, workers = context.group, context.config.train.workers
    store = Cache(context.cache, name, views)
    share = pictures[group.rank :: group.world]
    with _alone(store, context):
        on_work = partial(context.on_work, work)
        fill(store, network, context.manifest.root, share, group.device, context.amp, workers, on_work)
        group.wait()
    return store.read(pictures)


@contextmanager
def _alone(store: Cache, context: Context) -> Iterator[None]:
    """The processes of this run fill a cache together, and those of no other run at that time."""
    lock = store.alone(context.say) if context.group.rank == 0 else None
    context.group.wait()
    try:
        yield
    finally:
        if lock is not None:
            lock.release()
