import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from handler.files import UserError
from serving.predict import find_pictures, predict_by_server, predict_offline
from tests import zoo


def test_folders_are_searched_and_files_are_taken_as_named(tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("no picture")
    found = find_pictures([zoo.SAMPLES / "cat", notes])
    assert found[-1] == notes
    assert len(found) == 9
    assert found[:-1] == sorted(found[:-1])


def test_a_path_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no file"):
        find_pictures([tmp_path / "none.jpg"])
    with pytest.raises(UserError, match="holds no pictures"):
        find_pictures([tmp_path])


def test_a_bad_picture_gets_its_problem_and_the_others_their_answers(archive: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"hello")
    verdicts = list(predict_offline([zoo.CAT, bad, zoo.DOG], archive))
    assert [verdict.path for verdict in verdicts] == [zoo.CAT, bad, zoo.DOG]
    assert [verdict.answer is None for verdict in verdicts] == [False, True, False]
    assert "not a picture" in (verdicts[1].problem or "")


def test_a_server_that_is_not_there_is_one_sentence() -> None:
    for url in ("http://127.0.0.1:1", "127.0.0.1", "http://[broken"):
        with pytest.raises(UserError, match="cannot be reached"):
            list(predict_by_server([zoo.CAT], url))


def test_a_server_that_is_none_of_ours_gives_no_verdict() -> None:
    class Other(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Other) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        (verdict,) = predict_by_server([zoo.CAT], f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
        thread.join()
    assert verdict.answer is None
    assert "not as ours do" in (verdict.problem or "")


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "catsdogs", "predict", *arguments]
    return subprocess.run(command, cwd=zoo.ROOT, capture_output=True, text=True, timeout=60)


def test_json_lines_are_all_that_standard_output_holds(archive: Path) -> None:
    done = run(str(zoo.SAMPLES), "--json", "--model", str(archive))
    assert done.returncode == 0
    documents = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(documents) == 16
    assert all(document["label"] in ("cat", "dog") for document in documents)


def test_the_status_tells_of_a_picture_without_a_verdict(archive: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"hello")
    done = run(str(bad), "--json", "--model", str(archive))
    assert done.returncode == 1
    assert "not a picture" in json.loads(done.stdout)["error"]


def test_the_table_shows_what_a_picture_is_where_its_folder_says_it(archive: Path) -> None:
    done = run(str(zoo.SAMPLES / "dog"), "--model", str(archive))
    assert " is " in done.stdout
    assert "dog" in done.stdout
