import importlib.util
from pathlib import Path

import pytest

from handler.files import UserError
from tests.training.train_support import TINY
from training import config as configs
from training import recipes


@pytest.mark.parametrize("name", recipes.SHIPPED)
def test_a_shipped_config_is_found_by_its_name_and_loads(name: str, tmp_path: Path) -> None:
    assert configs.load(recipes.find_config(name)).input.size >= 128


@pytest.mark.parametrize("name", ["mine.yaml", "folder/mine", "./small", "./mine"])
def test_anything_else_is_a_path(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for path in (Path("mine"), Path("small")):
        path.write_text("")
    assert recipes.find_config(name) == Path(name)
    assert recipes.find_config("mine") == Path("mine")
    assert recipes.find_config("small") == recipes.SHIPPED["small"]


@pytest.mark.parametrize(("word", "near"), [("smal", " Did you mean small?"), ("zzz", "")])
def test_an_unknown_name_lists_those_that_there_are(word: str, near: str) -> None:
    with pytest.raises(UserError) as error:
        recipes.find_config(word)
    assert str(error.value) == (
        f"There is no config '{word}': name a file or one of default, scratch, small, release, release-larger, "
        f"release-robust.{near}"
    )


def test_few_pictures_are_trained_by_the_small_config_and_many_by_the_default_one() -> None:
    path, sentence = recipes.choose_config(1999)
    assert path == recipes.SHIPPED["small"]
    assert sentence.startswith("1999 pictures are few: training the last layer alone")
    assert recipes.choose_config(2000) == (configs.DEFAULT, "")


def test_without_the_packages_few_pictures_are_trained_by_the_default_config_and_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    path, sentence = recipes.choose_config(96)
    assert path == configs.DEFAULT
    assert sentence.endswith("needs: pip install 'catsdogs[train,timm]'")


@pytest.mark.parametrize(
    ("override", "count", "warned"),
    [
        ("train.seed=0", 1999, True),
        ("train.seed=0", 2000, False),
        ("model.weights=start.pt", 96, False),
        ("distill.teacher=baseline", 96, False),
    ],
)
def test_a_network_from_random_weights_on_few_pictures_is_warned_about(override: str, count: int, warned: bool) -> None:
    assert bool(recipes.warning(configs.load(overrides=[*TINY, override]), count)) is warned
