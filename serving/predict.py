"""Pictures -> verdicts, by the packed model in this process or by a server."""

import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from ssl import SSLContext
from typing import Any

import httpx
import numpy as np

from handler.files import UserError
from handler.predictor import Predictor
from handler.preprocess import MAX_BYTES, Pixels
from handler.problem import Problem
from serving.archive import unpack

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp"}
BATCH = 8
# Enough to keep every worker of a small server busy; a server that has more is asked by a load test, not by this.
CONNECTIONS = 4


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to one picture, or what was wrong with it. `seconds` is None where pictures were answered together."""

    path: Path
    answer: dict[str, Any] | None
    problem: str | None = None
    seconds: float | None = None

    def as_json(self) -> dict[str, Any]:
        return {"path": str(self.path), **(self.answer or {"error": self.problem})}


def find_pictures(paths: Sequence[Path]) -> list[Path]:
    """The files that are named, and the pictures in the folders that are named, sorted."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
            if not inside:
                raise UserError(f"{path} holds no pictures ({', '.join(sorted(SUFFIXES))}).")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise UserError(f"There is no file {path}.")
    return found


def predict_offline(paths: Sequence[Path], archive: Path) -> Iterator[Verdict]:
    """Answers with the model inside a .mar, in batches."""
    with tempfile.TemporaryDirectory(prefix="catsdogs-predict-") as folder:
        unpack(archive, Path(folder))
        predictor = Predictor(Path(folder))
        for start in range(0, len(paths), BATCH):
            yield from _answer_batch(predictor, paths[start : start + BATCH])


def _answer_batch(predictor: Predictor, batch: Sequence[Path]) -> list[Verdict]:
    pixels: dict[Path, Pixels] = {}
    problems: dict[Path, str] = {}
    for path in batch:
        try:
            pixels[path] = predictor.decode(path.read_bytes())
        except Problem as problem:
            problems[path] = problem.detail
        except OSError as error:
            problems[path] = f"Cannot be read: {error.strerror}."
    answers = dict(zip(pixels, predictor.answers(np.stack(list(pixels.values()))), strict=True)) if pixels else {}
    return [Verdict(path, answers.get(path), problems.get(path)) for path in batch]


def predict_by_server(paths: Sequence[Path], url: str, trust: SSLContext | None = None) -> Iterator[Verdict]:
    """Posts each picture to a server, a few at a time; answers come in the order of `paths`.

    Args:
        url: of the server, for the model that it serves, or of a model's predictions.
        trust: whom to believe over https; None believes those that the package certifi lists.

    Raises:
        UserError: the server cannot be reached.
    """
    endpoint = url if "/predictions/" in url else f"{url.rstrip('/')}/predictions"
    limits = httpx.Limits(max_connections=CONNECTIONS)
    with (
        httpx.Client(timeout=60, limits=limits, trust_env=False, verify=trust or True) as client,
        ThreadPoolExecutor(CONNECTIONS) as pool,
    ):
        try:
            yield from pool.map(lambda path: _post(client, endpoint, path), paths)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            pool.shutdown(cancel_futures=True)
            raise UserError(f"The server at {url} cannot be reached: {error}") from error


def _post(client: httpx.Client, endpoint: str, path: Path) -> Verdict:
    try:
        data = path.read_bytes()
    except OSError as error:
        return Verdict(path, None, f"Cannot be read: {error.strerror}.")
    if len(data) > MAX_BYTES:
        # The server would cut the upload off, which some clients see as a broken connection.
        return Verdict(path, None, f"The picture has {len(data)} bytes; the limit is {MAX_BYTES}.")
    started = time.perf_counter()
    response = client.post(endpoint, content=data, headers={"Content-Type": "application/octet-stream"})
    seconds = time.perf_counter() - started
    try:
        document = response.json()
        if response.status_code == 200:
            return Verdict(path, {"label": document["label"], **document}, seconds=seconds)
        detail = document["detail"]
    except (ValueError, KeyError, TypeError):
        detail = f"The server answered {response.status_code}, but not as ours do."
    return Verdict(path, None, detail, seconds)
