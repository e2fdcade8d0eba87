"""`catsdogs explain`: in words, as JSON, as PNG, and what is said of a picture or an archive that it cannot explain."""

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import zoo
from tests.archives import read_members, write_archive
from tests.documentation import like_a_clone, run_by

CAT = zoo.CAT


def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "catsdogs", "explain", *map(str, arguments)]
    return subprocess.run(command, cwd=zoo.ROOT, capture_output=True, text=True)


def opened(path: Path) -> Image.Image:
    return Image.open(io.BytesIO(path.read_bytes()))


def said(done: "subprocess.CompletedProcess[str]", status: int) -> str:
    assert done.returncode == status, done.stderr
    (line,) = done.stderr.splitlines()
    return line


def test_the_documented_commands_do_what_the_page_says(tmp_path: Path, archive: Path) -> None:
    (block,) = [block for block in run_by(__file__) if block.language == "sh"]
    like_a_clone(tmp_path, "serving", "model-store")
    done = subprocess.run(["sh", "-ec", block.text], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("serving/samples/cat/4055.jpg: cat (9")
    assert opened(tmp_path / "why.png").size == (512, 256)
    assert len(list((tmp_path / "whys").iterdir())) == 8
    assert json.loads(done.stdout.splitlines()[-1])["class"] == "dog"


def test_in_words_the_map_has_a_line_for_each_row(archive: Path) -> None:
    done = run(CAT)
    head, told, *rows = done.stdout.splitlines()
    assert re.fullmatch(re.escape(f"{CAT}: cat (9") + r"\d\.\d %\)", head)
    assert told == "What speaks for cat (@ most, - what speaks against it):"
    assert [len(row) for row in rows] == [len("  |            |")] * 6
    assert "@@" in rows[2]
    assert (done.returncode, done.stderr) == (0, "")


def test_a_name_cannot_send_commands_to_the_terminal(tmp_path: Path, archive: Path) -> None:
    named = tmp_path / "a\033[31mred\nline.jpg"
    named.write_bytes(CAT.read_bytes())
    done = run(named)
    assert "\033" not in done.stdout
    assert r"a\x1b[31mred\nline.jpg: cat" in done.stdout.splitlines()[0]
    named.write_bytes(b"none")
    assert r"a\x1b[31mred" in run(named).stderr
    missing = run(tmp_path / "\033[32mnone.jpg")
    assert r"\x1b[32mnone.jpg" in said(missing, 2)


def test_json_has_the_numbers_of_each_picture(archive: Path) -> None:
    done = run("--json", "--class", "dog", CAT, zoo.DOG)
    cat, dog = map(json.loads, done.stdout.splitlines())
    assert (cat["path"], dog["path"]) == (str(CAT), str(zoo.DOG))
    assert cat["class"] == dog["class"] == "dog"
    assert (cat["prediction"]["label"], dog["prediction"]["label"]) == ("cat", "dog")
    for document in (cat, dog):
        assert np.mean(document["map"]) == pytest.approx(document["logit"] - document["bias"], abs=1e-4)


def test_fp32_is_exact(archive: Path) -> None:
    document = json.loads(run("--json", "--precision", "fp32", CAT).stdout)
    assert np.mean(document["map"]) == pytest.approx(document["logit"] - document["bias"], abs=1e-4)


def test_a_bad_picture_costs_its_own_explanation_alone(archive: Path, tmp_path: Path) -> None:
    text = tmp_path / "letter.txt"
    text.write_text("Dear cat,")
    done = run(text, CAT, "--out", tmp_path / "out")
    assert said(done, 1).startswith(f"{text}: This is text, which is not read here.")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["4055.png"]
    refused, answered = map(json.loads, run("--json", text, CAT).stdout.splitlines())
    assert refused == {"path": str(text), "error": refused["error"], "code": "unsupported_image"}
    assert answered["class"] == "cat"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--class", "horse", CAT], "The model has no class 'horse': name one of cat, dog by --class."),
        (["--json", "--out", "a.png", CAT], "--json prints numbers, and --out writes pictures: give one of them."),
        (["--force", CAT], "--force replaces files that --out names: give --out."),
        (["-"], "A picture is explained by its file: standard input is not read here."),
        (["nowhere.jpg"], "There is no file nowhere.jpg."),
        (["--model", "nowhere.mar", CAT], "There is no archive nowhere.mar"),
        (["--out", "a.jpg", CAT], "a.jpg must end in .png, as the result is of that format."),
    ],
)
def test_a_mistake_is_one_sentence(archive: Path, arguments: list[object], sentence: str) -> None:
    assert said(run(*arguments), 2).startswith(f"catsdogs: {sentence}")


def test_an_archive_that_has_no_onnx_network_says_so(archive: Path, tmp_path: Path) -> None:
    members = read_members(archive)
    kept = {name: data for name, data in members.items() if name not in ("model.onnx", "model.int8.onnx")}
    out = write_archive(tmp_path / "mnn.mar", kept)
    sentence = f"catsdogs: {out} has no explanations: MNN does not compute them, and nothing else here can."
    assert said(run("--model", out, CAT), 2) == sentence


def test_a_file_that_exists_is_replaced_only_by_force(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.png"
    out.write_bytes(b"mine")
    assert said(run(CAT, "--out", out), 2) == f"catsdogs: {out} exists. To replace it, add --force."
    assert out.read_bytes() == b"mine"
    assert run(CAT, "--out", out, "--force").returncode == 0
    assert opened(out).format == "PNG"


def test_a_file_in_the_place_of_the_folder_is_named(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    sentence = f"catsdogs: {tmp_path}/file is a file, and no folder for a.png: name another by --out."
    assert said(run(CAT, "--out", tmp_path / "file" / "a.png"), 2) == sentence


def test_of_a_file_without_an_end_no_more_is_read_than_a_picture_may_have() -> None:
    done = run("/dev/zero")
    assert done.returncode != 0
    assert "/dev/zero: The picture has at least 16777217 bytes; the limit is 16777216." in done.stdout + done.stderr
