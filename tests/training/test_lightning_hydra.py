"""The examples of docs/how-to/lightning-and-hydra.md, run as they stand on a few small pictures."""

import json
import logging
import re
import runpy
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.documentation import Block, run_by
from tests.training.train_support import draw_manifest
from tests.zoo import ROOT
from training.config import Config
from training.learning.checkpoint import load_checkpoint

PAGE = ROOT / "docs" / "how-to" / "lightning-and-hydra.md"
TypeCommands = Callable[[str], None]
# Lightning's, of what torch deprecated; how our code behaves is not at stake.
pytestmark = pytest.mark.filterwarnings("ignore")


def only(language: str, text: str) -> Block:
    """Return the one block of a language that has this text in it."""
    (block,) = (block for block in run_by(__file__) if block.language == language and text in block.text)
    return block


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A folder with prepared pictures, and the files that the page shows."""
    draw_manifest(tmp_path, {"train": 8, "val": 4, "test": 4})
    for name in ("fit_with_lightning.py", "train_with_hydra.py"):
        assert f"`{name}`" in PAGE.read_text()
        library = "lightning" if "lightning" in name else "hydra"
        (tmp_path / name).write_text(only("python", f"import {library}\n").text)
    for name, text in re.findall(r'^```yaml title="(.+?)"\n(.*?)^```$', PAGE.read_text(), re.DOTALL | re.MULTILINE):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def type_commands(desk: Path, invoke: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> Iterator[TypeCommands]:
    """Type the commands of the block that runs a script, in this process, which has imported torch already."""
    monkeypatch.chdir(desk)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def run(script: str) -> None:
        for line in only("sh", script).commands:
            program, *words = shlex.split(line)
            if program == ".venv-train/bin/catsdogs":
                invoke(*words)
                continue
            assert (program, words[0]) == (".venv-train/bin/python", script)
            monkeypatch.setattr(sys, "argv", words)
            runpy.run_path(script, run_name="__main__")

    yield run
    root.handlers[:] = handlers  # Hydra's write to what pytest captures, and closes
    root.setLevel(level)


def test_lightning_trains_our_network_and_evaluate_takes_its_checkpoint(
    desk: Path, type_commands: TypeCommands
) -> None:
    type_commands("fit_with_lightning.py")
    checkpoint = load_checkpoint(desk / "runs" / "lightning" / "best.pt")
    assert (checkpoint.epoch, checkpoint.classes) == (2, ["cat", "dog"])
    report = json.loads((desk / "runs" / "lightning" / "evaluation" / "report.json").read_bytes())
    assert report["slices"]["all"]["count"] == 8


def test_hydra_composes_our_config_and_our_loop_trains_by_it(desk: Path, type_commands: TypeCommands) -> None:
    type_commands("train_with_hydra.py")
    (once,) = desk.glob("outputs/*/*/run/config.yaml")
    config = Config.model_validate(yaml.safe_load(once.read_text()))
    assert (config.model.arch, config.train.epochs) == ("baseline", 2)  # by the group
    defaults = yaml.safe_load((ROOT / "training" / "config.yaml").read_text())
    assert config.train.weight_decay == defaults["train"]["weight_decay"]
    several = sorted(desk.glob("multirun/*/*/*/run/config.yaml"))
    assert [yaml.safe_load(path.read_text())["train"]["seed"] for path in several] == [0, 1]
    assert all(path.with_name("best.pt").exists() for path in [once, *several])


def test_every_recipe_of_the_page_is_a_valid_config(desk: Path) -> None:
    values = yaml.safe_load((ROOT / "training" / "config.yaml").read_text())
    recipes = sorted((desk / "conf" / "recipe").glob("*.yaml"))
    assert [path.stem for path in recipes] == ["quick", "thorough"]
    for path in recipes:
        recipe = yaml.safe_load(path.read_text())
        sections = {name: {**fields, **recipe.get(name, {})} for name, fields in values.items()}
        assert recipe.keys() <= values.keys()
        Config.model_validate(sections)
