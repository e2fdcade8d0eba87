"""A worker that ends costs the picture that ended it a prediction, and no other."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from handler.files import UserError
from serving.bulk import pool as pools
from serving.bulk.pool import Pool
from serving.bulk.sources import Folder
from serving.bulk.worker import Item, Result, Settings
from tests.serving import bulk_worker


def classify(
    monkeypatch: pytest.MonkeyPatch, names: list[list[str]], run: Callable[..., None] = bulk_worker.run
) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows of batches, in order, and what was said."""
    monkeypatch.setattr(pools, "run", run)
    folder = Path("photos")
    results: dict[int, Result] = {}
    said: list[str] = []
    settings = Settings(folder, [], None, os.getpid())
    with Pool(2, settings, [Folder(folder)], said.append) as pool:
        for number, batch in enumerate(names):
            items = [Item(0, name) for name in batch]
            pool.submit(items, lambda result, number=number: results.__setitem__(number, result))  # type: ignore[misc]
        pool.finish()
    return [row for number in range(len(names)) for row in results[number].rows], said


def test_every_batch_is_answered_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [[f"{batch}-{number}" for number in range(3)] for batch in range(9)]
    rows, said = classify(monkeypatch, names)
    assert [row["path"] for row in rows] == [name for batch in names for name in batch]
    assert said == []


def test_the_picture_that_ends_its_worker_gets_an_error_and_its_neighbours_their_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = [["a", "b"], ["c", "poison.jpg", "d"], ["e"], ["f"], ["g"]]
    rows, said = classify(monkeypatch, names)
    labelled = {row["path"]: row.get("label") for row in rows}
    assert labelled == {**dict.fromkeys("abcdefg", "cat"), "photos/poison.jpg": None}
    (row,) = (row for row in rows if "error" in row)
    assert row["code"] == "internal"
    assert "A worker ended on this picture (signal 9)" in row["error"]
    assert said == ["A worker ended (signal 9): its pictures are classified one by one."]


def test_workers_that_cannot_start_end_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"before they have loaded the model \(signal 9\)"):
        classify(monkeypatch, [["a"]], bulk_worker.never_ready)
