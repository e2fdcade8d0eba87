"""The calls to CUDA that captured graphs need: nothing else in the project makes any.

Order matters in four places. The current device is set first, or page-locked memory would open a context on GPU 0 too.
The weights must have arrived before another stream reads them. cuDNN chooses its algorithms while the network runs
before the capture, for a capture can neither measure nor allocate by cudaMalloc. That run is on the capturing stream.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# Runs before a capture: the first lets cuDNN choose, the others settle the allocator.
WARM_UPS = 3


class CudaDevice:
    """One GPU of this process, with a stream of its own. Its graphs share a pool: one is replayed at a time."""

    def __init__(self, device: "torch.device") -> None:
        import torch

        torch.cuda.set_device(device)
        self.torch, self.device = torch, device
        self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self.pool = torch.cuda.graph_pool_handle()
        # Sleeps instead of spinning: the core is free for another worker to decode.
        self.done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]

    def host_buffer(self, like: "torch.Tensor") -> "torch.Tensor":
        return self.torch.zeros(like.shape, dtype=like.dtype, device="cpu", pin_memory=True)

    def device_buffer(self, like: "torch.Tensor") -> "torch.Tensor":
        return self.torch.zeros(like.shape, dtype=like.dtype, device=self.device)

    def copy(self, source: "torch.Tensor", target: "torch.Tensor") -> None:
        with self.torch.cuda.stream(self.stream):
            target.copy_(source, non_blocking=True)

    def capture(self, work: Callable[[], "torch.Tensor"]) -> tuple["torch.Tensor", Callable[[], None]]:
        cuda = self.torch.cuda
        cuda.synchronize(self.device)
        with cuda.stream(self.stream):
            for _ in range(WARM_UPS):
                work()
        self.stream.synchronize()
        graph = cuda.CUDAGraph()
        with cuda.graph(graph, pool=self.pool, stream=self.stream):
            result = work()

        def replay() -> None:
            with cuda.stream(self.stream):
                graph.replay()

        return result, replay

    def wait(self) -> None:
        self.done.record(self.stream)
        self.done.synchronize()
