"""Generated pictures, and one model that goes through every verb of the command once for the whole session."""

import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import click.testing
import numpy as np
import pytest
from PIL import Image

import catsdogs
from training import config as configs
from training.config import Config
from training.data import manifest as manifests
from training.data.manifest import Manifest

# Before torch is imported. Equal to the last bit is promised for a processor; cuDNN picks its algorithms by the clock.
os.environ["CUDA_VISIBLE_DEVICES"] = ""
# Tiny steps gain nothing from threads, and on a busy machine threads that wait for each other cost twenty times more.
os.environ["OMP_NUM_THREADS"] = "1"

with warnings.catch_warnings():
    warnings.simplefilter("ignore", ResourceWarning)  # it leaves its version file open
    import model_archiver.version  # noqa: F401

TINTS = {"Cat": (1.0, 0.5, 0.4), "Dog": (0.4, 0.5, 1.0)}
SMALL = (
    "train.epochs=4",
    "model.weights=null",
    "train.batch_size=8",
    "train.min_size=32",
    "train.max_size=32",
    "train.learning_rate=0.002",
    "train.ema_decay=0.5",
    'train.amp="off"',  # to YAML a bare off is false
    "train.workers=0",
    "input.size=32",
)


def draw(seed: int, label: str = "Cat", size: tuple[int, int] = (64, 48)) -> Image.Image:
    """Smooth random light, as a photograph has it, reddish for cats and bluish for dogs."""
    coarse = np.random.default_rng(seed).uniform(30, 255, (8, 8)).astype(np.uint8)
    light = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC), dtype=np.float32)
    return Image.fromarray((light[..., None] * np.array(TINTS[label], dtype=np.float32)).astype(np.uint8))


def draw_folders(folder: Path, per_class: int, first_seed: int = 0) -> Path:
    for offset, label in enumerate(TINTS):
        (folder / label).mkdir(parents=True, exist_ok=True)
        for seed in range(first_seed, first_seed + per_class):
            draw(2 * seed + offset, label).save(folder / label / f"{seed}.jpg", quality=90)
    return folder


@pytest.fixture(scope="session")
def photo() -> Callable[..., Image.Image]:
    """photo(seed, label="Cat", size=(64, 48)): always the same picture for the same arguments."""
    return draw


@pytest.fixture(scope="session")
def class_folders() -> Callable[..., Path]:
    """class_folders(folder, per_class, first_seed=0): writes Cat/*.jpg and Dog/*.jpg."""
    return draw_folders


@pytest.fixture(scope="session")
def small_config() -> Config:
    return configs.load(overrides=SMALL)


@pytest.fixture(scope="session")
def invoke() -> Callable[..., str]:
    """invoke("train", "--data", folder): what the verb prints on its standard output."""

    def run(*arguments: str | Path) -> str:
        result = click.testing.CliRunner().invoke(
            catsdogs.cli, [str(argument) for argument in arguments], catch_exceptions=False
        )
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """web/{Cat,Dog} as found on the web, photos/{Cat,Dog} with originals of a few of them, and a broken file."""
    root = tmp_path_factory.mktemp("pictures")
    draw_folders(root / "web", 40)
    for offset, label in enumerate(TINTS):
        (root / "photos" / label).mkdir(parents=True)
        for seed in (3, 11, 1000):
            original = draw(2 * seed + offset, label, (320, 240))
            original.save(root / "photos" / label / f"original-{seed}.jpg", quality=95)
    (root / "web" / "Cat" / "broken.jpg").write_bytes(b"not a picture")
    return root


@pytest.fixture(scope="session")
def outputs() -> dict[str, str]:
    """Return the output of each verb that made the session's model."""
    return {}


@pytest.fixture(scope="session")
def data(
    pictures: Path, invoke: Callable[..., str], outputs: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("session") / "data"
    evaluation_only = ("--evaluation-only", pictures / "photos")
    outputs["prepare"] = invoke("prepare", pictures / "web", *evaluation_only, "--out", out, "--split", "70/15/15")
    return out


@pytest.fixture(scope="session")
def manifest(data: Path) -> Manifest:
    return manifests.read(data)


def settings(overrides: Sequence[str]) -> list[str]:
    return [word for override in overrides for word in ("--set", override)]


@pytest.fixture(scope="session")
def run(data: Path, invoke: Callable[..., str], outputs: dict[str, str]) -> Path:
    """A folder with a trained run; read only."""
    folder = data.parent / "run"
    outputs["train"] = invoke("train", "--data", data, "--run", folder, *settings(SMALL))
    return folder


@pytest.fixture(scope="session")
def evaluation(data: Path, run: Path, invoke: Callable[..., str], outputs: dict[str, str]) -> Path:
    outputs["evaluate"] = invoke("evaluate", "--data", data, "--run", run)
    return run / "evaluation"


@pytest.fixture(scope="session")
def release(data: Path, run: Path, evaluation: Path, invoke: Callable[..., str], outputs: dict[str, str]) -> Path:
    folder = data.parent / "store" / "catsdogs"
    outputs["export"] = invoke("export", "--data", data, "--run", run, "--out", folder, "--version", "1.2.3")
    return folder


@pytest.fixture(scope="session")
def archive(release: Path, invoke: Callable[..., str], outputs: dict[str, str]) -> Path:
    outputs["package"] = invoke("package", release)
    return release.with_name("catsdogs.mar")


@pytest.fixture
def grow(tmp_path: Path, photo: Callable[..., Image.Image]) -> Callable[..., Path]:
    """grow("train/rose", "train/tulip", ...): so many unlike pictures in each folder of tmp_path/flowers."""
    seed = 0

    def write(*folders: str, count: int = 3) -> Path:
        nonlocal seed
        for folder in folders:
            (tmp_path / "flowers" / folder).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                seed += 1
                photo(seed).save(tmp_path / "flowers" / folder / f"{number}.jpg")
        return tmp_path / "flowers"

    return write


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Sixteen pictures to train on and six to validate by."""
    from tests.training.train_support import draw_manifest  # imports torch

    return draw_manifest(tmp_path_factory.mktemp("few"), {"train": 8, "val": 3})


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing curves and waiting for the disk take longer than an epoch of few pictures."""
    monkeypatch.setattr("training.learning.run_folder.draw_curves", lambda history, path: None)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
