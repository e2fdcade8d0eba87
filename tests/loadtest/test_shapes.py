import pytest

from loadtest.generate.shapes import SHAPES, rate_at, stages


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_fills_its_time_and_never_exceeds_its_rate(shape: str) -> None:
    plan = stages(shape, 40, 90, warmup=10)
    assert [stage.start for stage in plan[1:]] == pytest.approx([stage.end for stage in plan[:-1]])
    assert plan[-1].end == pytest.approx(100)
    assert max(max(stage.first_rate, stage.last_rate) for stage in plan) == 40
    assert [stage.measured for stage in plan] == [False] + [True] * (len(plan) - 1)


def test_without_a_warm_up_all_is_measured() -> None:
    assert all(stage.measured for stage in stages("steady", 5, 60))


def test_a_ramp_rises_evenly_to_its_rate() -> None:
    plan = stages("ramp", 30, 90)
    assert [rate_at(plan, at) for at in (0, 30, 59.999, 80, 90)] == pytest.approx([3, 16.5, 30, 30, 0], abs=0.01)


def test_a_spike_is_four_times_what_is_around_it() -> None:
    assert [rate_at(stages("spike", 40, 90), at) for at in (10, 40, 70)] == [10, 40, 10]


def test_a_staircase_has_five_steps() -> None:
    assert [rate_at(stages("staircase", 50, 100), at) for at in (10, 30, 50, 70, 90)] == [10, 20, 30, 40, 50]


def test_a_stage_knows_how_many_requests_it_will_have() -> None:
    assert sum(stage.requests for stage in stages("ramp", 30, 90)) == pytest.approx(60 * 16.5 + 30 * 30)


def test_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no shape sawtooth, only steady"):
        stages("sawtooth", 1, 1)
