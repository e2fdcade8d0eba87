"""Shapes: the course of the arrivals' rate over a test, in requests per second.

steady      the rate, all the time
soak        the same in four equal parts, so that what creeps up over hours shows
ramp        from a tenth of the rate up to it in two thirds of the time, then the rate
spike       a quarter of the rate, the rate, a quarter again, a third of the time each: does it recover?
staircase   a fifth of the rate, two fifths, ... the rate
"""

from dataclasses import dataclass

SHAPES = ("steady", "ramp", "spike", "soak", "staircase")


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of a test, which has figures of its own. Seconds since the start, and requests per second."""

    name: str
    start: float
    duration: float
    first_rate: float
    last_rate: float
    measured: bool = True
    """False of the warm-up."""

    @property
    def end(self) -> float:
        return self.start + self.duration

    @property
    def requests(self) -> float:
        """The number of requests that are due in it, on average."""
        return self.duration * (self.first_rate + self.last_rate) / 2

    def rate(self, time: float) -> float:
        share = (time - self.start) / self.duration
        return self.first_rate + (self.last_rate - self.first_rate) * share


def stages(shape: str, rate: float, duration: float, warmup: float = 0) -> list[Stage]:
    """The stages of a shape, warm-up first where there is one, at the rate that it leads to."""
    parts: list[tuple[str, float, float, float]]
    match shape:
        case "steady":
            parts = [("steady", 1, 1, 1)]
        case "soak":
            parts = [(f"quarter {number}", 1 / 4, 1, 1) for number in (1, 2, 3, 4)]
        case "ramp":
            parts = [("ramp", 2 / 3, 0.1, 1), ("top", 1 / 3, 1, 1)]
        case "spike":
            parts = [("before", 1 / 3, 0.25, 0.25), ("spike", 1 / 3, 1, 1), ("after", 1 / 3, 0.25, 0.25)]
        case "staircase":
            parts = [(f"step {number}", 1 / 5, number / 5, number / 5) for number in range(1, 6)]
        case _:
            raise ValueError(f"there is no shape {shape}, only {', '.join(SHAPES)}")
    plan, start = [], warmup
    if warmup:
        first = parts[0][2] * rate
        plan.append(Stage("warm-up", 0, warmup, first, first, measured=False))
    for name, share, first, last in parts:
        plan.append(Stage(name, start, share * duration, first * rate, last * rate))
        start += share * duration
    return plan


def rate_at(plan: list[Stage], time: float) -> float:
    """Return the requests per second at that time; 0 after the last stage."""
    return next((stage.rate(time) for stage in plan if time < stage.end), 0.0)
