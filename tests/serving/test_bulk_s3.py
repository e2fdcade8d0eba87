"""Pictures in a bucket, and parts in one: moto stands in for S3. Against AWS itself none of this was run."""

import gzip
import io
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

import catsdogs
from common.download.failures import Again
from serving.bulk.places import open_place
from serving.bulk.sources import open_source
from serving.bulk.tar import Tar
from serving.client.predict import predict_offline
from serving.fetch import s3_store
from serving.fetch.s3_store import Exists, Missing, Store, TooLarge
from tests import zoo
from tests.aws import Aws, reader, serve_aws
from tests.serving import web as webs
from tests.serving.bulk import Rows, run, tar_of


@pytest.fixture(scope="module")
def aws() -> Iterator[Aws]:
    with serve_aws() as made:
        made.put("/bucket")
        yield made


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    webs.forget_environment(monkeypatch)


@pytest.fixture
def keys(aws: Aws, tmp_path: Path) -> Iterator[Path]:
    """A folder with the keys of one who may read and write, as a Secret is mounted."""
    with reader(aws) as (access, secret):
        (tmp_path / "keys").mkdir()
        (tmp_path / "keys" / "AWS_ACCESS_KEY_ID").write_text(access)
        (tmp_path / "keys" / "AWS_SECRET_ACCESS_KEY").write_text(secret)
        yield tmp_path / "keys"


def test_a_bucket_is_read_and_written_by_two_shards(
    aws: Aws, archive: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    files = {f"photos/{path.parent.name}/{path.name}": path.read_bytes() for path in sorted(zoo.SAMPLES.rglob("*.jpg"))}
    for key, data in list(files.items())[:10]:
        aws.put(f"/bucket/{key}", data)
    members = {key.replace("/", "-"): data for key, data in list(files.items())[10:]}
    aws.put("/bucket/photos/set 1.tar", tar_of(members))
    aws.put("/bucket/photos/notes.txt", b"no picture" * 1000)
    aws.put("/bucket/photos-of-others/a.jpg", zoo.CAT.read_bytes())
    keys = request.getfixturevalue("keys")
    for index in range(2):
        options = ("s3://bucket/photos", "--out=s3://bucket/out", f"--shard={index}/2", "--workers=1")
        said = run(*options, "--endpoint-url", aws.url, CATSDOGS_FETCH_CREDENTIALS=str(keys))
        assert f"Shard {index}/2 is complete" in said
    done = CliRunner(env={"CATSDOGS_FETCH_CREDENTIALS": str(keys)}).invoke(
        catsdogs.cli,
        ["merge", "s3://bucket/out", "--endpoint-url", aws.url, "--out", str(tmp_path / "all.jsonl")],
    )
    assert done.exit_code == 0, done.output
    rows: Rows = {}
    for line in (tmp_path / "all.jsonl").read_text().splitlines():
        row = json.loads(line)
        rows[row.pop("path")] = row
    paths = [f"s3://bucket/{key}" for key in list(files)[:10]] + [
        f"s3://bucket/photos/set 1.tar/{name}" for name in members
    ]
    offline = predict_offline(sorted(zoo.SAMPLES.rglob("*.jpg")), archive)
    assert rows == {path: prediction.answer for path, prediction in zip(paths, offline, strict=True)}


def test_a_store_says_what_is_missing_too_large_or_there(aws: Aws, keys: Path) -> None:
    with closing(Store("bucket", aws.url, {"CATSDOGS_FETCH_CREDENTIALS": str(keys)})) as store:
        store.write("a/b c+é.bin", b"x" * 100)
        assert store.read("a/b c+é.bin", 100) == b"x" * 100
        with pytest.raises(TooLarge, match="100 bytes"):
            store.read("a/b c+é.bin", 99)
        with pytest.raises(Missing):
            store.read("a/none", 100)
        with pytest.raises(Exists):
            store.write("a/b c+é.bin", b"y", new=True)
        assert store.read("a/b c+é.bin", 100) == b"x" * 100
        assert store.read("a/b c+é.bin", 100, lambda head: head.startswith(b"y")) is None
        store.remove("a/b c+é.bin")
        assert list(store.list("a/")) == []


def test_of_two_plans_the_first_is_kept(aws: Aws, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATSDOGS_FETCH_CREDENTIALS", str(keys))
    for address in ("s3://bucket/plans", str(tmp_path / "plans")):
        with closing(open_place(address, aws.url)) as place:
            place.create("_plan", b"first")
            place.create("_plan", b"second")
            assert place.read("_plan") == b"first"
            assert list(place.names()) == ["_plan"]


def test_a_list_of_many_pages_has_each_object(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.fetch.s3_list.PAGE", 3)
    for number in range(8):
        aws.put(f"/bucket/pages/{number}.jpg", b"x")
    aws.put("/bucket/pages/.hidden/1.jpg", b"x")
    with closing(open_source("s3://bucket/pages/", aws.url)) as source:
        assert [listed.name for listed in source.entries()] == [f"pages/{number}.jpg" for number in range(8)]


def test_a_bucket_that_does_not_answer_is_no_users_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_store, "WAIT_S", 0.001)
    done = CliRunner().invoke(
        catsdogs.cli, ["predict", "s3://bucket/x", "--out", str(tmp_path), "--endpoint-url", "http://127.0.0.1:1"]
    )
    assert done.exit_code == 13, done.output
    assert "s3://bucket/x cannot be listed: " in done.output
    assert "To resume, give the same command again." in done.output


def test_a_bucket_that_refuses_is_told_with_the_reason(
    aws: Aws, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (keys / "AWS_SECRET_ACCESS_KEY").write_text("wrong")
    monkeypatch.setenv("CATSDOGS_FETCH_CREDENTIALS", str(keys))
    done = CliRunner().invoke(
        catsdogs.cli, ["predict", "s3://bucket/x", "--out", str(tmp_path), "--endpoint-url", aws.url]
    )
    assert str(done.exception) == ("s3://bucket/x cannot be listed: the server answers 403 SignatureDoesNotMatch."), (
        done.output
    )


TAR = tar_of({f"{number}.bin": os.urandom(50_000) for number in range(8)})


class Breaking(BaseHTTPRequestHandler):
    """Sends a third of what is asked for, and breaks off; by `etag` it says whether the object is still the same."""

    protocol_version = "HTTP/1.1"
    etags: Iterator[str] = iter(())

    def do_GET(self) -> None:
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        etag = next(self.etags)
        if self.headers.get("If-Match", etag) != etag:
            self.send_response(412)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        rest = TAR[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.send_header("ETag", etag)
        self.end_headers()
        self.wfile.write(rest[: max(len(rest) // 3, 50_000)])
        self.close_connection = True

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def breaking(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(s3_store, "WAIT_S", 0.001)
    with HTTPServer(("127.0.0.1", 0), Breaking) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_tar_goes_on_where_its_connection_broke(breaking: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Breaking, "etags", iter(['"a"'] * 100))
    with closing(Store("bucket", breaking)) as store, closing(store.open("set.tar")) as stream:
        read = {member.name: member.read(member.size) for member in Tar(stream).members()}
        assert stream.breaks > 1
    assert read == {member.name: member.read(member.size) for member in Tar(io.BytesIO(TAR)).members()}


def test_a_tar_that_is_another_one_after_the_break_is_refused(breaking: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Breaking, "etags", iter(['"a"', *['"b"'] * 100]))
    with closing(Store("bucket", breaking)) as store, closing(store.open("set.tar")) as stream:
        members = Tar(stream).members()
        with pytest.raises(Exists, match="was changed meanwhile"):
            [member.read(member.size) for member in members]


def test_the_time_for_one_object_is_bounded(breaking: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Breaking, "etags", iter(['"a"'] * 100))
    monkeypatch.setattr(s3_store, "REQUEST_S", -1.0)
    started = time.monotonic()
    with closing(Store("bucket", breaking)) as store, pytest.raises(Again, match="takes longer"):
        store.read("set.tar", 1 << 30)
    assert time.monotonic() - started < 20


def test_a_plan_is_small(aws: Aws) -> None:
    """A million names are some megabytes, compressed; they go to the bucket as one object."""
    lines = "".join(f'[0,"photos/2026/{number:08d}.jpg"]\n' for number in range(100_000))
    assert len(gzip.compress(lines.encode(), 4)) < 1_000_000
