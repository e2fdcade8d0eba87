"""`catsdogs predict --out`: each picture has one row, whatever is killed, and the row is the one without --out."""

import json
import os
import shutil
import signal
import subprocess
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

import catsdogs
from handler.files import UserError
from serving.bulk.sources import Folder
from serving.client.predict import predict_offline
from tests import zoo
from tests.serving.bulk import Rows, command, environment, pictures, rows, run, tar_of


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pictures(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def offline(photos: Path, archive: Path) -> Rows:
    """The answers without --out."""
    predictions = predict_offline(sorted(photos.rglob("*.jpg")), archive)
    return {str(prediction.path): prediction.answer or {} for prediction in predictions}


def wait_until(question: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 120
    while not question():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def start(*arguments: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        command(*arguments), cwd=zoo.ROOT, env=environment(), stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def test_three_shards_have_each_picture_once_with_its_answer(photos: Path, offline: Rows, tmp_path: Path) -> None:
    names: set[str] = set()
    for index in range(3):
        said = run(photos, "--out", tmp_path, "--shard=3", "--workers=1", JOB_COMPLETION_INDEX=str(index))
        assert f"Shard {index}/3 is complete: " in said
        assert len(rows(tmp_path)) > len(names), "each shard has some"
        names = set(rows(tmp_path))
    assert rows(tmp_path) == offline
    merged = CliRunner().invoke(catsdogs.cli, ["merge", str(tmp_path), "--out", str(tmp_path / "all.jsonl")])
    assert merged.exit_code == 0, merged.output
    assert "3 of 3 shards are complete: 24 pictures; " in merged.output
    lines = (tmp_path / "all.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["path"] for line in lines) == sorted(offline)


def test_a_killed_shard_goes_on_with_the_first_part_that_is_not_there(
    photos: Path, offline: Rows, tmp_path: Path
) -> None:
    options = (photos, "--out", tmp_path, "--part-size=4", "--workers=1")
    with start(*options) as process:
        wait_until(lambda: len(list(tmp_path.glob("part-*"))) >= 2, process)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    before = {part: part.stat().st_mtime_ns for part in tmp_path.glob("part-*")}
    assert 2 <= len(before) < 6
    assert not list(tmp_path.glob("_done*"))
    said = run(*options)
    assert f"Shard 0/1: 24 pictures, {len(before)} parts are there." in said
    assert "Shard 0/1 is complete: 24 pictures; " in said
    assert rows(tmp_path) == offline
    assert {part: part.stat().st_mtime_ns for part in before} == before, "no picture was classified twice"
    assert not list(tmp_path.glob(".*")), "nothing of the kill is left"
    assert "is complete already" in run(*options)


def test_sigterm_finishes_the_part_in_hand(photos: Path, offline: Rows, tmp_path: Path) -> None:
    options = (photos, "--out", tmp_path, "--part-size=4", "--workers=1")
    with start(*options) as process:
        wait_until(lambda: bool(list(tmp_path.glob("part-*"))), process)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, said
    assert "SIGTERM: finishing the part in hand." in said
    # All that were begun are written, and what is said of them is what is there.
    assert f" {len(rows(tmp_path))} of 24 pictures (" in said.splitlines()[-1]
    last = said.splitlines()[-1]
    assert last.startswith("catsdogs: Stopped after a whole part: "), said
    assert last.endswith("To resume, give the same command again.")
    assert 1 <= len(rows(tmp_path)) < 24
    assert len(rows(tmp_path)) % 4 == 0
    run(*options)
    assert rows(tmp_path) == offline


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_no_row(photos: Path, offline: Rows, tmp_path: Path) -> None:
    options = (photos, "--out", tmp_path, "--part-size=4", "--workers=1")
    with start(*options) as process:
        wait_until(lambda: bool(list(tmp_path.glob("part-*"))), process)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        # The last one is the worker; multiprocessing starts a process of its own before it.
        os.kill(int(children[-1]), signal.SIGKILL)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert rows(tmp_path) == offline


@pytest.fixture(scope="module")
def complete(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place with all pictures in parts of 4."""
    out = tmp_path_factory.mktemp("complete")
    run(photos, "--out", out, "--part-size=4", "--workers=1")
    return out


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, some of which cannot be read, other files, and tars."""
    folder = tmp_path_factory.mktemp("mixed")
    for name, (data, _, _) in zoo.refused().items():
        (folder / f"{name}.jpg").write_bytes(data)
    (folder / "large.jpg").write_bytes(bytes(16 * 2**20 + 1))
    (folder / "gone.jpg").symlink_to("nowhere")
    (folder / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64))
    shutil.copy(zoo.CAT, folder / "cat-without-suffix")
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.jpg").write_bytes(b"")
    cat, dog = zoo.CAT.read_bytes(), zoo.DOG.read_bytes()
    members = {"1.jpg": cat, "1.json": b"{}", "2.jpg": dog, "../3.jpg": cat, "4.jpg": b"hello", "5": dog}
    (folder / "set.tar").write_bytes(tar_of(members))
    (folder / "cut.tar").write_bytes(tar_of({"1.jpg": cat, "2.jpg": dog})[:-12000])
    (folder / "none.tar.gz").write_bytes(b"hello")
    (folder / "empty.tar").write_bytes(bytes(10240))
    return folder


def test_what_cannot_be_read_is_a_row_and_what_is_no_picture_none(mixed: Path, tmp_path: Path) -> None:
    said = run(mixed, "--out", tmp_path, "--part-size=2", "--workers=1")
    found = rows(tmp_path)
    codes = {path.removeprefix(f"{mixed}/"): row.get("code", row.get("label")) for path, row in found.items()}
    assert codes == {
        **{f"{name}.jpg": code for name, (_, _, code) in zoo.refused().items()},
        "large.jpg": "too_many_bytes",
        "gone.jpg": "not_found",
        "photo.heic": "unsupported_image",
        "cat-without-suffix": "cat",
        "set.tar/1.jpg": "cat",
        "set.tar/2.jpg": "dog",
        "set.tar/../3.jpg": "cat",
        "set.tar/4.jpg": "unsupported_image",
        "set.tar/5": "dog",
        "cut.tar/1.jpg": "cat",
        "cut.tar/2.jpg": "corrupt_tar",
        "none.tar.gz": "corrupt_tar",
    }
    assert all({"error", "code"} == row.keys() for row in found.values() if "error" in row)
    assert "is complete: 21 pictures; cat 4, dog 2; 15 without a prediction (" in said
    assert "2 files skipped that are no pictures." in said


def test_the_parts_of_a_tar_that_are_there_are_not_made_again(mixed: Path, tmp_path: Path) -> None:
    options = (mixed / "set.tar", "--out", tmp_path, "--part-size=2", "--workers=1")
    run(*options)
    whole = rows(tmp_path)
    parts = sorted(tmp_path.glob("part-*"))
    assert [part.stem.partition("members-")[2] for part in parts] == [
        "000000000-000000001",
        "000000002-000000003",
        "000000004-000000005-end",
    ]
    (tmp_path / "_done-00000-of-00001.json").unlink()
    parts[1].unlink()
    before = [part.stat().st_mtime_ns for part in (parts[0], parts[2])]
    assert "2 parts are there." in run(*options)
    assert [part.stat().st_mtime_ns for part in (parts[0], parts[2])] == before
    assert rows(tmp_path) == whole


def test_pictures_that_come_later_belong_to_another_place(tmp_path: Path) -> None:
    photos, out = pictures(tmp_path / "photos", 4), tmp_path / "photos" / "out"
    run(photos, "--out", out, "--workers=1")
    shutil.copy(zoo.CAT, photos / "later.jpg")
    # The plan stays, and what is written into the folder itself is not listed.
    assert "is complete already" in run(photos, "--out", out)
    assert len(rows(out)) == 4


@pytest.mark.parametrize(
    ("options", "variables", "reason"),
    [
        (["--part-size=5"], {}, "was begun with --part-size 4, and this command has --part-size 5"),
        (["--shard=0/2", "--part-size=4"], {}, "has parts of 1 shards, and this is one of 2"),
        (["--part-size=4"], {"CATSDOGS_PRECISION": "fp32"}, f"was begun with the model {zoo.MODEL} int8"),
    ],
)
def test_parts_of_different_commands_are_not_mixed(
    photos: Path, complete: Path, options: list[str], variables: dict[str, str], reason: str
) -> None:
    before = set(complete.iterdir())
    assert reason in run(photos, "--out", complete, *options, status=2, **variables)
    assert set(complete.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--shard=0/2"], "--shard needs --out"),
        (["--format=parquet"], "--format needs --out"),
        (["--out=x", "--json"], "leave out --url and --json"),
        (["s3://bucket/x"], "is read with --out"),
        (["nowhere", "--out=x"], "There is no file"),
        (["s3://b", "--out=x"], "b is not a bucket's name"),
    ],
)
def test_a_mistake_is_one_sentence(arguments: list[str], reason: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(catsdogs.cli, ["predict", str(zoo.CAT), *arguments])
    assert isinstance(done.exception, UserError), done.output
    assert reason in str(done.exception)


def test_a_place_without_pictures_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "holds no pictures" in run(tmp_path / "empty", "--out", tmp_path / "out", status=2)
    assert not (tmp_path / "out").exists()


def merge(place: Path, *options: str) -> tuple[int, str]:
    """The exit status of `catsdogs merge`, and what it says."""
    done = CliRunner().invoke(catsdogs.cli, ["merge", str(place), *options])
    return done.exit_code, f"{done.output}{done.exception}"


@pytest.fixture
def copy(complete: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(complete, tmp_path / "copy"))


def test_merge_says_which_shards_are_missing(copy: Path, tmp_path: Path) -> None:
    for file in copy.iterdir():
        file.rename(copy / file.name.replace("00000-of-00001", "00001-of-00003"))
    summary = next(copy.glob("_done*"))
    summary.write_text(summary.read_text().replace("00000-of-00001", "00001-of-00003"))
    status, said = merge(copy, "--out", str(tmp_path / "all.jsonl"))
    assert status == 1
    assert "1 of 3 shards are complete: 24 pictures; " in said
    assert "Not complete: 0, 2." in said
    assert not (tmp_path / "all.jsonl").exists()


def test_merge_notices_a_part_that_is_missing(copy: Path) -> None:
    next(copy.glob("part-*")).unlink()
    assert "does not have the parts that shard 0 wrote" in merge(copy)[1]


def test_merge_notices_a_part_that_lost_rows(copy: Path, tmp_path: Path) -> None:
    part = next(copy.glob("part-*"))
    part.write_text("".join(part.read_text().splitlines(keepends=True)[1:]))
    said = merge(copy, "--out", str(tmp_path / "all.jsonl"))[1]
    assert "has 3 rows, and was written with 4" in said
    assert not (tmp_path / "all.jsonl").exists()


def test_a_folder_is_listed_without_being_held(tmp_path: Path) -> None:
    for number in range(5000):
        (tmp_path / f"{number}.jpg").touch()
    tracemalloc.start()
    try:
        assert sum(1 for _ in Folder(tmp_path).entries()) == 5000
        assert tracemalloc.get_traced_memory()[1] < 200_000
    finally:
        tracemalloc.stop()
