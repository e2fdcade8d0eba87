"""The service level objectives: the section `objectives` of slo.yaml as typed fields."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from handler.files import UserError
from monitoring.durations import seconds
from training.config import Section

# Those of the gateway's histogram, caddy_http_request_duration_seconds. Only for a threshold on one of them can a
# monitor count what was slower.
EDGES_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
Protocol = Literal["rest", "multipart", "kserve", "grpc"]

Seconds = Annotated[float, BeforeValidator(seconds), Field(ge=0)]


class Latency(Section):
    threshold: Seconds
    """No slower than this, from the time at which the request was due to the last byte of its answer. On an edge of the
    gateway's histogram: 5ms 10ms 25ms 50ms 100ms 250ms 500ms 1s 2.5s 5s 10s."""
    objective: float = Field(gt=0, lt=1)
    """The share of requests for which that holds. One that failed or was never answered is slow, too."""

    @field_validator("threshold")
    @classmethod
    def _on_an_edge(cls, value: float) -> float:
        if value not in EDGES_S:
            edges = ", ".join(f"{edge:g}" for edge in EDGES_S)
            raise ValueError(f"{value:g} s is not an edge of the gateway's histogram ({edges})")
        return value


class Availability(Section):
    objective: float = Field(gt=0, lt=1)
    """The share of requests that are answered, in time and in the right form."""


class Accuracy(Section):
    objective: float = Field(gt=0, lt=1)
    """The share of answers to labelled pictures that name the label."""


class Objectives(Section):
    latency: dict[Protocol, Latency] = Field(min_length=1)
    """Objectives of latency, by protocol."""
    availability: Availability
    """Objective of each protocol's availability."""
    accuracy: Accuracy
    """Objective for the labels of all protocols together, over pictures whose label is known."""


class Profile(Section):
    """Objectives that replace others for a kind of machine, such as a small one that is shared."""

    latency: dict[Protocol, Latency] = Field(min_length=1)
    """Objectives of latency, by protocol. A protocol that is not named here keeps its own."""


Profiles = dict[str, Profile]


def apply(name: str | None, profiles: Profiles, objectives: Objectives, file: Path) -> Objectives:
    """Return the objectives under the named profile; as they are where no profile is named.

    Raises:
        UserError: the file has no such profile.
    """
    if name is None:
        return objectives
    if name not in profiles:
        known = f"it has {', '.join(profiles)}" if profiles else "it has none"
        raise UserError(f"{file} has no profile {name}; {known}.")
    return objectives.model_copy(update={"latency": {**objectives.latency, **profiles[name].latency}})
