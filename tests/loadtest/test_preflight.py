"""Checks before the load: whether the server has the model, its classes, and every protocol."""

import json
from argparse import ArgumentParser
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
from PIL import Image

from loadtest.generate.pictures import make_pool
from loadtest.generate.preflight import Objection, objection, resolve
from loadtest.options import add_options
from loadtest.settings import Settings, settle
from tests.grpc_server import Refusal, grpc_server, problem
from tests.loadtest.support_locust import stub

GATE = ("--rate", "5", "--duration", "5s")
ANSWER = json.dumps({"label": "cat", "probability": 0.9, "probabilities": {"cat": 0.9, "dog": 0.1}}).encode()
NOWHERE = "127.0.0.1:1"


@dataclass
class Preflight:
    settings: Settings
    objection: Objection | None
    notes: list[str] = field(default_factory=list)


def ask(url: str, *arguments: str) -> Preflight:
    parser = ArgumentParser()
    parser.add_argument("--host", default=url)
    add_options(parser)
    settings = resolve(settle(parser.parse_args([*GATE, *arguments])))
    notes: list[str] = []
    refused = objection(settings, make_pool(settings.pictures, most=16), notes.append)
    return Preflight(settings, refused, notes)


def folder(tmp_path: Path, *classes: str) -> str:
    for name in classes:
        (tmp_path / name).mkdir()
        Image.new("RGB", (40, 30)).save(tmp_path / name / "1.png")
    return str(tmp_path)


def test_a_server_that_answers_is_no_objection() -> None:
    with stub() as url:
        assert ask(url).objection is None


def test_the_model_is_the_one_that_the_server_names() -> None:
    with stub("--name", "flowers", "--classes", "cat,dog") as url:
        preflight = ask(url)
    assert preflight.objection is None
    assert (preflight.settings.address.model, preflight.settings.classes) == ("flowers", "cat,dog")


def test_a_server_that_names_no_model_is_asked_for_the_service_of_the_slo() -> None:
    with stub() as url:
        assert ask(url).settings.address.model == "catsdogs"


def test_a_model_that_the_server_does_not_have_is_wrong_usage() -> None:
    with stub("--name", "flowers") as url:
        refused = ask(url, "--model", "catsdogs").objection
    assert refused == Objection(
        f"{url} serves flowers, not catsdogs: leave out --model, or name a model that it serves.", 2
    )


def test_a_server_that_answers_nothing_but_404_is_wrong_usage() -> None:
    with stub("--refuse", "404") as url:
        refused = ask(url).objection
    assert refused is not None
    assert refused.status == 2
    assert refused.sentence.startswith(f"{url} has no model catsdogs (rest: 404 not_found). Name another by")


@pytest.mark.parametrize(
    ("key", "sentence"), [("", "requires a key: set CATSDOGS_KEY"), ("k1", "does not take the key")]
)
def test_a_key_that_is_missing_or_wrong_is_wrong_usage(
    monkeypatch: pytest.MonkeyPatch, key: str, sentence: str
) -> None:
    monkeypatch.setenv("CATSDOGS_KEY", key)
    with stub("--refuse", "401") as url:
        refused = ask(url).objection
    assert refused is not None
    assert refused.status == 2
    assert sentence in refused.sentence


def test_a_server_that_is_overloaded_is_left_to_the_test() -> None:
    with stub("--refuse", "503") as url:
        assert ask(url).objection is None


def test_an_answer_that_contradicts_itself_is_left_to_the_test() -> None:
    with stub("--contradict-every", "1") as url:
        assert ask(url).objection is None


def test_grpc_that_does_not_answer_where_nobody_named_it_is_wrong_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    with stub() as url:
        monkeypatch.setattr("loadtest.settings.GRPC_PORT", 1)
        refused = ask(url, "--protocol", "rest", "--protocol", "grpc").objection
    assert refused is not None
    assert refused.status == 2
    assert (
        "gRPC at 127.0.0.1:1, the default, is not a catsdogs server, or does not answer (UNAVAILABLE)."
        in refused.sentence
    )
    assert refused.sentence.endswith("or leave gRPC out by --protocol rest (make: ARGS='--protocol rest').")


def test_grpc_that_does_not_answer_where_it_was_named_is_not_ready() -> None:
    with stub() as url:
        refused = ask(url, "--protocol", "grpc", "--grpc", NOWHERE).objection
    assert refused == Objection(f"gRPC at {NOWHERE} is not a catsdogs server, or does not answer (UNAVAILABLE).", 13)


def test_a_port_that_speaks_http_is_no_grpc() -> None:
    with stub() as url:
        refused = ask(url, "--protocol", "grpc", "--grpc", url.removeprefix("http://")).objection
    assert refused is not None
    assert refused.status == 13


def test_grpc_that_answers_is_no_objection() -> None:
    with stub() as url, grpc_server(lambda model, picture: ANSWER) as address:
        assert ask(url, "--protocol", "grpc", "--grpc", address).objection is None


def test_grpc_that_is_overloaded_is_left_to_the_test() -> None:
    def overloaded(model: str, picture: bytes) -> bytes:
        raise Refusal(grpc.StatusCode.UNAVAILABLE, problem(503, "overloaded"))

    with stub() as url, grpc_server(overloaded) as address:
        assert ask(url, "--protocol", "grpc", "--grpc", address).objection is None


def test_pictures_of_the_model_s_classes_are_no_note(tmp_path: Path) -> None:
    with stub("--name", "flowers", "--classes", "Daisy,Rose") as url:
        preflight = ask(url, "--pictures", folder(tmp_path, "daisy", "rose"))
    assert (preflight.objection, preflight.notes) == (None, [])


def test_named_pictures_of_other_classes_are_wrong_usage(tmp_path: Path) -> None:
    with stub("--name", "flowers", "--classes", "daisy,rose") as url:
        refused = ask(url, "--pictures", folder(tmp_path, "cat", "dog")).objection
    assert refused == Objection(
        f"The classes of flowers are daisy, rose, and in {tmp_path} there are pictures of cat, dog only. By --pictures,"
        " name a folder with a subfolder for each class.",
        2,
    )


def test_the_sample_pictures_are_sent_to_a_model_of_other_classes_and_their_labels_are_not_compared() -> None:
    with stub("--name", "flowers", "--classes", "daisy,rose") as url:
        preflight = ask(url)
    assert preflight.objection is None
    (note,) = preflight.notes
    assert note.startswith("The classes of flowers are daisy, rose, and in ")
    assert "labels are not compared" in note
    assert not preflight.settings.knows("cat")


def test_a_folder_that_is_no_class_is_said_and_its_labels_are_not_compared(tmp_path: Path) -> None:
    with stub("--name", "flowers", "--classes", "daisy,rose") as url:
        preflight = ask(url, "--pictures", folder(tmp_path, "daisy", "misc"))
    assert preflight.objection is None
    assert preflight.notes == [
        f"The classes of flowers are daisy, rose, and in {tmp_path} there are pictures of misc: the labels of these are"
        " not compared with the answers."
    ]
    assert preflight.settings.knows("daisy")
    assert not preflight.settings.knows("misc")
