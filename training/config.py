"""One experiment as typed fields: training/config.yaml, or your own file, with `--set a.b=v` on top."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from handler.files import UserError

DEFAULT = Path(__file__).with_name("config.yaml")


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ModelConfig(Section):
    arch: Literal["resnet18"]
    """The network; its last layer gets one output per class of the manifest."""
    weights: Path | None
    """State dict to start from (.pt or .safetensors); none means from scratch."""


class TrainConfig(Section):
    epochs: int = Field(ge=1)
    """Passes over the train split."""
    batch_size: int = Field(ge=2)
    """Pictures per step."""
    min_size: int = Field(ge=32)
    """Side of the square in the first epoch, pixels."""
    max_size: int = Field(ge=32)
    """Side of the square in the last epoch, pixels."""
    optimizer: Literal["sgd", "adamw"]
    """SGD has Nesterov momentum 0.9."""
    learning_rate: float = Field(gt=0)
    """Peak, after one epoch of warm-up; a cosine leads to zero."""
    weight_decay: float = Field(ge=0)
    """Not on norms and biases."""
    label_smoothing: float = Field(ge=0, lt=1)
    ema_decay: float = Field(ge=0, lt=1)
    """Of the weights' running mean, per step; the mean is what is validated and released."""
    min_area: float = Field(gt=0, le=1)
    """Smallest share of the picture that a random crop shows."""
    amp: Literal["auto", "off", "bf16"]
    """Autocast to bfloat16; `auto` asks the device whether it is native."""
    workers: int = Field(ge=0)
    """Processes that decode and crop; 0 means in the training process."""
    seed: int = Field(ge=0)
    """Of the weights, the order and the crops."""

    @field_validator("amp", mode="before")
    @classmethod
    def _off(cls, value: object) -> object:
        return "off" if value is False else value  # what YAML makes of a bare off


class InputConfig(Section):
    size: int = Field(ge=32)
    """Side of the square that the released network takes, pixels."""
    resize: Literal["squeeze", "crop"]
    """How a picture becomes a square, see handler/preprocess.py."""


class Config(Section):
    model: ModelConfig
    train: TrainConfig
    input: InputConfig


def load(path: Path = DEFAULT, overrides: Sequence[str] = ()) -> Config:
    """Reads a config and applies overrides of the form `train.epochs=2`.

    Raises:
        UserError: a file that is no YAML, an unknown key (with the nearest known one), a wrong type.
    """
    try:
        values = yaml.safe_load(path.read_text())
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML: {error}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} holds no sections; see {DEFAULT.name} for one that does.")
    for override in overrides:
        key, equals, text = override.partition("=")
        section, dot, name = key.partition(".")
        if not (equals and dot):
            raise UserError(f"--set takes section.key=value, for example train.epochs=2, not {override!r}.")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UserError(f"{key}: {text!r} is not a value in YAML.") from error
        if not isinstance(fields := values.setdefault(section, {}), dict):
            raise UserError(f"{section} is not a section in {path}.")
        fields[name] = value
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise UserError("\n".join(_sentence(problem) for problem in error.errors())) from error


def _sentence(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] != "extra_forbidden":
        return f"{where}: {problem['msg']} (it is {problem['input']!r})."
    near = difflib.get_close_matches(where, [*Config.model_fields, *known_keys()], n=1)
    return f"{where} is not a key of the config." + (f" Did you mean {near[0]}?" if near else "")


def known_keys() -> list[str]:
    """Every key, as `section.key`."""
    return [
        f"{section}.{key}"
        for section, field in Config.model_fields.items()
        for key in field.annotation.model_fields  # type: ignore[union-attr]
    ]
