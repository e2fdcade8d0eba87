from collections import Counter

import numpy as np
import pytest

from training.data.sampler import Sample, SeededSampler, step_count


def batches(sampler: SeededSampler) -> list[list[Sample]]:
    return list(sampler)


def test_an_epochs_order_and_seeds_follow_from_the_runs_seed() -> None:
    assert batches(SeededSampler(50, 8, 3, 2, 64)) == batches(SeededSampler(50, 8, 3, 2, 64))


@pytest.mark.parametrize(("seed", "epoch"), [(3, 1), (4, 2), (2, 3)])
def test_another_epoch_or_seed_has_another_order_and_other_crops(seed: int, epoch: int) -> None:
    ours = [sample for batch in SeededSampler(50, 8, 3, 2, 64) for sample in batch]
    others = [sample for batch in SeededSampler(50, 8, seed, epoch, 64) for sample in batch]
    assert [sample.position for sample in ours] != [sample.position for sample in others]
    assert {sample.seed for sample in ours}.isdisjoint({sample.seed for sample in others})


@pytest.mark.parametrize(("count", "size", "steps"), [(50, 8, 7), (162, 128, 2), (48, 8, 6), (5, 8, 1), (1, 1, 1)])
def test_an_epoch_shows_each_picture_once_in_batches_of_nearly_one_size(count: int, size: int, steps: int) -> None:
    sampler = SeededSampler(count, size, 0, 0, 64)
    chosen = batches(sampler)
    assert len(chosen) == len(sampler) == step_count(count, size) == steps
    lengths = {len(batch) for batch in chosen}
    assert max(lengths) <= size
    assert max(lengths) - min(lengths) <= 1
    assert sorted(sample.position for batch in chosen for sample in batch) == list(range(count))


def test_each_epoch_takes_the_next_view_of_each_picture() -> None:
    shown: dict[int, list[int]] = {}
    for epoch in range(6):
        for sample in (s for batch in SeededSampler(50, 8, 0, epoch, 64, views=3) for s in batch):
            shown.setdefault(sample.position, []).append(sample.view)
    assert len(shown) == 50
    assert all(views in ([0, 1, 2] * 2, [1, 2, 0] * 2, [2, 0, 1] * 2) for views in shown.values())
    assert {views[0] for views in shown.values()} == {0, 1, 2}


def test_without_views_each_crop_is_drawn_anew() -> None:
    assert {sample.view for batch in SeededSampler(50, 8, 0, 0, 64) for sample in batch} == {-1}


def test_processes_share_each_batch_evenly_and_without_overlap() -> None:
    alone = batches(SeededSampler(48, 8, 3, 2, 64))
    first, second = (batches(SeededSampler(48, 8, 3, 2, 64, rank=rank, world=2)) for rank in (0, 1))
    for whole, ours, others in zip(alone, first, second, strict=True):
        assert len(ours) == len(others) == 4
        assert sorted([*ours, *others]) == sorted(whole)


def test_processes_that_cannot_share_all_pictures_leave_out_fewer_than_they_are() -> None:
    shares = [batches(SeededSampler(50, 8, 3, 2, 64, rank=rank, world=4)) for rank in range(4)]
    assert {tuple(map(len, share)) for share in shares} == {(2, 2, 2, 2, 2, 2)}
    assert len({sample.position for share in shares for batch in share for sample in batch}) == 48
    assert step_count(50, 8, 4) == 6


IMBALANCED = [0] * 40 + [1] * 5 + [2] * 8


def test_a_balanced_epoch_shows_each_class_equally_often_and_rare_pictures_in_turns() -> None:
    for epoch in range(3):
        sampler = SeededSampler(53, 8, 0, epoch, 64, views=5, labels=IMBALANCED)
        chosen = [sample for batch in sampler for sample in batch]
        assert sorted(Counter(IMBALANCED[sample.position] for sample in chosen).values()) == [17, 18, 18]
        shown = Counter(sample.position for sample in chosen)
        assert {shown[position] for position in range(40)} <= {0, 1}
        assert {shown[position] for position in range(40, 45)} <= {3, 4}
        assert {shown[position] for position in range(45, 53)} <= {2, 3}
        # A picture that is shown again is shown by another crop.
        assert len({(sample.position, sample.view) for sample in chosen}) == len(chosen)
        assert len({sample.seed for sample in chosen}) == len(chosen)


def test_over_the_epochs_a_balanced_sampler_shows_every_picture() -> None:
    samplers = [SeededSampler(53, 8, 0, epoch, 64, labels=IMBALANCED) for epoch in range(12)]
    assert {sample.position for sampler in samplers for batch in sampler for sample in batch} == set(range(53))


def test_balanced_epochs_are_in_random_order_of_their_own() -> None:
    orders = [SeededSampler(53, 8, seed, 0, 64, labels=IMBALANCED).order for seed in (0, 0, 1)]
    assert np.array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], orders[2])
    assert not np.array_equal(orders[0], np.sort(orders[0]))
