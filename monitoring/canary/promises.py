"""The objectives of slo.yaml that a canary must keep, read without pydantic, which the servers' image has not."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from handler.files import UserError
from monitoring.durations import seconds
from monitoring.rules.indicators import Indicator

SLO = Path(__file__).parents[2] / "loadtest" / "slo.yaml"


@dataclass(frozen=True, slots=True)
class Promises:
    """Objectives of each protocol, of the availability and of the accuracy."""

    latency: Mapping[str, tuple[float, float]]
    """Threshold in seconds, and objective, by protocol."""
    availability: float
    accuracy: float

    @property
    def probes(self) -> tuple[float, float]:
        """The threshold and the objective of the latency of REST, by which the pictures are sent."""
        return self.latency.get("rest") or next(iter(self.latency.values()))

    def indicators(self) -> list[Indicator]:
        """Return the indicators of each protocol, as the alerts have them."""
        return [
            indicator
            for protocol, (threshold_s, objective) in self.latency.items()
            for indicator in (
                Indicator(protocol, self.availability),
                Indicator(protocol, objective, threshold_s),
            )
        ]


def read_promises(path: Path) -> Promises:
    """Return the objectives of a file such as loadtest/slo.yaml.

    Raises:
        UserError: it cannot be read, or lacks an objective.
    """
    try:
        document = yaml.safe_load(path.read_text())
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{path} is not valid YAML.") from error
    try:
        objectives = document["objectives"]
        latency = {
            str(protocol): (_positive(seconds(stated["threshold"])), _share(stated["objective"]))
            for protocol, stated in objectives["latency"].items()
        }
        availability, accuracy = (_share(objectives[name]["objective"]) for name in ("availability", "accuracy"))
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise UserError(
            f"{path} has no valid section objectives: compare it with loadtest/slo.yaml ({error})."
        ) from error
    if not latency:
        raise UserError(f"{path} has no objective of latency: compare it with loadtest/slo.yaml.")
    return Promises(latency, availability, accuracy)


def _share(value: Any) -> float:
    if not 0 < float(value) < 1:
        raise ValueError(f"{value} is not between 0 and 1")
    return float(value)


def _positive(value: Any) -> float:
    if not float(value) > 0:
        raise ValueError(f"{value} is not a positive duration")
    return float(value)
