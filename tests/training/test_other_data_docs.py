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
# So that the test takes seconds: smaller pictures, one pass, and a model that has seen too few to be good.
QUICK = ["--set", "input.size=64", "--set", "views.count=1", "--set", "train.epochs=1", "--allow-poor"]


def test_each_command_of_the_page_works(
    tmp_path: Path, invoke: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pets(tmp_path / "oxford-iiit-pet", train=6, test=2)
    write_cifar_archive(tmp_path, per_class=1)
    write_cifar(tmp_path, per_class=1, binary=True)
    monkeypatch.chdir(tmp_path)
    lines = [shlex.split(line) for block in run_by(__file__) for line in block.commands]
    assert {program for program, *_ in lines} == {PROGRAM}
    verbs = [arguments for _, *arguments in lines]
    for arguments in verbs:
        if arguments[0] == "prepare":
            invoke(*arguments, "--no-contact")
        elif arguments[0] == "pipeline":
            invoke(*arguments, *QUICK)
    assert {name: len(manifest.read(tmp_path / name).classes) for name in ("data-breeds", "data-species")} == {
        "data-breeds": len(BREEDS),
        "data-species": 2,
    }
    assert manifest.read(tmp_path / "data-cifar").classes == list(OBJECTS)
    assert manifest.read(tmp_path / "data-cifar-binary").classes == list(OBJECTS)
    (served,) = (arguments for arguments in verbs if arguments[0] == "serve")
    with start(tmp_path / served[1], workers=1) as server:
        ports = server.options.ports
        addresses = {"http://127.0.0.1:8080": server.options.url, "127.0.0.1:7070": f"127.0.0.1:{ports.grpc}"}
        asked = {
            arguments[0]: invoke(*(addresses.get(word, word) for word in arguments), *options)
            for arguments, options in ((verb, ["--json"] if verb[0] == "predict" else []) for verb in verbs)
            if arguments[0] in ("check", "predict")
        }
    assert asked["check"].count("ok    the golden pictures get") == 4
    assert json.loads(asked["predict"])["label"] in {breed.lower() for breed in BREEDS}
