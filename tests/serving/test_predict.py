import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from handler.files import UserError
from serving.cli.predict import predict
from serving.cli.table import prediction_table
from serving.client.pictures import find_pictures
from serving.client.predict import Prediction, predict_by_server, predict_offline
from tests import zoo


def test_folders_are_searched_and_files_are_taken_as_named(tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("no picture")
    pictures = find_pictures([zoo.SAMPLES / "cat", notes])
    assert pictures[-1] == notes
    assert len(pictures) == 9
    assert pictures[:-1] == sorted(pictures[:-1])


def test_a_path_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no file"):
        find_pictures([tmp_path / "none.jpg"])
    with pytest.raises(UserError, match="holds no pictures"):
        find_pictures([tmp_path])


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64)


def folder_of(tmp_path: Path, *names: str, content: bytes | None = None) -> Path:
    folder = tmp_path / "photos"
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(zoo.CAT.read_bytes() if content is None else content)
    return folder


@pytest.mark.parametrize("name", ["a.jfif", "a.jpe", "a.pjpeg", "a.pjp", "a.JPG", "a.TIFF"])
def test_every_suffix_of_a_format_that_is_read_is_a_picture(tmp_path: Path, name: str) -> None:
    folder = folder_of(tmp_path, name)
    assert find_pictures([folder]) == [folder / name]


def test_hidden_files_and_folders_are_no_pictures(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "A.jpg", "._A.jpg", ".thumbnails/A.jpg")
    messages: list[str] = []
    assert find_pictures([folder], messages.append) == [folder / "A.jpg"]
    assert messages == [f"Skipped 2 files in {folder}: 2 hidden."]


def test_a_hidden_folder_that_is_named_is_searched(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, ".album/A.jpg") / ".album"
    assert find_pictures([folder]) == [folder / "A.jpg"]


def test_what_is_skipped_is_counted_and_the_reason_said(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "A.jpg")
    for name in ("1.HEIC", "from a phone"):
        (folder / name).write_bytes(HEIC)
    (folder / "3.avif").write_bytes(HEIC.replace(b"heic", b"avif"))
    for name in ("notes.txt", "LICENSE"):
        (folder / name).write_text("no picture")
    messages: list[str] = []
    find_pictures([folder], messages.append)
    assert messages == [
        f"Skipped 5 files in {folder}: 1 AVIF, 2 HEIC (not read: save them as JPEG or PNG);"
        " 2 that are no pictures (.txt, none)."
    ]


def test_a_folder_of_formats_that_are_not_read_says_which(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no pictures .* Skipped 1 file in .*: 1 HEIC"):
        find_pictures([folder_of(tmp_path, "1.heic", content=HEIC)])


@pytest.mark.parametrize("name", ["cat", "cat.txt", "cat.heic", "cat.jpg.1", "download.php", "cat.image"])
def test_a_picture_is_one_by_its_content_whatever_its_name(tmp_path: Path, name: str) -> None:
    folder, messages = folder_of(tmp_path, name), list[str]()
    assert find_pictures([folder], messages.append) == [folder / name]
    assert messages == []


def test_what_is_called_a_picture_and_is_none_is_not_skipped_without_a_word(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "a.jpg", content=b"<html>Sign in to download</html>")
    assert find_pictures([folder]) == [folder / "a.jpg"]


def test_a_cameras_raw_file_that_begins_as_a_tiff_is_not_taken_for_one(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "a.nef", content=b"II*\0" + bytes(100))
    with pytest.raises(UserError, match="1 camera raw"):
        find_pictures([folder])


def test_a_folder_that_is_called_as_a_picture_is_none(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "album.jpg/A.jpg")
    assert find_pictures([folder]) == [folder / "album.jpg" / "A.jpg"]


def test_an_empty_file_is_called_empty(archive: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.jpg"
    empty.touch()
    offline = list(predict_offline([empty, zoo.CAT], archive))
    assert [prediction.problem for prediction in offline] == ["The file is empty.", None]
    # It is not sent.
    (online,) = predict_by_server([empty], "http://127.0.0.1:1")
    assert online.problem == "The file is empty."


def test_a_bad_picture_gets_its_problem_and_the_others_their_answers(archive: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"hello")
    predictions = list(predict_offline([zoo.CAT, bad, zoo.DOG], archive))
    assert [prediction.path for prediction in predictions] == [zoo.CAT, bad, zoo.DOG]
    assert [prediction.answer is None for prediction in predictions] == [False, True, False]
    assert "This is text" in (predictions[1].problem or "")


def test_a_server_that_is_not_there_is_one_sentence() -> None:
    for url in ("http://127.0.0.1:1", "127.0.0.1", "http://[broken"):
        with pytest.raises(UserError, match="cannot be reached"):
            list(predict_by_server([zoo.CAT], url))


@contextmanager
def server(answer: bytes) -> Iterator[tuple[str, list[str | None]]]:
    """The address of one that says this to each picture, and the keys that were brought."""
    keys: list[str | None] = []

    class Other(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            keys.append(self.headers["Authorization"])
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Other) as http_server:
        thread = threading.Thread(target=http_server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{http_server.server_port}", keys
        finally:
            http_server.shutdown()
            thread.join()


def test_a_server_that_is_none_of_ours_gives_no_prediction() -> None:
    with server(b"hello") as (url, _):
        (prediction,) = predict_by_server([zoo.CAT], url)
    assert prediction.answer is None
    assert "not as ours do" in (prediction.problem or "")


ANSWER = b'{"label": "cat", "probability": 0.9, "probabilities": {"cat": 0.9, "dog": 0.1}}'


@pytest.mark.parametrize(
    ("options", "environment"),
    [(("--key", "k1"), {}), ((), {"CATSDOGS_KEY": "k1"}), ((), {"CATSDOGS_KEY": "k1\nk2\n"})],
)
def test_a_key_is_brought_to_the_server(options: tuple[str, ...], environment: dict[str, str]) -> None:
    with server(ANSWER) as (url, keys):
        done = CliRunner().invoke(predict, [str(zoo.CAT), "--url", url, "--json", *options], env=environment)
    assert done.exit_code == 0, done.output
    assert keys == ["Bearer k1"]


def test_without_a_key_none_is_brought() -> None:
    with server(ANSWER) as (url, keys):
        assert CliRunner().invoke(predict, [str(zoo.CAT), "--url", url, "--json"]).exit_code == 0
    assert keys == [None]


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "catsdogs", "predict", *arguments]
    return subprocess.run(command, cwd=zoo.ROOT, capture_output=True, text=True, timeout=60)


def test_json_lines_are_all_that_standard_output_holds(archive: Path) -> None:
    done = run(str(zoo.SAMPLES), "--json", "--model", str(archive))
    assert done.returncode == 0
    documents = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(documents) == 16
    assert all(document["label"] in ("cat", "dog") for document in documents)


def test_the_status_tells_of_a_picture_without_a_prediction(archive: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"hello")
    done = run(str(bad), "--json", "--model", str(archive))
    assert done.returncode == 1
    row = json.loads(done.stdout)
    assert "This is text" in row["error"]
    assert row["code"] == "unsupported_image"


def test_the_table_shows_what_a_picture_is_where_its_folder_says_it(archive: Path) -> None:
    done = run(str(zoo.SAMPLES / "dog"), "--model", str(archive))
    assert " is " in done.stdout
    assert "dog" in done.stdout


def test_a_pipe_gets_each_file_name_on_one_line_however_long_it_is(archive: Path, tmp_path: Path) -> None:
    pictures = folder_of(tmp_path, f"{'holidays-' * 10}/cat/{'x' * 80}.jpg")
    (picture,) = find_pictures([pictures])
    done = run(str(pictures), "--model", str(archive))
    assert sum(str(picture) in line for line in done.stdout.splitlines()) == 1


def test_a_name_cannot_send_commands_to_the_terminal(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "a\033[31mred\nline.jpg").write_bytes(zoo.CAT.read_bytes())
    done = run(str(tmp_path), "--model", str(archive))
    assert r"a\x1b[31mred\nline.jpg" in done.stdout
    assert "\033" not in done.stdout


def test_a_terminal_folds_a_file_name_and_cuts_none() -> None:
    picture = Path("holidays", "cat", f"{'0123456789' * 12}.jpg")
    terminal = Console(width=80, force_terminal=True, color_system=None)
    with terminal.capture() as capture:
        terminal.print(prediction_table([Prediction(picture, json.loads(ANSWER), seconds=0.1)]))
    lines = [line for line in capture.get().splitlines() if line.startswith("│")]
    assert "".join(line.split("│")[1].strip() for line in lines) == str(picture)
