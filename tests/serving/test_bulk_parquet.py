"""Parquet has the rows of the JSON lines."""

import sys
from pathlib import Path

import pyarrow.parquet as parquet
import pytest

from handler.files import UserError
from serving.bulk.formats import PARQUET, Parquet, Row, find_format
from serving.bulk.merge import write_rows
from tests import zoo
from tests.serving.bulk import run

MODEL = {"name": "catsdogs", "version": "1", "precision": "int8", "sha256": "0" * 64}
ROWS: list[Row] = [
    {
        "path": "a/é.jpg",
        "label": "cat",
        "probability": 0.9,
        "probabilities": {"cat": 0.9, "dog": 0.1},
        "model": MODEL,
    },
    {"path": "a/b.jpg", "error": "It is broken.", "code": "corrupt_image"},
]


def test_rows_come_back_as_they_were() -> None:
    made = find_format(PARQUET)
    assert list(made.read(made.write(ROWS))) == ROWS
    assert list(made.read(made.write([]))) == []


def test_another_reader_finds_columns_with_nulls(tmp_path: Path) -> None:
    assert write_rows(iter(ROWS * 3), tmp_path / "all.parquet") == 6
    table = parquet.read_table(tmp_path / "all.parquet").to_pydict()
    assert table["path"] == ["a/é.jpg", "a/b.jpg"] * 3
    assert table["label"] == ["cat", None] * 3
    assert table["probability"] == [0.9, None] * 3
    assert table["model_precision"] == ["int8", None] * 3
    assert table["code"] == [None, "corrupt_image"] * 3


def test_a_name_that_is_no_text_is_written_all_the_same() -> None:
    made = Parquet()
    (row,) = made.read(made.write([{"path": "\udcff.jpg", "error": "x", "code": "x"}]))
    assert row["path"] == "\\udcff.jpg"


def test_parts_are_written_in_it(tmp_path: Path) -> None:
    run(zoo.CAT, zoo.DOG, "--out", tmp_path, "--format=parquet", "--part-size=1", "--workers=1")
    table = parquet.read_table(sorted(tmp_path.glob("part-*.parquet"))).to_pydict()
    assert table["path"] == [str(zoo.CAT), str(zoo.DOG)]
    assert table["label"] == ["cat", "dog"]


def test_without_pyarrow_it_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match="Parquet needs pyarrow, which is not installed: pip install"):
        find_format(PARQUET)
