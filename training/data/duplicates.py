"""Near-duplicates: a dHash of the whole picture at 16x16, and groups of pictures whose hashes lie within 15 bits.

dHash: Krawetz, "Kind of Like That" (2013), here of 256 bits. The whole picture is hashed, so a copy squeezed to
another aspect, scaled or recompressed keeps its hash.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
from PIL import Image

from common.cores import usable_cores

HASH_SIDE = 16
# Microsoft's photographs and their squeezed twins lie within 15 of the 256 bits.
TWIN_BITS = 15


def dhash(image: Image.Image) -> bytes:
    """256 bits: is each pixel of the whole picture at 17x16 brighter than its left neighbour."""
    grey = np.asarray(image.convert("L").resize((HASH_SIDE + 1, HASH_SIDE), Image.Resampling.BILINEAR), dtype=np.int16)
    return np.packbits(grey[:, 1:] > grey[:, :-1]).tobytes()


def twin_pairs(hashes: npt.NDArray[np.uint64], block: int = 64) -> Iterator[tuple[int, int]]:
    """Pairs (i, j), i < j, whose hashes differ in at most TWIN_BITS bits.

    Args:
        hashes: uint64 array of shape (n, 4).
    """
    # Hashes within 15 bits have bit counts within 15, so, sorted by bit count, each row meets a window only.
    bits = np.bitwise_count(hashes).sum(axis=1)
    order = np.argsort(bits, kind="stable")
    rows, bits = hashes[order], bits[order]
    ends = np.searchsorted(bits, bits + TWIN_BITS, side="right")

    def near(start: int) -> npt.NDArray[np.intp]:
        stop = min(start + block, len(rows))
        end = ends[stop - 1]
        distance = np.zeros((stop - start, end - start), dtype=np.uint16)
        for word in range(rows.shape[1]):
            distance += np.bitwise_count(rows[start:stop, None, word] ^ rows[None, start:end, word])
        return np.argwhere(distance <= TWIN_BITS) + start

    # Threads: numpy lets go of the interpreter in each of these operations.
    with ThreadPoolExecutor(usable_cores()) as pool:
        for pairs in pool.map(near, range(0, len(rows), block)):
            for i, j in pairs:
                if i < j:
                    a, b = int(order[i]), int(order[j])
                    yield min(a, b), max(a, b)


def group_twins(hashes: Sequence[bytes]) -> list[int]:
    """Return, for each hash, the smallest index of its group of near-duplicates (connected by `twin_pairs`)."""
    parent = list(range(len(hashes)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    bits = np.frombuffer(b"".join(hashes), dtype=np.uint64).reshape(len(hashes), -1)
    for i, j in twin_pairs(bits):
        a, b = root(i), root(j)
        parent[max(a, b)] = min(a, b)
    return [root(i) for i in range(len(hashes))]
