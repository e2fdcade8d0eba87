"""The service level objectives, the gates that test them, and the search for the capacity: slo.yaml as typed fields."""

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from common.binomial import min_sample_size
from handler.files import UserError
from loadtest.defaults import PROTOCOLS, SLO
from monitoring.durations import seconds
from monitoring.objectives import Availability, Latency, Objectives, Profiles, Protocol, Seconds, apply
from training.config import Section, sentence

# What PASS of a sample may leave open: ten times the failures that an objective allows, and one request in ten. Less
# would be said of any server that is not down.
MOST_WEAKER, MOST_OPEN = 10, 0.1

# What may be sent late says little about the server: at most a tenth of what is promised.
MAX_LAG = 0.1

P99 = 0.99


def weakest(objective: float) -> float:
    """Return the least that may be asserted of an objective by what a sample shows: 99 % of 99.9 %, 90 % of 99 %.

    An objective below 90 % is asserted as it is.
    """
    allowed = 1 - objective
    return 1 - min(MOST_WEAKER * allowed, max(MOST_OPEN, allowed))


class Gate(Section):
    shape: Literal["steady", "ramp", "spike", "soak", "staircase"]
    """How the rate runs: see loadtest/generate/shapes.py."""
    protocols: tuple[Protocol, ...] = Field(min_length=1)
    """Each gets its equal share of the rate."""
    rate: float = Field(gt=0, le=100_000)
    """Requests per second that arrive, the highest of the shape's."""
    duration: Seconds = Field(gt=0)
    """Length of the measurement, after the warm-up."""
    warmup: Seconds
    """Requests that are due before this are sent, and not counted."""
    confidence: float = Field(ge=0.5, lt=1)
    """Confidence of the verdict: how sure PASS is that the objective is kept, and BREACH that it is not."""
    asserts: Literal["whole", "sample"]
    """`whole`: the objectives as they are, for which there must be requests enough. `sample`: no more than the number
    of requests can show, which the verdict then says, but at least 99 % of an objective of 99.9 %, and 90 % of one of
    99 %: fewer requests than that takes are INCONCLUSIVE."""
    max_dropped: int = Field(default=0, ge=0)
    """Maximum number of requests that were due and not sent, since too many were in flight; more make it INVALID."""
    max_lag: float = Field(default=MAX_LAG, gt=0, le=1)
    """The most by which one request of a hundred may be sent late, as a share of the latency's threshold; more make the
    measurement INVALID: the generator is too slow."""

    def expected(self) -> float:
        """Return the number of requests per protocol that are measured, on average."""
        from loadtest.generate.shapes import stages

        plan = stages(self.shape, self.rate, self.duration, self.warmup)
        return sum(stage.requests for stage in plan if stage.measured) / len(self.protocols)


class Capacity(Section):
    start_rate: float = Field(gt=0)
    """Requests per second of the first trial."""
    highest_rate: float = Field(gt=0)
    """The search ends here."""
    precision: float = Field(gt=0, lt=1)
    """Width of the bracket, as a share of its upper end."""
    trial: Seconds = Field(gt=0)
    """Length of each step of the search, after the warm-up; less once it is decided."""
    warmup: Seconds
    confirm_runs: int = Field(ge=1)
    """Longer runs at the rate that the search found, judged together with confidence; it is lowered until they pass."""
    confirm: Seconds = Field(gt=0)
    """Length of each confirmation."""
    step_down: float = Field(gt=0, lt=1)
    """Share by which the rate is lowered after a failed confirmation."""
    confidence: float = Field(ge=0.5, lt=1)


class Slo(Section):
    service: str
    """Name of the model that is asked where neither --model nor the server names one."""
    objectives: Objectives
    gates: dict[str, Gate]
    """Gates by name."""
    capacity: Capacity
    profiles: Profiles = Field(default={})
    """Objectives for other machines, by name: `--slo-profile`."""

    @model_validator(mode="after")
    def _decidable(self) -> "Slo":
        for name, gate in self.gates.items():
            for protocol in gate.protocols:
                if protocol not in self.objectives.latency:
                    raise ValueError(f"gates.{name} tests {protocol}, which has no entry in objectives.latency")
            shares, whole = self.shares(gate.protocols), gate.asserts == "whole"
            asserted = shares if whole else [weakest(share) for share in shares]
            needed = max(min_sample_size(share, gate.confidence) for share in asserted)
            if gate.expected() < needed:
                what = "assert the objectives" if whole else f"assert the least of {max(asserted):.4g}"
                instead = ", or let it assert what its sample shows (asserts: sample)" if whole else ""
                raise ValueError(
                    f"gates.{name} sends {gate.expected():.0f} requests by each protocol, and to {what} at"
                    f" {gate.confidence:.0%} confidence takes {needed}, all of them good: make it longer or faster"
                    f"{instead}"
                )
        return self

    def shares(self, protocols: tuple[Protocol, ...]) -> list[float]:
        latency = [self.objectives.latency[protocol].objective for protocol in protocols]
        return [*latency, self.objectives.availability.objective]


def load(path: Path = SLO, profile: str | None = None) -> Slo:
    """Return a file's objectives, gates and search; the objectives of a profile where one is named.

    Raises:
        UserError: a file that cannot be read, an unknown key, a wrong type, a gate that could not decide, an unknown
            profile.
    """
    try:
        values = yaml.safe_load(path.read_text())
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    try:
        file = Slo.model_validate(values)
        if profile is None:
            return file
        # Validated again: the profile's objectives may take more requests to show.
        return Slo.model_validate(dict(file) | {"objectives": apply(profile, file.profiles, file.objectives, path)})
    except ValidationError as error:
        lines = [f"{path}: {sentence(problem, SLO.name, keys(values))}" for problem in error.errors()]
        raise UserError("\n".join(lines)) from error


def p99_within(text: str, objectives: Objectives) -> Objectives:
    """Return objectives of which 99 % of the requests within this time is the only one that binds.

    A failed request is slow, so 99 % are answered, too. The clients measure it, so the threshold need not lie on an
    edge of the gateway's histogram.

    Args:
        text: a duration, such as 100ms or 0.1s.
        objectives: the protocols and the accuracy are theirs.

    Raises:
        UserError: it is no duration above 0.
    """
    try:
        threshold = seconds(text)
    except ValueError as error:
        raise UserError(f"--p99: {error}.") from error
    if not isinstance(threshold, float) or threshold <= 0:
        raise UserError(f"--p99 must be more than 0, not {text}.")
    latency = Latency.model_construct(threshold=threshold, objective=P99)
    return objectives.model_copy(
        update={
            "latency": dict.fromkeys(objectives.latency, latency),
            "availability": Availability(objective=P99),
        }
    )


def keys(values: Any) -> list[str]:
    """Return all keys of the schema, with the names of gates and protocols filled in, to suggest for a misspelt one."""
    names = ["service", "objectives", "gates", "capacity", "profiles", "objectives.latency", "objectives.availability"]
    names += [f"capacity.{name}" for name in Capacity.model_fields]
    names += [f"objectives.latency.{protocol}.{name}" for protocol in PROTOCOLS for name in Latency.model_fields]
    gates = values.get("gates") if isinstance(values, dict) else None
    names += [
        f"gates.{gate}.{name}" for gate in (gates if isinstance(gates, dict) else ()) for name in Gate.model_fields
    ]
    return names
