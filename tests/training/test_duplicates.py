"""Near-duplicates: pairs by their hashes, groups by their pairs."""

import numpy as np
import numpy.typing as npt
import pytest

from training.data.duplicates import group_twins, twin_pairs

Hashes = npt.NDArray[np.uint64]


def distances(
    hashes: Hashes,
) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    bits = np.unpackbits(np.ascontiguousarray(hashes).view(np.uint8), axis=1).astype(np.int64)
    return bits @ (1 - bits).T + (1 - bits) @ bits.T


@pytest.fixture(scope="module")
def hashes() -> Hashes:
    """Random ones, and for many of them others at distances from 0 to 24, set or cleared or mixed."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2, (600, 256), dtype=np.uint8)
    planted = []
    for row in bits[:250]:
        near = row.copy()
        distance = int(rng.integers(0, 25))
        kind = int(rng.integers(0, 3))
        candidates = np.flatnonzero(row == kind) if kind < 2 else np.arange(256)
        near[rng.choice(candidates, distance, replace=False)] ^= 1
        planted.append(near)
    rows = np.concatenate([bits, planted])[rng.permutation(850)]
    return np.packbits(rows, axis=1).view(np.uint64)


@pytest.mark.parametrize("block", [1, 7, 256, 10_000])
def test_twin_pairs_are_those_that_brute_force_finds(hashes: Hashes, block: int) -> None:
    far = distances(hashes)
    assert {15, 16} <= set(far[far < 25].tolist())
    wanted = {(int(i), int(j)) for i, j in np.argwhere(far <= 15) if i < j}
    pairs = list(twin_pairs(hashes, block))
    assert len(pairs) == len(set(pairs))
    assert {(min(pair), max(pair)) for pair in pairs} == wanted


def test_each_pair_of_twins_comes_with_the_smaller_index_first(
    hashes: Hashes,
) -> None:
    assert [pair for pair in twin_pairs(hashes) if pair[0] >= pair[1]] == []


@pytest.mark.parametrize(("distance", "are_twins"), [(15, True), (16, False)])
@pytest.mark.parametrize("value", [0, 1])
def test_fifteen_bits_are_near_and_sixteen_are_not(distance: int, are_twins: bool, value: int) -> None:
    bits = np.full((2, 256), value, dtype=np.uint8)
    bits[1, 100 : 100 + distance] ^= 1
    assert bool(list(twin_pairs(np.packbits(bits, axis=1).view(np.uint64)))) is are_twins


def test_twins_of_twins_are_one_group_named_by_its_first() -> None:
    bits = np.zeros((4, 256), dtype=np.uint8)
    bits[3, :10] = 1
    bits[1, :20] = 1
    bits[2, 100:200] = 1
    assert group_twins([np.packbits(row).tobytes() for row in bits]) == [0, 0, 2, 0]
