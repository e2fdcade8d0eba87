"""Stands in for torch in a TorchServe worker where torch is not installed.

TorchServe's worker imports torch in one place, to recognise tensors among the answers. Ours are bytes, so this
class, of which there is never an instance, is all that the import needs. The launcher puts this folder on a
worker's path only where there is no real torch.
"""


class Tensor:
    pass
