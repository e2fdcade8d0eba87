"""The service and its objectives, as slo.yaml states them; the load test's sections are left to the load test."""

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from handler.files import UserError
from monitoring.objectives import Objectives, Profiles, apply
from training.config import sentence


class Service(BaseModel):
    """A service and its objectives, as slo.yaml states them."""

    model_config = ConfigDict(frozen=True)

    service: str
    objectives: Objectives
    profiles: Profiles = {}


def read(path: Path, profile: str | None = None) -> Service:
    """Return the service of a file, with the objectives of a profile where one is named.

    Raises:
        UserError: the file cannot be read, states no valid objectives, or has no such profile.
    """
    try:
        values = yaml.safe_load(path.read_text())
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{path} is not valid YAML.") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} must be a map with the keys service and objectives, as loadtest/slo.yaml is.")
    try:
        service = Service.model_validate(values)
    except ValidationError as error:
        known = ["service", "objectives", "profiles", *(f"objectives.{name}" for name in Objectives.model_fields)]
        raise UserError(f"{path}: {sentence(error.errors()[0], 'loadtest/slo.yaml', known)}") from error
    objectives = apply(profile, service.profiles, service.objectives, path)
    return service.model_copy(update={"objectives": objectives})
