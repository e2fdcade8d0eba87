"""Tests of `catsdogs check` on right, wrong and missing answers. tests/e2e/test_halves.py runs it on a real server."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click.testing
import grpc
import httpx
import pytest

from serving.cli.check import check
from serving.client.protocols import Wrong, by_grpc
from serving.client.samples import SAMPLES
from tests.grpc_server import Refusal, grpc_server, problem
from tests.serving.sample_server import TRUTHS, predicted, server

WAYS = ("REST", "KServe v1", "KServe v2")


def run(url: str, *options: str) -> click.testing.Result:
    return click.testing.CliRunner().invoke(check, ["--url", url, *options])


def ask(url: str, *options: str) -> tuple[int, list[str]]:
    """The exit status and the lines of the command."""
    done = run(url, "--pictures", str(SAMPLES), *options)
    return done.exit_code, done.stdout.splitlines()


def test_every_picture_must_be_right_by_every_protocol() -> None:
    with server() as url:
        status, lines = ask(url)
    assert status == 0
    assert len(lines) == 1 + len(TRUTHS) * len(WAYS)
    assert all(line.startswith("ok    ") for line in lines)


def test_without_a_share_one_wrong_prediction_fails() -> None:
    with server({"11.jpg"}) as url:
        status, lines = ask(url)
    assert status == 1
    assert [line for line in lines if not line.startswith("ok")] == [
        f"FAIL  11.jpg is a cat by {way}: the answer is dog" for way in WAYS
    ]


@pytest.mark.parametrize("share", ["0.9", "0.9375"])
def test_with_a_share_so_many_may_be_wrong_and_are_marked(share: str) -> None:
    with server({"11.jpg"}) as url:
        status, lines = ask(url, "--min-accuracy", share)
    assert status == 0
    assert "MISS  11.jpg is a cat by REST: the answer is dog" in lines
    assert lines[-1] == "ok    15 of 16 pictures are right"
    assert not [line for line in lines if line.startswith("FAIL")]


def test_fewer_fail_by_the_share_alone() -> None:
    with server({"11.jpg", "13.jpg"}) as url:
        status, lines = ask(url, "--min-accuracy", "0.9")
    assert status == 1
    failed = [line for line in lines if line.startswith("FAIL")]
    assert failed == ["FAIL  14 of 16 pictures are right: the accuracy is 0.875, below the minimum of 0.9"]


def test_the_old_name_of_the_share_works_and_says_the_new_one() -> None:
    with server({"11.jpg"}) as url:
        done = run(url, "--pictures", str(SAMPLES / "cat"), "--least-accuracy", "0.8")
    assert done.exit_code == 0
    assert done.stderr.splitlines() == [
        "--least-accuracy is now named --min-accuracy; the next version removes the old name."
    ]


def test_what_is_no_prediction_fails_whatever_the_share() -> None:
    with server(broken=True) as url:
        status, lines = ask(url, "--min-accuracy", "0")
    assert status == 1
    assert len([line for line in lines if line.startswith("FAIL") and "by REST" in line]) == len(TRUTHS)
    assert lines[-1] == "ok    0 of 16 pictures are right"


def test_an_answer_that_contradicts_itself_fails_whatever_the_share() -> None:
    with server(change=lambda answer: {**answer, "label": "cat" if answer["label"] == "dog" else "dog"}) as url:
        status, lines = ask(url, "--min-accuracy", "0")
    assert status == 1
    contradiction = "the answer contradicts itself: the label is not the most probable class"
    assert f"FAIL  11.jpg is a cat by REST: {contradiction}" in lines


def test_a_server_that_is_not_ready_is_waited_for_where_that_is_asked() -> None:
    with server(unready=1) as url:
        assert ask(url)[0] == 1
    with server(unready=1) as url:
        assert ask(url, "--wait", "30")[0] == 0


def test_waiting_ends_and_says_what_it_waited_for() -> None:
    with server(unready=1000) as url:
        status, lines = ask(url, "--wait", "1")
    assert status == 1
    (line,) = lines
    assert line.startswith("FAIL  it is ready: ")
    assert "503" in line


def test_one_picture_of_one_class_is_a_set(tmp_path: Path) -> None:
    (tmp_path / "Cat").mkdir()
    shutil.copy(SAMPLES / "cat" / "11.jpg", tmp_path / "Cat")
    with server() as url:
        status, lines = ask(url, "--pictures", str(tmp_path), "--min-accuracy", "1")
    assert (status, lines[-1]) == (0, "ok    1 of 1 pictures are right")


def test_a_class_is_compared_whatever_its_case(tmp_path: Path) -> None:
    (tmp_path / "persian").mkdir()
    shutil.copy(SAMPLES / "cat" / "11.jpg", tmp_path / "persian")
    with server(classes=("Persian", "Siamese")) as url:
        status, lines = ask(url, "--pictures", str(tmp_path))
    assert (status, lines[1]) == (0, "ok    11.jpg is a persian by REST")


def test_pictures_of_other_classes_are_one_sentence_and_not_a_line_each() -> None:
    with server(classes=("daisy", "rose", "tulip")) as url:
        status, lines = ask(url)
    assert status == 1
    assert lines[1:] == [
        "FAIL  the pictures are of the model's classes: the model's classes are daisy, rose, tulip, and the pictures in"
        f" {SAMPLES} are in folders named cat, dog. By --pictures, name a folder with a subfolder for each class"
    ]


def test_without_pictures_of_its_classes_a_model_s_answers_must_be_well_formed_and_agree() -> None:
    with server(classes=("daisy", "rose", "tulip")) as url:
        done = run(url)
    assert done.exit_code == 0
    assert done.stdout.splitlines()[1:] == [
        *(f"ok    11.jpg gets a well-formed answer by {way}" for way in WAYS),
        "ok    the protocols agree",
    ]
    assert "Labels are not compared: the model's classes are daisy, rose, tulip" in done.stderr


GOLDEN = "the golden pictures get the answers that the release recorded by"
FLOWERS = ("daisy", "rose", "tulip")


def test_a_model_of_any_classes_is_checked_by_the_answers_that_its_release_recorded() -> None:
    with server(classes=FLOWERS, golden=0.7) as url:
        done = run(url)
    assert done.exit_code == 0, done.output
    assert [line for line in done.stdout.splitlines() if "golden" in line] == [f"ok    {GOLDEN} {way}" for way in WAYS]


def test_other_answers_than_the_release_recorded_fail() -> None:
    with server(classes=FLOWERS, golden=0.7, answered=0.72) as url:
        done = run(url)
    assert done.exit_code == 1
    assert [line for line in done.stdout.splitlines() if line.startswith("FAIL")] == [
        f"FAIL  {GOLDEN} {way}: pattern 1 of 4 is daisy by 0.7200, and the release recorded daisy by 0.7000"
        for way in WAYS
    ]


def test_answers_of_other_weights_are_not_compared_with_them() -> None:
    with server(classes=FLOWERS, golden=0.7, answered=0.9, sha256="b") as url:
        assert run(url).exit_code == 0


def test_protocols_that_disagree_fail() -> None:
    with server(classes=("daisy", "rose"), by_v1=lambda _: predicted("rose", ("daisy", "rose"))) as url:
        done = run(url)
    assert done.exit_code == 1
    assert done.stdout.splitlines()[-1] == (
        "FAIL  the protocols agree: REST says daisy and KServe v1 rose; their probabilities are 0.800 apart"
    )


def test_an_accuracy_cannot_be_asked_of_pictures_of_other_classes() -> None:
    with server(classes=("daisy", "rose")) as url:
        done = run(url, "--min-accuracy", "0.5")
    assert done.exit_code == 1
    assert "FAIL  the pictures are of the model's classes" in done.stdout


def test_probabilities_of_all_classes_sum_to_one() -> None:
    with server(change=lambda answer: {**answer, "probabilities": {"cat": 0.9, "dog": 0.9}, "label": "cat"}) as url:
        status, lines = ask(url)
    assert status == 1
    assert lines[1].endswith("the answer contradicts itself: the probabilities do not sum to 1")


def test_the_five_most_probable_of_many_classes_may_sum_to_less() -> None:
    classes = [f"class {number}" for number in range(20)]

    def first_five(answer: dict[str, Any]) -> dict[str, Any]:
        return {**answer, "probabilities": dict(list(answer["probabilities"].items())[:5])}

    def half(answer: dict[str, Any]) -> dict[str, Any]:
        return predicted("class 0", classes, 0.5)

    with server(classes=classes, change=half, by_v1=first_five) as url:
        done = run(url)
    assert done.exit_code == 0, done.output


def test_hidden_files_are_skipped_and_counted(tmp_path: Path) -> None:
    shutil.copytree(SAMPLES / "cat", tmp_path / "cat")
    (tmp_path / "cat" / "._11.jpg").write_bytes(b"\0\5\x16\7")
    with server() as url:
        done = run(url, "--pictures", str(tmp_path))
    assert done.exit_code == 0
    assert done.stderr == f"Skipped 1 file in {tmp_path}: 1 hidden.\n"


def padded(answer: dict[str, Any], size: int) -> bytes:
    """An answer of so many bytes."""
    data = json.dumps(answer, separators=(",", ":")).encode()
    return data + b" " * (size - len(data))


def by_grpc_of(answer: Callable[[str, bytes], bytes]) -> str:
    with grpc_server(answer) as address, httpx.Client(http1=False, http2=True, trust_env=False) as client:
        return by_grpc(client, f"http://{address}", "catsdogs", b"picture").label


def test_answers_of_every_length_are_read_by_grpc() -> None:
    """The length of 123 bytes is written as {, that of 376 as x 2, that of 16,384 in three bytes."""
    sizes = [*range(100, 400), 632, 888, 15_739, 16_383, 16_384, 31_483, 70_000]
    left = iter(sizes)
    with (
        grpc_server(lambda model, picture: padded(predicted("cat"), next(left))) as address,
        httpx.Client(http1=False, http2=True, trust_env=False) as client,
    ):
        labels = [by_grpc(client, f"http://{address}", "catsdogs", b"picture").label for _ in sizes]
    assert labels == ["cat"] * len(sizes)


def refused(refusal: Refusal) -> str:
    def answer(model: str, picture: bytes) -> bytes:
        raise refusal

    with pytest.raises(Wrong) as raised:
        by_grpc_of(answer)
    return str(raised.value)


def test_a_status_of_grpc_is_told_with_its_code_and_message() -> None:
    refusal = Refusal(grpc.StatusCode.INVALID_ARGUMENT, problem(415, "unsupported_image"))
    assert refused(refusal) == "gRPC INVALID_ARGUMENT unsupported_image: It is no picture: 100 % text."


def test_a_status_of_grpc_without_a_problem_is_told_too() -> None:
    assert refused(Refusal(grpc.StatusCode.UNAVAILABLE, None, "Überlast")) == "gRPC UNAVAILABLE: Überlast"


def test_a_problem_document_that_comes_as_an_answer_is_none() -> None:
    with pytest.raises(KeyError):
        by_grpc_of(lambda model, picture: json.dumps(problem(415, "unsupported_image")).encode())


def test_a_server_that_does_not_speak_grpc_is_said_to() -> None:
    with server() as url:
        done = run(url, "--pictures", str(SAMPLES), "--grpc", url.removeprefix("http://"))
    assert done.exit_code == 1
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert len(failed) == len(TRUTHS)
    assert all(" by gRPC: " in line for line in failed)
