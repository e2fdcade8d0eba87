"""Rows as files: JSON lines, or Parquet where pyarrow is installed."""

import io
import json
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from handler.files import UserError

Row = dict[str, Any]
JSONL, PARQUET = "jsonl", "parquet"


class Format(Protocol):
    """A kind of file that holds rows."""

    def write(self, rows: Sequence[Row]) -> bytes: ...

    def read(self, data: bytes) -> Iterator[Row]: ...


def find_format(kind: str) -> Format:
    """Return a format by its name.

    Raises:
        UserError: what it needs is not installed.
    """
    return JsonLines() if kind == JSONL else Parquet()


class JsonLines:
    """One JSON document per line."""

    def write(self, rows: Sequence[Row]) -> bytes:
        return "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows).encode()

    def read(self, data: bytes) -> Iterator[Row]:
        yield from map(json.loads, io.BytesIO(data))


class Parquet:
    """Columns of a table. A picture without a prediction has null in all columns but path, error and code."""

    def __init__(self) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise UserError(
                "Parquet needs pyarrow, which is not installed: pip install 'pyarrow>=21', or take --format jsonl."
            ) from error
        self.pa, self.parquet = pyarrow, pyarrow.parquet
        text = pyarrow.string()
        self.schema = pyarrow.schema(
            [
                ("path", text),
                ("label", text),
                ("probability", pyarrow.float64()),
                ("probabilities", pyarrow.map_(text, pyarrow.float64())),
                *((f"model_{fact}", text) for fact in ("name", "version", "precision", "sha256")),
                ("error", text),
                ("code", text),
            ]
        )

    def write(self, rows: Sequence[Row]) -> bytes:
        buffer = io.BytesIO()
        self.parquet.write_table(self.table(rows), buffer, compression="zstd")
        return buffer.getvalue()

    def table(self, rows: Sequence[Row]) -> Any:
        """Return rows as a table."""
        return self.pa.Table.from_pylist([self._flat(row) for row in rows], schema=self.schema)

    def _flat(self, row: Row) -> Row:
        model = row.get("model", {})
        probabilities = row.get("probabilities")
        return {
            **row,
            # Names of files may be bytes that are no text.
            "path": row["path"].encode(errors="backslashreplace").decode(),
            "probabilities": None if probabilities is None else list(probabilities.items()),
            **{f"model_{fact}": value for fact, value in model.items()},
        }

    def read(self, data: bytes) -> Iterator[Row]:
        for batch in self.parquet.ParquetFile(io.BytesIO(data)).iter_batches():
            yield from map(_nested, batch.to_pylist())


def _nested(row: Row) -> Row:
    """Return a row of a table as JSON lines have it."""
    if row["error"] is not None:
        return {name: row[name] for name in ("path", "error", "code")}
    model = {name.removeprefix("model_"): value for name, value in row.items() if name.startswith("model_")}
    answer = {name: row[name] for name in ("path", "label", "probability")}
    return {**answer, "probabilities": dict(row["probabilities"]), "model": model}
