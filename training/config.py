"""One experiment as typed fields: training/config.yaml, or your own file, with `--set a.b=v` on top."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from handler.files import UserError

DEFAULT = Path(__file__).with_name("config.yaml")


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ModelConfig(Section):
    arch: str
    """resnet18, mobilenet_v2, baseline, or timm:NAME; the last layer gets one output per class of the manifest."""
    weights: str | None
    """To start from: none means random ones, `imagenet` those released with the network, else the file of a state dict
    or of another run's checkpoint, or a release's folder, whose temperature is undone."""
    weights_sha256: str | None
    """SHA-256 of that file, checked so that a run never starts from another one unnoticed."""
    freeze_backbone: bool
    """Train the last layer alone, on outputs computed once per picture and view."""
    freeze_norms: bool
    """Keep the running statistics of the BatchNorms as they are."""
    freeze_to: str | None = None
    """A block of the network, as `layer2` of a ResNet18: it and all before it stay as they are, and an epoch takes less
    time. None trains all of the network."""


class TrainConfig(Section):
    epochs: int = Field(ge=1)
    """Passes over the train split."""
    batch_size: int | Literal["auto"]
    """Most pictures of a step, over all processes; an epoch is cut into equal steps. `auto` follows the number of
    pictures, and the learning rate follows it, see training/learning/batch.py."""
    min_size: int = Field(ge=32)
    """Side of the square in the first epoch, pixels."""
    max_size: int = Field(ge=32)
    """Side of the square in the last epoch, pixels."""
    optimizer: Literal["sgd", "adam", "adamw"]
    """SGD has Nesterov momentum 0.9."""
    learning_rate: float = Field(gt=0)
    """Peak, after the warm-up; a cosine leads to zero. With `batch_size: auto` it is that of the largest batch."""
    warmup_epochs: float = Field(ge=0)
    """Epochs in which the learning rate grows to its peak; at most a quarter of the run."""
    weight_decay: float = Field(ge=0)
    """Not on norms and biases."""
    label_smoothing: float = Field(ge=0, lt=1)
    """Share of each label that is spread over all classes."""
    ema_decay: float = Field(ge=0, lt=1)
    """Decay of the weights' running mean, per step; the mean is validated and released."""
    min_area: float = Field(gt=0, le=1)
    """Smallest share of the picture that a random crop shows."""
    flip: bool
    """Mirror half of the pictures."""
    color: float = Field(ge=0, le=1)
    """Strength of random brightness, contrast and tint."""
    erasing: float = Field(ge=0, le=1)
    """Share of the pictures in which a random rectangle is made grey (arXiv 1708.04896)."""
    mixup: float = Field(ge=0)
    """Alpha of the Beta distribution that two pictures are mixed by (arXiv 1710.09412); 0 means none."""
    patience: int = Field(ge=0)
    """Stop after so many epochs without a better validation accuracy; 0 means never."""
    amp: Literal["auto", "off", "bf16", "fp16"]
    """Half precision in the network; `auto` asks the device for what is native to it."""
    decoded_side: int = Field(ge=0)
    """Keep the train split decoded in the cache, larger pictures scaled to this shorter side, pixels (width x height
    x 3 bytes each); 0 means decoding each picture anew."""
    workers: int = Field(ge=0)
    """Processes that decode and crop; 0 means in the training process."""
    seed: int = Field(ge=0)
    """Seed of the weights, the order and the crops."""
    class_weights: Literal["none", "balanced"] = "none"
    """`balanced` weighs each picture's loss by the inverse of its class's share, so that all classes weigh the same."""
    sampler: Literal["shuffled", "balanced"] = "shuffled"
    """`shuffled` shows each picture once in an epoch; `balanced` shows each class equally often, the pictures of small
    classes again and again."""
    degraded: float = Field(default=0.0, ge=0, le=1)
    """Share of the pictures that are made worse once they are cropped: blurred, noisy, small, turned by 90 degrees,
    squeezed or partly hidden. A teacher's target stays that of the crop as it was. It has no effect on a frozen
    backbone, whose features are computed once."""

    @field_validator("amp", mode="before")
    @classmethod
    def _off(cls, value: object) -> object:
        return "off" if value is False else value  # what YAML makes of a bare off

    @field_validator("batch_size", mode="before")
    @classmethod
    def _number_or_auto(cls, value: object) -> object:
        if value == "auto" or (type(value) is int and value >= 2):
            return value
        raise ValueError("it must be a whole number from 2 on, or auto")

    @model_validator(mode="after")
    def _sizes_in_order(self) -> "TrainConfig":
        if self.min_size > self.max_size:
            raise ValueError(f"min_size {self.min_size} is larger than max_size {self.max_size}")
        return self

    @model_validator(mode="after")
    def _balanced_once(self) -> "TrainConfig":
        if self.class_weights == self.sampler == "balanced":
            raise ValueError("class_weights and sampler would balance the classes twice: choose one of them")
        return self

    @property
    def pictures_per_step(self) -> int:
        """The batch size, once `auto` has become a number."""
        assert self.batch_size != "auto", "see training/learning/batch.py"
        return self.batch_size


class ViewsConfig(Section):
    count: int = Field(ge=1)
    """Fixed crops per picture; what a frozen network says to them is computed once and cached."""


class DistillConfig(Section):
    teacher: str | None
    """A frozen network (as model.arch) whose answers are learnt beside the labels; none means labels only. Of several,
    with commas between them, the mean of the probabilities is learnt."""
    teacher_weights: str
    """`imagenet` or a state dict's file."""
    teacher_size: int = Field(ge=32)
    """Side of the square that the teacher sees, pixels."""
    match: Literal["classes", "features", "labels"]
    """Target: the teacher's probabilities of its own classes, or its features, either through a second last layer that
    is dropped after training. `labels` takes the probabilities of a last layer on its features that is fitted on the
    labels of other pictures (5 folds), so that it has not learnt a picture's wrong label. Each class needs 5 pictures
    then."""
    weight: float = Field(ge=0)
    """Weight of this loss beside that of the labels."""
    temperature: float = Field(gt=0)
    """Softens the teacher's probabilities (arXiv 1503.02531)."""


class InputConfig(Section):
    size: int = Field(ge=32)
    """Side of the square that the released network takes, pixels."""
    resize: Literal["squeeze", "crop"]
    """How a picture becomes a square, see handler/preprocess.py."""


class Config(Section):
    model: ModelConfig
    train: TrainConfig
    views: ViewsConfig
    distill: DistillConfig
    input: InputConfig

    @model_validator(mode="after")
    def _one_way(self) -> "Config":
        if self.model.freeze_backbone and self.distill.teacher is not None:
            raise ValueError("model.freeze_backbone and distill.teacher exclude each other")
        if self.model.freeze_to is not None:
            if self.model.freeze_backbone:
                raise ValueError("model.freeze_to and model.freeze_backbone exclude each other")
            if self.model.weights is None:
                raise ValueError("model.freeze_to needs model.weights: random layers would stay random")
        several = "," in (self.distill.teacher or "")
        if several and (self.distill.match == "features" or self.distill.teacher_weights != "imagenet"):
            raise ValueError(
                "several teachers take distill.match=classes or labels and distill.teacher_weights=imagenet"
            )
        return self


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
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
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
        known = [*Config.model_fields, *known_keys()]
        raise UserError("\n".join(sentence(problem, DEFAULT.name, known) for problem in error.errors())) from error


def sentence(problem: Any, example: str, known: Sequence[str]) -> str:
    """Return an error of pydantic's as a sentence. `example` is a correct file; `known` are the existing keys."""
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "value_error":
        return f"{where}{': ' if where else ''}{problem['ctx']['error']}."
    if problem["type"] == "missing":
        return f"{where} is missing in the config; {example} has it."
    if problem["type"] != "extra_forbidden":
        return f"{where}: {problem['msg']} (it is {problem['input']!r})."
    near = difflib.get_close_matches(where, known, n=1)
    return f"{where} is not a key of the config." + (f" Did you mean {near[0]}?" if near else "")


def known_keys() -> list[str]:
    """Every key, as `section.key`."""
    return [
        f"{section}.{key}"
        for section, field in Config.model_fields.items()
        for key in field.annotation.model_fields  # type: ignore[union-attr]
    ]
