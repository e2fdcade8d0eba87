"""Freezing: the first blocks of a network, or the statistics of its norms, stay as they are."""

from collections.abc import Sequence

from torch import nn

from handler.files import UserError
from training.learning.model import head_of


def freeze_to(backbone: nn.Module, last: str) -> list[nn.Module]:
    """Freeze the weights of block `last` and of all before it, in the order in which the network defines them.

    Args:
        last: a block by its name in the network, as `layer2` of a ResNet18.

    Returns:
        The frozen blocks and layers, which stay in evaluation mode so that their norms' statistics stay, too.

    Raises:
        UserError: there is no such block, or nothing but the last layer would be left.
    """
    named = list(backbone.named_parameters())
    own = [number for number, (name, _) in enumerate(named) if name.startswith(f"{last}.")]
    if not own:
        blocks = ", ".join(name for name, block in backbone.named_children() if list(block.parameters()))
        raise UserError(f"The network has no block {last!r} with weights to freeze; it has {blocks}.")
    frozen = [parameter for _, parameter in named[: own[-1] + 1]]
    if len(frozen) >= len(named) - len(list(head_of(backbone).parameters())):
        raise UserError(
            f"With all up to {last} frozen the last layer alone is trained: set model.freeze_backbone, which is faster."
        )
    for parameter in frozen:
        parameter.requires_grad_(False)
    return [module for module in backbone.modules() if _is_frozen(module)]


def training_mode(network: nn.Module, frozen: Sequence[nn.Module], norms: bool) -> None:
    """Put `network` into training mode, apart from its frozen blocks and, where `norms` are frozen, all BatchNorms."""
    network.train()
    if norms:
        freeze_norms(network)
    for module in frozen:
        module.eval()


def _is_frozen(module: nn.Module) -> bool:
    parameters = list(module.parameters())
    return bool(parameters) and not any(parameter.requires_grad for parameter in parameters)


def freeze_norms(model: nn.Module) -> None:
    """Keep the running statistics of all BatchNorms of `model` as they are until it is put into training mode again."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
