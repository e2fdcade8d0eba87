"""The commands of docs/tutorials/train-your-own.md, typed in their order for three classes of forty pictures."""

import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import catsdogs
from tests.documentation import run_by
from tests.e2e.support import start
from tests.zoo import ROOT

PAGE = (ROOT / "docs" / "tutorials" / "train-your-own.md").read_text()
CATSDOGS = ".venv-train/bin/catsdogs"
# Class: colour of its petals, their number, and their largest radius in pixels.
FLOWERS = {"daisy": ((1.0, 1.0, 0.9), 12, 9), "rose": ((1.0, 0.1, 0.1), 2, 34), "tulip": ((0.5, 0.2, 1.0), 5, 20)}


def commands() -> list[list[str]]:
    """Return the lines of the page's blocks that name this test, as words."""
    lines = [shlex.split(line) for block in run_by(__file__) for line in block.commands]
    assert {program for program, *_ in lines} == {CATSDOGS}
    return lines


def verbs() -> Iterator[list[str]]:
    for program, *arguments in commands():
        if program == CATSDOGS:
            yield arguments


def flower(label: str, seed: int) -> Image.Image:
    """Draw petals of the class before smooth green."""
    colour, count, radius = FLOWERS[label]
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(30, 160, (6, 6)).astype(np.uint8)
    light = np.asarray(Image.fromarray(coarse).resize((120, 96), Image.Resampling.BICUBIC), dtype=np.float32)
    pixels = light[..., None] * np.array([0.4, 0.9, 0.4], dtype=np.float32)
    y, x = np.mgrid[:96, :120]
    for _ in range(count):
        away = (x - rng.uniform(30, 90)) ** 2 + (y - rng.uniform(24, 72)) ** 2
        pixels[away < rng.uniform(0.7 * radius, radius) ** 2] = rng.uniform(170, 250) * np.array(colour)
    return Image.fromarray(pixels.astype(np.uint8))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder with pictures/, in which the commands are typed."""
    for offset, label in enumerate(FLOWERS):
        (tmp_path / "pictures" / label).mkdir(parents=True)
        for number in range(40):
            flower(label, 1000 * offset + number).save(tmp_path / "pictures" / label / f"{number}.jpg", quality=90)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_folder_becomes_a_server_that_tells_its_classes_apart(desk: Path, invoke: Callable[..., str]) -> None:
    printed: dict[str, str] = {}
    asked = 0
    (served,) = (arguments for arguments in verbs() if arguments[0] == "serve")
    for arguments in verbs():
        if arguments[0] == "serve":
            continue  # it keeps its terminal; who asks it comes next
        if "--url" not in arguments:
            printed[arguments[0]] = invoke(*arguments)
            continue
        with start(desk / served[1]) as server:
            url = f"http://127.0.0.1:{server.options.ports.rest}"
            at = arguments.index("--url") + 1
            assert arguments[at] == "http://127.0.0.1:8080"
            arguments[at] = url
            lines = invoke(*arguments, "--json").splitlines()
        answers = [json.loads(line) for line in lines]
        assert len(answers) == 40
        assert sum(answer["label"] == "rose" for answer in answers) >= 36
        asked += 1
    assert asked == 1
    assert list(printed) == ["prepare", "train", "evaluate", "export", "package", "predict"]
    # Nobody named a config, and the small one was taken.
    config = json.loads((desk / "model-store" / "flowers" / "release.json").read_bytes())["config"]
    assert (config["model"]["arch"], config["model"]["freeze_backbone"]) == ("timm:tf_efficientnet_lite0", True)
    report = json.loads((desk / "runs" / "mine" / "evaluation" / "report.json").read_bytes())
    (figures,) = report["slices"].values()
    assert figures["accuracy"] >= 0.9
    assert ("cannot be judged" in printed["evaluate"]) == bool(report["not_judged"])


def test_the_page_names_the_configs_that_ship() -> None:
    from training.recipes import SHIPPED

    named = re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE)
    assert {name.strip("`") for row in named for name in row.split(", ")} == set(SHIPPED)


@pytest.mark.parametrize("text", re.findall(r"`(--config small --set \S+?)`", PAGE))
def test_the_settings_that_the_page_shows_are_taken(text: str, tmp_path: Path) -> None:
    # With a folder that is missing, the config is all that is read.
    arguments = ["train", *text.split(), "--data", str(tmp_path / "missing")]
    result = CliRunner().invoke(catsdogs.cli, arguments)
    assert "missing/manifest.csv is missing" in str(result.exception)


def test_the_readme_links_the_page() -> None:
    assert "(docs/tutorials/train-your-own.md)" in (ROOT / "README.md").read_text()
