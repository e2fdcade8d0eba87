"""Feedback without a server: tokens, the store's bounds, the folder, the rate. With one: tests/e2e/test_feedback.py."""

import asyncio
import errno
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from unittest import mock

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from handler.files import UserError
from handler.problem import Problem
from serving.feedback.entry import Entry, extension
from serving.feedback.folder import FolderPlace
from serving.feedback.place import OutOfSpace, Unavailable
from serving.feedback.rate import Rate
from serving.feedback.settings import FeedbackSettings
from serving.feedback.store import MAX_WAITING, Full, Store, Writer
from serving.feedback.token import Keys, Prediction, decode, encode, read_token, sign
from serving.gateway.relay.body import Body
from serving.gateway.relay.feedback import Feedback
from serving.gateway.relay.log import Log
from serving.gateway.relay.model import Model
from serving.telemetry.feedback import MAX_PAIRS, FeedbackCounts
from serving.telemetry.requests import OTHER
from tests import zoo

DIGEST = sha256(zoo.CAT.read_bytes()).hexdigest()
CLAIM = [DIGEST, "cat", 0.992041, "catsdogs", "0.2.0", "0b" * 32, "int8"]
DAY_S = 86_400.0
NOBODY = 65_534
# 2026-11-29T23:59:59.250Z
NOW = 1_795_996_799.25


def read(token: str, keys: Keys, now: float = NOW) -> Prediction:
    return read_token(token, keys, DAY_S, lambda: now)


def refused(token: str, keys: Keys, now: float = NOW) -> str:
    with pytest.raises(Problem) as caught:
        read(token, keys, now)
    assert caught.value.status == 403
    return caught.value.code


def test_a_token_says_what_was_predicted_and_when() -> None:
    keys = Keys()
    prediction = read(sign(CLAIM, keys, NOW), keys)
    assert (prediction.sha256, prediction.label, prediction.probability) == (DIGEST, "cat", 0.992041)
    assert prediction.model == {"name": "catsdogs", "version": "0.2.0", "sha256": "0b" * 32, "precision": "int8"}
    assert prediction.time == NOW


def test_a_tokens_id_is_the_sha256_of_what_is_signed() -> None:
    keys = Keys()
    token = sign(CLAIM, keys, NOW)
    assert read(token, keys).id == sha256(decode(token.split(".")[1])).hexdigest()[:32]


def test_the_same_prediction_at_the_same_time_has_an_id_of_its_own() -> None:
    keys = Keys()
    assert len({read(sign(CLAIM, keys, NOW), keys).id for _ in range(100)}) == 100


def test_a_token_of_another_server_is_refused() -> None:
    assert refused(sign(CLAIM, Keys(), NOW), Keys()) == "bad_token"


def test_every_change_of_a_token_is_refused() -> None:
    keys = Keys()
    token = sign(CLAIM, keys, NOW)
    for position in range(len(token)):
        other = "B" if token[position] == "A" else "A"
        assert refused(token[:position] + other + token[position + 1 :], keys) == "bad_token", position


@pytest.mark.parametrize(
    "broken", ["", "1", "1..", "1.{}.", "2.e30.e30", "1.e30.e30.e30", "é.e30.e30", "1.\0.\0", "x" * 5000]
)
def test_what_is_no_token_is_refused(broken: str) -> None:
    assert refused(broken, Keys()) == "bad_token"


def test_a_token_has_one_spelling() -> None:
    keys = Keys()
    token = sign(CLAIM, keys, NOW)
    for other in (f"{token}=", f"{token}\n", f" {token}", token.replace(".", ".=", 1)):
        assert refused(other, keys) == "bad_token"


def test_a_label_that_was_exchanged_is_refused() -> None:
    keys = Keys()
    version, payload, mark = sign(CLAIM, keys, NOW).split(".")
    forged = encode(decode(payload).replace(b'"cat"', b'"dog"'))
    assert refused(f"{version}.{forged}.{mark}", keys) == "bad_token"


def test_a_token_ends_after_its_time_and_begins_no_earlier() -> None:
    keys = Keys()
    token = sign(CLAIM, keys, NOW)
    assert read(token, keys, NOW + DAY_S - 1)
    assert refused(token, keys, NOW + DAY_S + 1) == "expired_token"
    assert refused(token, keys, NOW - 3600) == "expired_token"


def test_the_first_key_signs_and_all_of_them_verify(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("old-key-of-twenty-two-letters\n")
    new.write_text("new-key-of-twenty-two-letters\nold-key-of-twenty-two-letters\n")
    by_old, by_new = sign(CLAIM, Keys(old), NOW), sign(CLAIM, Keys(new), NOW)
    assert read(by_old, Keys(new)).sha256 == read(by_new, Keys(new)).sha256 == DIGEST
    assert refused(by_new, Keys(old)) == "bad_token"


def test_keys_that_are_replaced_are_read_again_and_a_file_that_is_gone_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("old-key-of-twenty-two-letters\n")
    keys = Keys(file)
    token = sign(CLAIM, keys, NOW)
    file.unlink()
    assert read(token, keys)
    (tmp_path / "next").write_text("new-key-of-twenty-two-letters\n")
    (tmp_path / "next").replace(file)
    assert refused(token, keys) == "bad_token"


@pytest.mark.parametrize("weak", ["", "x\n", "a line with spaces and no key\n", "\xff\xfe\n"])
def test_a_key_that_could_be_guessed_is_never_taken_from_a_file_that_is_replaced(tmp_path: Path, weak: str) -> None:
    file = tmp_path / "key"
    file.write_text("old-key-of-twenty-two-letters\n")
    keys = Keys(file)
    token = sign(CLAIM, keys, NOW)
    file.write_text(weak, encoding="latin-1")
    assert read(token, keys)
    assert keys.current() == (b"old-key-of-twenty-two-letters",)


def entry(label: str = "dog", picture: bytes | None = None, now: float = NOW, given_at: float = NOW + 1) -> Entry:
    keys = Keys()
    return Entry(read_token(sign(CLAIM, keys, now), keys, DAY_S, lambda: now), label, given_at, picture)


def store(
    path: Path, max_files: int = 100, max_bytes: int = 1 << 20, clock: Callable[[], float] = time.monotonic
) -> Store:
    return Store(FolderPlace(str(path)), max_files, max_bytes, clock)


def stored(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_an_entry_lies_under_the_utc_day_of_its_prediction_and_says_this(tmp_path: Path) -> None:
    given = entry(given_at=NOW + 60)
    store(tmp_path).keep(given)
    ((name, content),) = stored(tmp_path).items()
    assert name == f"2026-11-29/{given.prediction.id}.json"
    assert json.loads(content) == {
        "id": given.prediction.id,
        "predicted_at": "2026-11-29T23:59:59.250Z",
        "given_at": "2026-11-30T00:00:59.250Z",
        "sha256": DIGEST,
        "label": "dog",
        "predicted": "cat",
        "probability": 0.992041,
        "model": {"name": "catsdogs", "version": "0.2.0", "sha256": "0b" * 32, "precision": "int8"},
        "picture": None,
    }


def test_a_picture_lies_beside_its_entry(tmp_path: Path) -> None:
    given = entry(picture=zoo.CAT.read_bytes())
    store(tmp_path).keep(given)
    files = stored(tmp_path / "2026-11-29")
    assert files.keys() == {f"{given.prediction.id}.json", f"{given.prediction.id}.jpg"}
    assert json.loads(files[f"{given.prediction.id}.json"])["picture"] == f"{given.prediction.id}.jpg"
    assert files[f"{given.prediction.id}.jpg"] == zoo.CAT.read_bytes()


def test_a_second_label_replaces_the_first_and_takes_its_picture_away(tmp_path: Path) -> None:
    keeps, first = store(tmp_path), entry(picture=zoo.CAT.read_bytes())
    keeps.keep(first)
    keeps.keep(Entry(first.prediction, "other", NOW + 5))
    ((_, content),) = stored(tmp_path).items()
    assert (json.loads(content)["label"], json.loads(content)["picture"]) == ("other", None)
    assert (keeps.files, keeps.bytes) == (1, len(content))


def test_a_picture_whose_document_cannot_be_written_counts_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeps, write = store(tmp_path), FolderPlace.write

    def pictures_alone(self: FolderPlace, day: str, name: str, data: bytes) -> None:
        if name.endswith(".json"):
            raise Unavailable("it is away")
        write(self, day, name, data)

    monkeypatch.setattr(FolderPlace, "write", pictures_alone)
    with pytest.raises(Unavailable):
        keeps.keep(entry(picture=zoo.CAT.read_bytes()))
    assert (keeps.files, keeps.bytes) == (1, len(zoo.CAT.read_bytes()))


def test_files_are_not_for_other_users(tmp_path: Path) -> None:
    place = tmp_path / "place"
    store(place).keep(entry())
    modes = {path.stat().st_mode & 0o007 for path in (place, *place.rglob("*"))}
    assert modes == {0}


def test_no_more_files_are_stored_than_may_be_and_an_entry_can_still_be_replaced(tmp_path: Path) -> None:
    keeps, first = store(tmp_path, max_files=2), entry()
    keeps.keep(first)
    keeps.keep(entry(now=NOW - 5))
    with pytest.raises(Full):
        keeps.keep(entry(now=NOW - 9))
    keeps.keep(Entry(first.prediction, "cat", NOW + 9))
    assert len(stored(tmp_path)) == 2


def test_no_more_bytes_are_stored_than_may_be(tmp_path: Path) -> None:
    keeps = store(tmp_path, max_bytes=1000)
    with pytest.raises(Full):
        keeps.keep(entry(picture=zoo.CAT.read_bytes()))
    keeps.keep(entry())
    assert sum(map(len, stored(tmp_path).values())) < 1000


def test_what_lies_there_from_before_counts_and_strange_files_do_not(tmp_path: Path) -> None:
    store(tmp_path).keep(entry())
    (tmp_path / "2026-11-29" / "accepted.csv").write_text("x")
    (tmp_path / "reviewed").mkdir()
    (tmp_path / "reviewed" / f"{'0' * 32}.json").write_text("x")
    assert FolderPlace(str(tmp_path)).count(100)[0] == 1
    with pytest.raises(Full):
        store(tmp_path, max_files=1).keep(entry(now=NOW - 5))


def test_half_written_files_of_a_killed_gateway_are_removed_and_new_ones_count(tmp_path: Path) -> None:
    store(tmp_path).keep(entry())
    day = tmp_path / "2026-11-29"
    old, new = (day / f".{'0' * 32}.jpg.{number * 8}.part" for number in "12")
    for path in (old, new, day / "other.part"):
        path.write_bytes(b"x" * 1000)
    for path in (old, day / "other.part"):
        os.utime(path, (time.time() - 700, time.time() - 700))
    document = next(day.glob("*.json")).stat().st_size
    assert FolderPlace(str(tmp_path)).count(100) == (2, document + 1000)
    assert (old.exists(), new.exists(), (day / "other.part").exists()) == (False, True, True)
    with pytest.raises(Full):
        store(tmp_path, max_files=2).keep(entry(now=NOW - 5))


def test_a_gateway_that_is_killed_while_it_writes_leaves_what_the_next_one_counts(tmp_path: Path) -> None:
    code = """
import os, signal, sys
from pathlib import Path
from serving.feedback.folder import FolderPlace

Path.replace = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)
FolderPlace(sys.argv[1]).write("2026-11-29", "0" * 32 + ".jpg", b"x" * 1000)
"""
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=zoo.ROOT)
    assert killed.returncode == -signal.SIGKILL
    assert FolderPlace(str(tmp_path)).count(100) == (1, 1000)
    (left,) = (tmp_path / "2026-11-29").iterdir()
    os.utime(left, (0, 0))
    assert FolderPlace(str(tmp_path)).count(100) == (0, 0)
    assert not left.exists()


def test_what_others_took_away_makes_room_after_a_while(tmp_path: Path) -> None:
    now = [0.0]
    keeps, first = store(tmp_path, max_files=1, clock=lambda: now[0]), entry()
    keeps.keep(first)
    (tmp_path / first.day / first.file).unlink()
    with pytest.raises(Full):
        keeps.keep(entry(now=NOW - 5))
    now[0] = 601.0
    keeps.keep(entry(now=NOW - 5))
    assert len(stored(tmp_path)) == 1


def test_a_full_disk_is_full_and_leaves_no_half_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OutOfSpace):
        FolderPlace(str(tmp_path)).write("2026-11-29", "a.json", b"{}")
    with pytest.raises(Full):
        store(tmp_path).keep(entry())
    assert stored(tmp_path) == {}


def test_two_gateways_may_store_the_same_prediction_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, replace = FolderPlace(str(tmp_path)), Path.replace

    def meanwhile(self: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "replace", replace)
        place.write("2026-11-29", "a.json", b"of the other gateway")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", meanwhile)
    place.write("2026-11-29", "a.json", b"own")
    assert stored(tmp_path) == {"2026-11-29/a.json": b"own"}


def test_files_that_are_taken_away_while_they_are_counted_are_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeps, gone = store(tmp_path), entry()
    keeps.keep(gone)
    keeps.keep(entry(now=NOW - 5))
    place, entries = FolderPlace(str(tmp_path)), FolderPlace._entries

    def listed(self: FolderPlace) -> Iterator["os.DirEntry[str]"]:
        found = list(entries(self))
        (tmp_path / gone.day / gone.file).unlink()
        yield from found

    monkeypatch.setattr(FolderPlace, "_entries", listed)
    assert place.count(100)[0] == 1


def test_a_folder_that_is_a_file_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "place").write_text("")
    with pytest.raises(Unavailable, match="Not a directory"):
        store(tmp_path / "place").keep(entry())


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"\xff\xd8\xff\xe0", "jpg"),
        (b"\n\xff\xd8\xff\xe0", "jpg"),
        (b"\x89PNG\r\n\x1a\n", "png"),
        (b"RIFF0000WEBP", "webp"),
        (b"GIF89a", "gif"),
        (b"II*\0", "tif"),
        (b"MM\0*", "tif"),
        (b"BM", "bmp"),
        (b"?", "bin"),
    ],
)
def test_a_pictures_file_is_named_after_its_format(start: bytes, name: str) -> None:
    assert extension(start + bytes(20)) == name


@dataclass
class HeldPlace(FolderPlace):
    """A folder on a disk that hangs until it is let go."""

    path: Path
    go: threading.Event = field(default_factory=threading.Event)

    def count(self, max_files: int) -> tuple[int, int]:
        self.go.wait(30)
        return super().count(max_files)


def test_a_store_that_hangs_keeps_nobody_waiting_and_holds_one_entry_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.feedback.store.MAX_WAIT_S", 0.05)
    monkeypatch.setattr("serving.feedback.store.PAUSE_S", 0.0)
    place = HeldPlace(tmp_path)
    writer = Writer(Store(place, 100, 1 << 20))
    given = [entry(now=NOW - number) for number in range(MAX_WAITING)]
    (alone,) = {sys.getrefcount(each) for each in given}

    async def main() -> None:
        answers = await asyncio.gather(*map(writer.keep, given), return_exceptions=True)
        assert [type(answer) for answer in answers] == [Unavailable] * MAX_WAITING
        # What was given up is not held by the queue: it may be a picture of 16 MiB.
        assert sum(sys.getrefcount(each) > alone for each in given) <= 1
        for _ in range(5):
            with pytest.raises(Unavailable, match="a moment ago"):
                writer.check()
        place.go.set()
        while writer.waiting:
            await asyncio.sleep(0.01)
        await writer.keep(entry(now=NOW - 99))

    asyncio.run(asyncio.wait_for(main(), 20))
    writer.close()
    # The one that was under way, and the last one.
    assert len(stored(tmp_path)) == 2


def test_a_token_of_another_model_whose_server_has_the_same_keys_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(json.dumps({"name": "birds", "classes": ["cat", "dog"]}))
    feedback = Feedback(FeedbackSettings(str(tmp_path)), Model(tmp_path), Log(stream=io.StringIO()))
    for name, accepted in (("catsdogs", False), ("birds", True)):
        token = sign([*CLAIM[:3], name, *CLAIM[4:]], feedback.keys, time.time())
        body = json.dumps({"token": token, "label": "dog"}).encode()
        if accepted:
            assert feedback._checked(Body([body], len(body)), None).label == "dog"
        else:
            with pytest.raises(Problem, match="another model"):
                feedback._checked(Body([body], len(body)), None)
    feedback.close()


def test_while_the_store_hangs_a_request_is_refused_before_its_picture_is_received(tmp_path: Path) -> None:
    async def main() -> web.Response:
        feedback = Feedback(FeedbackSettings(str(tmp_path), pictures=True), Model(tmp_path), Log(stream=io.StringIO()))
        feedback.writer.hanging = 1
        # Its body never comes.
        never, form = mock.Mock(readany=asyncio.Event().wait), {"Content-Type": "multipart/form-data; boundary=x"}
        answer = await feedback.handle(make_mocked_request("POST", "/feedback", form, payload=never))
        feedback.close()
        return answer

    answer = asyncio.run(asyncio.wait_for(main(), 20))
    assert isinstance(answer.body, bytes)
    assert (answer.status, json.loads(answer.body)["code"]) == (503, "feedback_unavailable")


def test_after_a_failure_the_place_is_left_alone_for_a_while(tmp_path: Path) -> None:
    (tmp_path / "place").write_text("")
    writer = Writer(store(tmp_path / "place"))

    async def main() -> list[str]:
        reasons = []
        for _ in range(2):
            with pytest.raises(Unavailable) as caught:
                await writer.keep(entry())
            reasons.append(str(caught.value))
        return reasons

    assert asyncio.run(main()) == ["Not a directory", "the place did not answer a moment ago"]
    writer.close()


def test_the_rate_lets_a_burst_pass_and_then_says_how_long_to_wait() -> None:
    now = [0.0]
    rate = Rate(0.5, clock=lambda: now[0])
    assert [rate.take(), rate.take()] == [0, 2]
    now[0] = 2.0
    assert [rate.take(), rate.take()] == [0, 2]
    assert sum(Rate(10, clock=lambda: 0.0).take() == 0 for _ in range(1)) == 1
    fast = Rate(10, clock=lambda: 0.0)
    assert [fast.take() for _ in range(21)] == [0] * 20 + [1]


def test_a_model_of_many_classes_makes_a_bounded_number_of_series() -> None:
    counts = FeedbackCounts()
    for number in range(3 * MAX_PAIRS):
        counts.count_given(f"class {number}", "other")
    counts.count_refused("made up by a client")
    assert len(counts.given) == MAX_PAIRS + 1
    assert sum(counts.given.values()) == 3 * MAX_PAIRS
    assert counts.refused[OTHER] == 1
    given, _ = counts.families([f"class {number}" for number in range(1000)])
    assert len(given.samples) == MAX_PAIRS + 1


def test_a_model_of_few_classes_has_all_its_series_from_the_start() -> None:
    given, refusals = FeedbackCounts().families(["cat", "dog"])
    assert {(s.labels["predicted"], s.labels["given"]) for s in given.samples} == {
        (predicted, label) for predicted in ("cat", "dog") for label in ("cat", "dog", "other")
    }
    assert all(sample.value == 0 for family in (given, refusals) for sample in family.samples)


@pytest.mark.parametrize(
    ("place", "sentence"),
    [("https://example.org", "name a folder, or s3://BUCKET/PREFIX"), ("s3://", "it must have the form s3://BUCKET")],
)
def test_a_place_that_is_none_is_refused_at_the_start(place: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        FeedbackSettings(place).check()


def test_a_folder_is_made_and_one_that_cannot_be_is_refused(tmp_path: Path) -> None:
    FeedbackSettings(str(tmp_path / "a" / "b")).check()
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"Feedback cannot be stored in .*file"):
        FeedbackSettings(str(tmp_path / "file")).check()


def test_the_gateway_is_started_with_the_same_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from serving.cli.gateway import gateway

    monkeypatch.chdir(tmp_path)
    (tmp_path / "key").write_text("a-key-of-twenty-two-letters")
    settings = FeedbackSettings("place", Path("key"), True, 1.5, 0.5, 7, 9, "http://127.0.0.1:9000")
    read = gateway.make_context("gateway", settings.options()).params
    assert {name: read[name] for name in read if "feedback" in name or name == "place"} == {
        "place": str(tmp_path / "place"),
        "feedback_key": tmp_path / "key",
        "feedback_pictures": True,
        "feedback_endpoint_url": "http://127.0.0.1:9000",
        "max_feedback_age": 1.5,
        "max_feedback_rate": 0.5,
        "max_feedback_files": 7,
        "max_feedback_mib": 9,
    }
    assert type(settings.open_place()) is FolderPlace


def test_bounds_without_a_place_are_a_mistake(tmp_path: Path) -> None:
    from serving.cli.gateway import gateway

    with pytest.raises(UserError, match="Feedback is off: also give --feedback"):
        gateway.main(["--run", str(tmp_path), "--max-feedback-files=5"], standalone_mode=False)


@contextmanager
def unprivileged() -> Iterator[None]:
    """Ask as a user who may not write everywhere: permissions are checked for the real user id."""
    uid = os.getuid()
    if uid == 0:
        os.setreuid(NOBODY, 0)
    try:
        yield
    finally:
        os.setreuid(uid, os.geteuid())


def test_a_folder_that_cannot_be_written_to_is_refused_by_serve(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with unprivileged(), pytest.raises(UserError, match="Permission denied"):
        FeedbackSettings(str(tmp_path)).check_writable()
