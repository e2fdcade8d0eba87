"""`catsdogs image`: where results go, what is not overwritten, and what is said of a picture that is refused."""

import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import zoo
from tests.documentation import like_a_clone, run_by

CAT = zoo.CAT


def opened(path: Path) -> Image.Image:
    return Image.open(io.BytesIO(path.read_bytes()))


def run(*arguments: object, data: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, "-m", "catsdogs", "image", *map(str, arguments)]
    return subprocess.run(command, cwd=zoo.ROOT, input=data, capture_output=True)


def said(done: "subprocess.CompletedProcess[bytes]", status: int) -> str:
    assert done.returncode == status, done.stderr
    (line,) = done.stderr.decode().splitlines()
    return line


def test_the_documented_commands_do_what_the_page_says(tmp_path: Path, archive: Path) -> None:
    (block,) = [block for block in run_by(__file__) if block.language == "sh"]
    like_a_clone(tmp_path, "serving", "model-store")
    subprocess.run(["sh", "-ec", block.text], cwd=tmp_path, check=True)
    assert opened(tmp_path / "small.png").width == 320
    assert opened(tmp_path / "cut.png").size == (200, 100)
    greys = sorted((tmp_path / "grey").iterdir())
    assert [path.stem for path in greys] == sorted(path.stem for path in (zoo.ROOT / "serving/samples/dog").iterdir())
    assert {opened(path).mode for path in greys} == {"L"}
    assert np.load(tmp_path / "normalized.npy").shape == (3, *opened(tmp_path / "seen.png").size)


def test_a_file_that_exists_is_replaced_only_by_force(tmp_path: Path) -> None:
    out = tmp_path / "a.png"
    out.write_bytes(b"mine")
    assert said(run("grayscale", CAT, "--out", out), 2) == f"catsdogs: {out} exists. To replace it, add --force."
    assert out.read_bytes() == b"mine"
    assert run("grayscale", CAT, "--out", out, "--force").returncode == 0
    assert opened(out).mode == "L"


def test_one_of_several_that_exists_stops_all_of_them(tmp_path: Path) -> None:
    other = tmp_path / "other.jpg"
    other.write_bytes(CAT.read_bytes())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "other.png").write_bytes(b"mine")
    assert "exists" in said(run("grayscale", CAT, other, "--out", tmp_path / "out"), 2)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["other.png"]


def test_two_results_of_one_name_are_refused(tmp_path: Path) -> None:
    other = tmp_path / f"{CAT.stem}.png"
    opened(CAT).save(other)
    assert "Two pictures would be written" in said(run("grayscale", CAT, other, "--out", tmp_path / "out"), 2)


def test_a_refused_picture_is_named_and_the_others_have_their_results(tmp_path: Path) -> None:
    broken, text = tmp_path / "broken.jpg", tmp_path / "text.jpg"
    broken.write_bytes(CAT.read_bytes()[:3000])
    text.write_bytes(b"no picture")
    done = run("grayscale", broken, text, CAT, "--out", tmp_path / "out")
    assert done.returncode == 1
    first, second = done.stderr.decode().splitlines()
    assert first.startswith(f"{broken}: The JPEG picture is cut off")
    assert second.startswith(f"{text}: ")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [f"{CAT.stem}.png"]


def test_a_bomb_is_refused_in_a_sentence(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(zoo.bomb())
    assert "pixels; the limit is" in said(run("grayscale", bomb, "--out", tmp_path / "out.png"), 1)


def test_standard_input_and_output_are_dashes() -> None:
    done = run("resize", "-", "--width", "40", "--out", "-", data=CAT.read_bytes())
    assert (done.returncode, done.stderr) == (0, b"")
    assert Image.open(io.BytesIO(done.stdout)).width == 40


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("resize", CAT, "--out", "x.png"), "resize needs --width or --height"),
        (("crop", CAT, "--out", "x.jpg"), "x.jpg must end in .png"),
        (("normalize", CAT, "--out", "x.json"), "x.json must end in .npy"),
        (("normalize", CAT, "--mean", "1,2", "--out", "x.npy"), "mean must be three numbers"),
        (("grayscale", "nowhere.jpg", "--out", "x.png"), "There is no file nowhere.jpg"),
        (("grayscale", CAT, CAT.parent, "--out", "-"), "name a folder by --out"),
        (("grayscale", "-", "-", "--out", "x"), "give - once"),
        (("show-input", CAT, "--model", "nowhere.mar", "--out", "x.png"), "There is no archive nowhere.mar"),
        (("grayscale", CAT.parent, "--out", zoo.ROOT / "README.md"), "README.md is a file"),
    ],
)
def test_a_mistake_is_answered_in_a_sentence(arguments: tuple[object, ...], words: str) -> None:
    line = said(run(*arguments), 2)
    assert line.startswith("catsdogs: ")
    assert words in line


def test_a_terminal_gets_no_picture() -> None:
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "catsdogs", "image", "grayscale", str(CAT), "--out", "-"]
    done = subprocess.run(command, cwd=zoo.ROOT, stdout=slave, stderr=subprocess.PIPE, text=True)
    os.close(slave)
    os.close(master)
    assert done.returncode == 2
    assert "no text for a terminal" in done.stderr
