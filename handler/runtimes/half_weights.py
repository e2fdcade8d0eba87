"""Weights in half precision before the first picture, where autocast would convert them in every batch."""

from typing import Any

# Operations that autocast computes in fp16 whatever the type of their arguments, so that their weights can be fp16.
HALVED = ("aten::conv1d", "aten::conv2d", "aten::linear")


def halve_weights(network: Any) -> list[str]:
    """Convert the float weights that only convolutions and linear layers read, in place, and return their names.

    Under autocast to fp16 the answers stay the same to the last bit. Norms keep fp32.

    Args:
        network: the module of an exported program.
    """
    import torch

    names: dict[str, bool] = {}
    for node in network.graph.nodes:
        if node.op == "get_attr":
            halved = [getattr(user.target, "_schema", None) for user in node.users]
            fits = all(schema is not None and schema.name in HALVED for schema in halved)
            names[node.target] = names.get(node.target, True) and fits
    parameters = dict(network.named_parameters(remove_duplicate=False))
    # A parameter of two names, one of which something else reads, stays.
    kept = {id(parameters[name]) for name, fits in names.items() if not fits and name in parameters}
    chosen = [
        name
        for name, fits in names.items()
        if fits and name in parameters and parameters[name].dtype == torch.float32 and id(parameters[name]) not in kept
    ]
    for name in chosen:
        parameters[name].data = parameters[name].data.half()
    return chosen
