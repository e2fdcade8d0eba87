"""Feedback in a bucket: moto stands in for S3 and checks signatures. Against AWS itself this was not run."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import click.testing
import pytest

from common import review_csv
from handler.files import UserError
from monitoring.feedback.open_place import open_place
from monitoring.feedback.place import Unreadable
from tests.aws import Aws, reader, serve_aws
from tests.feedback.support import DAY, cat_and_dog, give, id_of, sha256
from tests.serving import web as webs
from tests.zoo import CAT, DOG

Call = Callable[..., click.testing.Result]
PLACE = "s3://store/from users/é"


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    """A bucket with two records under a prefix, and others beside it."""
    folder = cat_and_dog(tmp_path_factory.mktemp("feedback"))
    give(folder, 3, b"GIF89a").write_text("{")
    with serve_aws() as made:
        made.put("/store")
        for path in sorted(folder.rglob("*.*")):
            made.put(f"/store/from users/é/{path.relative_to(folder)}", path.read_bytes())
            made.put(f"/store/from users/éclair/{path.relative_to(folder)}", path.read_bytes())
        yield made


@pytest.fixture(autouse=True)
def user(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    webs.forget_environment(monkeypatch)
    with reader(aws) as (access, secret):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", access)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", aws.url)
        yield


def test_records_and_pictures_come_from_the_bucket(tmp_path: Path, call: Call) -> None:
    done = call("review", PLACE, "--out", tmp_path)
    assert done.exit_code == 0, done.output
    assert done.stderr == f"{DAY}/{id_of(3)}.json is left out: it is not JSON.\n"
    rows = [row for _, row in review_csv.parse((tmp_path / "review.csv").read_bytes())]
    assert [row.id for row in rows] == [id_of(1), id_of(2)]
    assert [row.picture for row in rows] == [f"pictures/{sha256(some.read_bytes())}.jpg" for some in (CAT, DOG)]
    assert [(tmp_path / row.picture).read_bytes() for row in rows] == [CAT.read_bytes(), DOG.read_bytes()]


def test_a_long_list_comes_in_several_answers(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.fetch.s3_list.PAGE", 1)
    with open_place(PLACE, aws.url) as place:
        assert [entry.id for entry in place.entries()] == [id_of(number) for number in (1, 2, 3)]


def test_a_picture_that_was_fetched_is_not_fetched_again(tmp_path: Path, call: Call) -> None:
    call("review", PLACE, "--out", tmp_path)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "pictures").iterdir()}
    assert len(before) == 2
    call("review", PLACE, "--out", tmp_path)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "pictures").iterdir()} == before


def test_an_object_that_is_missing_or_too_large_is_not_read(aws: Aws) -> None:
    with open_place(PLACE, aws.url) as place:
        with pytest.raises(Unreadable, match="there is no such object"):
            place.read(DAY, "none.jpg", 100)
        with pytest.raises(Unreadable, match="it has more than 100 bytes"):
            place.read(DAY, f"{id_of(1)}.jpg", 100)
        assert place.read(DAY, f"{id_of(1)}.jpg", 1 << 20) == CAT.read_bytes()


def test_a_wrong_secret_is_one_sentence(tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(UserError, match=r"cannot be listed: the server answers 403 SignatureDoesNotMatch\.$"):
        call("review", PLACE, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_bucket_that_is_not_there_is_one_sentence(tmp_path: Path, call: Call) -> None:
    with pytest.raises(UserError, match=r"s3://nowhere at .* cannot be listed: the server answers 404 NoSuchBucket\.$"):
        call("review", "s3://nowhere", "--out", tmp_path)


def test_the_accuracy_is_measured_of_a_bucket_too(call: Call) -> None:
    done = call("accuracy", PLACE)
    assert done.exit_code == 0, done.output
    assert "2 of 2 records are counted." in done.stdout


class Unwell(BaseHTTPRequestHandler):
    """A server that answers 503 to the first two requests."""

    requests: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.requests.append(self.path)
        body = b"<ListBucketResult></ListBucketResult>"
        self.send_response(503 if len(self.requests) < 3 else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def test_a_server_that_is_unwell_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitoring.feedback.bucket_place.WAIT_S", 0.01)
    monkeypatch.setattr(Unwell, "requests", [])
    with HTTPServer(("127.0.0.1", 0), Unwell) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        with open_place("s3://store/x", f"http://127.0.0.1:{server.server_port}") as place:
            assert list(place.entries()) == []
        server.shutdown()
        thread.join()
    assert len(Unwell.requests) == 3
