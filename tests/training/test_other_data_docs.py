"""The commands of docs/how-to/other-data.md, in their order, on small generated folders in the datasets' layouts."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.documentation import run_by
from tests.e2e.support import start
from tests.public_sets import BREEDS, OBJECTS, write_cifar, write_cifar_archive, write_pets
from training.data import manifest

PROGRAM = ".venv-train/bin/catsdogs"
# So that the test takes seconds: smaller pictures, one view of each, and a model that has seen too few to be good.
# After one epoch its logits are so small that calibration multiplies by twenty what runtimes differ by.
QUICK = ["--set", "input.size=64", "--set", "views.count=1", "--set", "train.epochs=10", "--allow-poor"]

Invoke = Callable[..., str]


def verbs(*names: str) -> list[list[str]]:
    """Return the page's commands of these verbs, as words after the program."""
    lines = [shlex.split(line) for block in run_by(__file__) for line in block.commands]
    assert {program for program, *_ in lines} == {PROGRAM}
    assert {verb for _, verb, *_ in lines} == {"prepare", "pipeline", "serve", "check", "predict"}
    return [arguments for _, *arguments in lines if arguments[0] in names]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_pets(tmp_path / "oxford-iiit-pet", train=6, test=2)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_pages_datasets_are_prepared(desk: Path, invoke: Invoke) -> None:
    write_cifar_archive(desk, per_class=1)
    write_cifar(desk, per_class=1, binary=True)
    for arguments in verbs("prepare"):
        invoke(*arguments, "--no-contact")
    classes = {path.name: manifest.read(path).classes for path in sorted(desk.glob("data-*"))}
    breeds = sorted(breed.lower() for breed in BREEDS)
    objects = list(OBJECTS)
    assert classes == {
        "data-breeds": breeds,
        "data-cifar": objects,
        "data-cifar-binary": objects,
        "data-official": breeds,
        "data-species": ["cat", "dog"],
    }


@pytest.mark.slow
def test_the_pages_model_is_trained_served_and_asked(desk: Path, invoke: Invoke) -> None:
    for arguments in verbs("pipeline"):
        invoke(*arguments, *QUICK)
    (served,) = verbs("serve")
    with start(desk / served[1], workers=1) as server:
        grpc = f"127.0.0.1:{server.options.ports.grpc}"
        addresses = {"http://127.0.0.1:8080": server.options.url, "127.0.0.1:7070": grpc}
        asked = {
            verb: invoke(verb, *(addresses.get(word, word) for word in words), *(["--json"] * (verb == "predict")))
            for verb, *words in verbs("check", "predict")
        }
    assert asked["check"].count("ok    the golden pictures get") == 4
    assert json.loads(asked["predict"])["label"] in {breed.lower() for breed in BREEDS}
