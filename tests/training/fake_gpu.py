"""A fake of a GPU on the CPU. It shows the order of calls and what a graph records, and nothing of CUDA or of speed."""

from collections import deque
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map


class Recording(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Runs operations as they are, and keeps those that compute, with the tensors they read and wrote."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        self.operations.append((func, args, kwargs, result))
        return result

    def replay(self) -> None:
        """Compute again from the same memory into the same memory: no code of the network runs."""
        for func, args, kwargs, result in self.operations:
            taken = {tensor.untyped_storage().data_ptr() for tensor in tensors((args, kwargs))}
            again = func(*args, **kwargs)
            for old, new in zip(tensors(result), tensors(again), strict=True):
                if old.untyped_storage().data_ptr() not in taken:  # no view, and not computed in place
                    old.copy_(new)


class FakeGpu:
    """A Device whose work is done when it is waited for, and whose captures compute nothing, as those of CUDA."""

    def __init__(self) -> None:
        self.queue: deque[Callable[[], Any]] = deque()
        self.captured: list[tuple[int, ...]] = []
        self.replayed: list[tuple[int, ...]] = []

    def host_buffer(self, like: torch.Tensor) -> torch.Tensor:
        return torch.zeros(like.shape, dtype=like.dtype)

    def device_buffer(self, like: torch.Tensor) -> torch.Tensor:
        return torch.zeros(like.shape, dtype=like.dtype)

    def copy(self, source: torch.Tensor, target: torch.Tensor) -> None:
        self.queue.append(lambda: target.copy_(source))

    def capture(self, work: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, Callable[[], None]]:
        with Recording() as recording:
            result = work()
        result.fill_(torch.nan)
        shape = tuple(result.shape)
        self.captured.append(shape)

        def run() -> None:
            self.replayed.append(shape)
            recording.replay()

        return result, lambda: self.queue.append(run)

    def wait(self) -> None:
        while self.queue:
            self.queue.popleft()()


def tensors(tree: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree_map(lambda leaf: leaf, tree)) if isinstance(leaf, torch.Tensor)]
