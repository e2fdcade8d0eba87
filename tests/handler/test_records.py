"""Records of predictions: what they hold, and that they are bounded."""

import json
import os
from pathlib import Path

import pytest

from handler import records as recording
from handler.catsdogs_handler import CatsDogsHandler
from handler.components import PREFIX
from handler.records import BURST, VARIABLE, Records, files_of
from tests import zoo
from tests.handler.test_catsdogs_handler import REST, Context

MODEL = {"name": "catsdogs", "version": "1", "sha256": "0"}


def lines(folder: Path) -> list[str]:
    return [line for path in files_of(folder) for line in path.read_text().splitlines()]


def handled(unpacked: Path) -> CatsDogsHandler:
    made = CatsDogsHandler()
    made.initialize(Context(unpacked, []))
    made.handle([{"body": zoo.CAT.read_bytes()}], Context(unpacked, [REST]))
    made.handle([{"body": zoo.CAT.read_bytes()}], Context(unpacked, [{**REST, "x-catsdogs-probe": "1"}]))
    made.counting.snapshot()
    return made


def test_a_users_prediction_is_recorded_without_pixels(
    unpacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "records"))
    made = handled(unpacked)
    (line,) = lines(tmp_path / "records")  # the probe is not a user's
    record = json.loads(line)
    assert record["label"] == "cat"
    assert record["probability"] == pytest.approx(1 - record["features"]["uncertainty"], abs=1e-5)
    assert {name for name in record["features"] if not name.startswith(PREFIX)} == set(made.counting.edges)
    assert record["model"]["sha256"] == made.predictor.release.weights_sha256
    assert set(record) - {"components"} == {"time", "label", "probability", "features", "model"}


def test_without_the_variable_nothing_is_recorded(unpacked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert handled(unpacked).counting.records is None


def test_records_are_thinned(tmp_path: Path) -> None:
    records = Records(tmp_path, MODEL)
    assert BURST <= sum(records.takes() for _ in range(1000)) <= BURST + 2


def test_a_picture_that_is_not_due_is_counted_and_not_recorded(
    unpacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "records"))
    monkeypatch.setattr(Records, "takes", lambda records: False)
    assert handled(unpacked).counting.counts.predictions["user"] == {"cat": 1}
    assert not lines(tmp_path / "records")


def test_neither_a_probe_nor_a_row_that_failed_takes_the_place_of_a_record(
    unpacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "records"))
    asked: list[Records] = []

    def takes(records: Records) -> bool:
        asked.append(records)
        return True

    monkeypatch.setattr(Records, "takes", takes)
    made = CatsDogsHandler()
    made.initialize(Context(unpacked, []))
    bodies = [zoo.CAT.read_bytes(), b"no picture", zoo.DOG.read_bytes()]
    headers = [{**REST, "x-catsdogs-probe": "1"}, REST, REST]
    made.handle([{"body": body} for body in bodies], Context(unpacked, headers))
    made.counting.snapshot()
    assert len(asked) == 1
    assert [json.loads(line)["label"] for line in lines(tmp_path / "records")] == ["dog"]


def test_the_folder_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "MAX_FILE_BYTES", 1000)
    monkeypatch.setattr(recording, "MAX_FOLDER_BYTES", 20_000)
    for worker in range(20):
        records = Records(tmp_path, MODEL)
        records.path = tmp_path / f"records-{worker}.jsonl"
        for _ in range(20):
            records.add("cat", 0.9, {"brightness": 0.5})
        records.flush()
        os.utime(tmp_path / f"records-{worker}.jsonl.1", (worker, worker))
    names = [path.name for path in files_of(tmp_path)]
    assert names[-1] == "records-19.jsonl.1"
    assert len(names) < 20
    assert sum(path.stat().st_size for path in files_of(tmp_path)) <= 20_000


def test_a_folder_that_cannot_be_written_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    records = Records(tmp_path / "file" / "records", MODEL)
    for _ in range(2):
        records.add("cat", 0.9, {"brightness": 0.5})
        records.flush()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert not records.waiting


def test_workers_of_several_hosts_may_share_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In pods, whose processes have the same numbers."""
    for host in ("catsdogs-1", "catsdogs-2"):
        monkeypatch.setattr(os, "uname", lambda host=host: os.uname_result(("Linux", host, "", "", "")))
        records = Records(tmp_path, MODEL)
        records.add("cat", 0.9, {"brightness": 0.5})
        records.flush()
    assert sorted(path.name for path in files_of(tmp_path)) == [
        f"records-catsdogs-{number}-{os.getpid()}.jsonl" for number in (1, 2)
    ]
