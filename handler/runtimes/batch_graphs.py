"""Captured graphs of a network, one for each batch size: a replay is one launch, where eager torch makes about seventy.

A graph reads and writes the memory that it was captured with. So the pictures go through a buffer that stays, and the
logits are copied out before the next replay. Nothing here calls CUDA: a Device does.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from handler.preprocess import Pixels
from handler.runtimes.runtime import Logits

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)

# Of the largest logit: eager and captured kernels are the same, a graph that reads other memory is far off.
TOLERANCE = 0.01


class Device(Protocol):
    """The operations of a GPU that graphs need. All work is queued in order, and `wait` returns once it is done."""

    def host_buffer(self, like: "Tensor") -> "Tensor":
        """Return page-locked memory of the host, of the shape and type of `like`."""
        ...

    def device_buffer(self, like: "Tensor") -> "Tensor":
        """Return memory of the device, of the shape and type of `like`."""
        ...

    def copy(self, source: "Tensor", target: "Tensor") -> None:
        """Queue a copy."""
        ...

    def capture(self, work: Callable[[], "Tensor"]) -> tuple["Tensor", Callable[[], None]]:
        """Return the memory that the work's result will lie in, and a function that queues the work."""
        ...

    def wait(self) -> None:
        """Return once all that was queued is done."""
        ...


@dataclass(frozen=True, slots=True)
class Graph:
    """The captured network for one batch size."""

    pixels: "Tensor"
    """uint8 (n, size, size, 3) in page-locked memory, from which `bytes_in` is filled."""
    bytes_in: "Tensor"
    logits: "Tensor"
    """float32 (n, classes)."""
    answer: "Tensor"
    """The logits in page-locked memory."""
    replay: Callable[[], None]


class BatchGraphs:
    """The graphs of a network. One thread uses them at a time.

    Args:
        network: computes float32 logits (n, classes) from uint8 (n, size, size, 3), both on the device.
        eager: the same from and to arrays, without a graph.
        most: the largest batch that is captured.
    """

    def __init__(
        self,
        network: Callable[["Tensor"], "Tensor"],
        eager: Callable[[Pixels], Logits],
        device: Device,
        most: int,
    ) -> None:
        self.network, self.eager, self.device, self.most = network, eager, device, most
        self.buffers: tuple[Tensor, Tensor] | None = None
        # None: this size could not be captured.
        self.graphs: dict[int, Graph | None] = {}

    def logits(self, pixels: Pixels) -> Logits:
        """Return the logits, by a graph where the batch has one. The first batch of a size captures it."""
        count = len(pixels)
        if not 1 <= count <= self.most:
            return self.eager(pixels)
        if count not in self.graphs:
            answer = self.eager(pixels)  # refuses what is no input of the network
            self.graphs[count] = self._capture(count, pixels)
            return answer
        graph = self.graphs[count]
        # An array of another shape might be broadcast to the buffer's.
        if graph is None or pixels.shape != tuple(graph.pixels.shape) or pixels.dtype != np.uint8:
            return self.eager(pixels)
        return self._replay(graph, pixels)

    def _replay(self, graph: Graph, pixels: Pixels) -> Logits:
        np.copyto(graph.pixels.numpy(), pixels)
        self.device.copy(graph.pixels, graph.bytes_in)
        graph.replay()
        self.device.copy(graph.logits, graph.answer)
        self.device.wait()
        return graph.answer.numpy().copy()

    def _capture(self, count: int, pixels: Pixels) -> Graph | None:
        """Return the graph for a batch size, which has answered random pictures as the network does, or None."""
        try:
            graph = self._captured(count, pixels)
            noise = np.random.default_rng(count).integers(0, 256, pixels.shape, dtype=np.uint8)
            wanted, answer = self.eager(noise), self._replay(graph, noise)
        except RuntimeError as error:  # torch's errors of CUDA are such
            logger.warning("Batches of %d are computed without a CUDA graph, and slower: %s", count, error)
            return None
        difference = float(np.abs(answer - wanted).max())
        # `not <=` also refuses NaN.
        if not difference <= TOLERANCE * max(1.0, float(np.abs(wanted).max())):
            logger.warning(
                "Batches of %d are computed without a CUDA graph, and slower: its logits differ by %.4f.",
                count,
                difference,
            )
            return None
        return graph

    def _captured(self, count: int, pixels: Pixels) -> Graph:
        import torch

        if self.buffers is None:
            like = torch.empty((self.most, *pixels.shape[1:]), dtype=torch.uint8, device="meta")
            self.buffers = self.device.host_buffer(like), self.device.device_buffer(like)
        host, device = (buffer[:count] for buffer in self.buffers)
        logits, replay = self.device.capture(lambda: self.network(device))
        return Graph(host, device, logits, self.device.host_buffer(logits), replay)
