"""Predictions of pictures, by the packed model in this process or by a server."""

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
from handler.preprocess import Pixels
from handler.problem import Problem
from handler.runtimes.choice import from_environment
from serving.client.pictures import EMPTY, read_picture
from serving.server.archive import unpack

BATCH = 8
# Enough to keep every worker of a small server busy; a server that has more is asked by a load test, not by this.
CONNECTIONS = 4


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer to one picture, or what was wrong with it. `seconds` is None where pictures were answered together."""

    path: Path
    answer: dict[str, Any] | None
    problem: str | None = None
    seconds: float | None = None
    code: str | None = None
    """Stable name of the problem, where it has one."""

    @property
    def right(self) -> bool:
        """Is the label the name of the picture's folder?"""
        return self.answer is not None and bool(self.answer["label"].lower() == self.path.parent.name.lower())

    def as_json(self) -> dict[str, Any]:
        code = {} if self.code is None else {"code": self.code}
        return {"path": str(self.path), **(self.answer or {"error": self.problem, **code})}


def predict_offline(paths: Sequence[Path], archive: Path) -> Iterator[Prediction]:
    """Answer with the model inside a .mar, in batches."""
    with tempfile.TemporaryDirectory(prefix="catsdogs-predict-") as folder:
        unpack(archive, Path(folder))
        predictor = Predictor(Path(folder), *from_environment())
        for start in range(0, len(paths), BATCH):
            yield from _answer_batch(predictor, paths[start : start + BATCH])


def _answer_batch(predictor: Predictor, batch: Sequence[Path]) -> list[Prediction]:
    pixels: dict[Path, Pixels] = {}
    problems: dict[Path, tuple[str, str | None]] = {}
    for path in batch:
        try:
            if data := read_picture(path):
                pixels[path] = predictor.decode(data)
            else:
                problems[path] = EMPTY, "no_image"
        except Problem as problem:
            problems[path] = problem.detail, problem.code
        except OSError as error:
            problems[path] = f"Cannot be read: {error.strerror}.", None
    answers = dict(zip(pixels, predictor.answers(np.stack(list(pixels.values()))), strict=True)) if pixels else {}
    reasons = [problems.get(path, (None, None)) for path in batch]
    return [
        Prediction(path, answers.get(path), problem, code=code)
        for path, (problem, code) in zip(batch, reasons, strict=True)
    ]


def predict_by_server(
    paths: Sequence[Path], url: str, trust: SSLContext | None = None, key: str | None = None
) -> Iterator[Prediction]:
    """Post each picture to a server, a few at a time; answers come in the order of `paths`.

    Args:
        url: of the server, for the model that it serves, or of a model's predictions.
        trust: the certificates that verify an https server; None takes those that the package certifi lists.
        key: an API key, where the server wants one.

    Raises:
        UserError: the server cannot be reached.
    """
    endpoint = url if "/predictions/" in url else f"{url.rstrip('/')}/predictions"
    limits = httpx.Limits(max_connections=CONNECTIONS)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with (
        httpx.Client(headers=headers, timeout=60, limits=limits, trust_env=False, verify=trust or True) as client,
        ThreadPoolExecutor(CONNECTIONS) as pool,
    ):
        try:
            yield from pool.map(lambda path: _post(client, endpoint, path), paths)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            pool.shutdown(cancel_futures=True)
            raise UserError(f"The server at {url} cannot be reached: {error}") from error


def _post(client: httpx.Client, endpoint: str, path: Path) -> Prediction:
    try:
        data = read_picture(path)
    except OSError as error:
        return Prediction(path, None, f"Cannot be read: {error.strerror}.")
    except Problem as problem:
        # The server would cut the upload off, which some clients see as a broken connection.
        return Prediction(path, None, problem.detail, code=problem.code)
    if not data:
        return Prediction(path, None, EMPTY)
    started = time.perf_counter()
    response = client.post(endpoint, content=data, headers={"Content-Type": "application/octet-stream"})
    seconds = time.perf_counter() - started
    try:
        document = response.json()
        if response.status_code == 200:
            return Prediction(path, {"label": document["label"], **document}, seconds=seconds)
        detail, code = str(document["detail"]), document.get("code")
    except (ValueError, KeyError, TypeError):
        detail, code = f"The server answered {response.status_code}, but not as ours do.", None
    return Prediction(path, None, detail, seconds, code)
