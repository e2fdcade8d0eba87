"""Names, parameters and tags of a run in a tracker."""

from training.config import Config
from training.data.manifest import Manifest


def run_name(config: Config) -> str:
    """Return a name that tells runs apart at a glance: resnet18_freeze_true_sgd_lr0.05_bs64_160px_10ep_seed0."""
    model, recipe = config.model, config.train
    return "_".join(
        [
            model.arch.replace(":", "-"),
            f"freeze_{str(model.freeze_backbone).lower()}",
            recipe.optimizer,
            f"lr{recipe.learning_rate:g}",
            f"bs{recipe.batch_size}",
            f"{config.input.size}px",
            f"{recipe.epochs}ep",
            f"seed{recipe.seed}",
        ]
    )


# Keys whose values are in a run's name.
NAMED = (
    "model.arch",
    "model.freeze_backbone",
    "train.optimizer",
    "train.learning_rate",
    "train.batch_size",
    "input.size",
    "train.epochs",
    "train.seed",
)


def params_of(config: Config) -> dict[str, object]:
    """Return every value of the config, as `section.key`."""
    return {
        f"{section}.{key}": value
        for section, values in config.model_dump(mode="json").items()
        for key, value in values.items()
    }


def tags_of(manifest: Manifest, git_sha: str, versions: dict[str, str]) -> dict[str, str]:
    """Return what a run was made of: code, data, packages."""
    return {
        "git_sha": git_sha,
        "data_sha256": manifest.sha256,
        "classes": ", ".join(manifest.classes),
        **{f"pictures.{split}": str(len(manifest.split(split))) for split in ("train", "val", "test")},
        **{f"version.{name}": version for name, version in versions.items()},
    }
