import pytest

from training.data.even import evenly


@pytest.mark.parametrize(
    ("count", "limit", "chosen"),
    [(6, None, range(6)), (6, 9, range(6)), (0, 4, []), (6, 3, [0, 2, 4]), (8, 4, [0, 2, 4, 6]), (9, 4, [0, 2, 4, 6])],
)
def test_a_limit_takes_the_first_and_others_at_even_distances(
    count: int, limit: int | None, chosen: list[int] | range
) -> None:
    assert evenly(range(count), limit) == list(chosen)


@pytest.mark.parametrize("count", [256, 257, 500, 511, 512, 3407])
def test_each_end_of_the_order_has_its_part_of_the_choice(count: int) -> None:
    chosen, tenth = set(evenly(range(count), 256)), count // 10
    assert len(chosen) == 256
    for part in (range(tenth), range(count - tenth, count)):
        assert len(chosen & set(part)) == pytest.approx(25.6, abs=3)
