"""Labelled pictures that are sent to a server, and its answers to them."""

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from time import perf_counter, sleep
from typing import Any

import httpx

from handler.files import UserError, first_line
from handler.open_image import MAX_BYTES
from serving.client.answers import Contradiction, check_consistent, is_class, some_of
from serving.client.check import class_names, model_name
from serving.client.pictures import find_pictures

# Enough to keep the workers of a small server busy. More would crowd out its users.
CONNECTIONS = 4
ATTEMPTS = 4
"""Times that a picture is sent where the server is overloaded or cannot be reached."""
MAX_PAUSE_S = 5.0
WRONG_USAGE = (401, 403, 404)


@dataclass(frozen=True, slots=True)
class Model:
    """The model that gave an answer, as the answer names it."""

    name: str
    version: str
    sha256: str
    precision: str | None = None
    """The number format of its arithmetic, such as fp32 or int8; None where the server does not say."""

    def __str__(self) -> str:
        precision = f" {self.precision}" if self.precision else ""
        return f"{self.name} {self.version}{precision} (sha256 {self.sha256[:12]})"


@dataclass(frozen=True, slots=True)
class Prediction:
    """A well-formed answer to a picture."""

    label: str
    probabilities: Mapping[str, float]
    model: Model

    @property
    def probability(self) -> float:
        return self.probabilities[self.label]


@dataclass(frozen=True, slots=True)
class Picture:
    path: Path
    truth: str
    """The class that the name of its folder says, in small letters."""

    @property
    def key(self) -> str:
        """The name by which recorded answers are found: its folder's and its own."""
        return f"{self.truth}/{self.path.name}"


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to one picture, or why there is none."""

    picture: Picture
    prediction: Prediction | None
    problem: str = ""
    status: int | None = None
    """The HTTP status; None where there was no response."""
    seconds: float = 0.0
    """Time to the whole answer, of the last attempt."""

    @property
    def right(self) -> bool:
        return self.prediction is not None and self.prediction.label.lower() == self.picture.truth

    @property
    def refused(self) -> bool:
        """Does the server refuse the picture itself?"""
        return self.status is not None and 400 <= self.status < 500

    @property
    def temporary(self) -> bool:
        """Might the same question be answered later?"""
        return self.status in (None, 503, 504)


def read_prediction(document: Any) -> Prediction:
    """Return the prediction that an answer of the server holds.

    Raises:
        Contradiction: its parts do not go together.
        ValueError, LookupError, TypeError, AttributeError: it is no prediction.
    """
    probabilities = {str(label): float(share) for label, share in document["probabilities"].items()}
    label, model = str(document["label"]), document["model"]
    check_consistent(label, float(document["probability"]), probabilities)
    precision = model.get("precision")
    of = Model(
        str(model["name"]),
        str(model["version"]),
        str(model["sha256"]),
        None if precision is None else str(precision),
    )
    return Prediction(label, probabilities, of)


def labelled(folder: Path, say: Callable[[str], None]) -> list[Picture]:
    """Return the pictures of a folder that has a subfolder for each class.

    Raises:
        UserError: there are none.
    """
    return [Picture(path, path.parent.name.lower()) for path in find_pictures([folder], say)]


def check_classes(client: httpx.Client, pictures: Sequence[Picture], folder: Path) -> None:
    """Refuse pictures of other classes than the server's model has.

    Raises:
        UserError: the folder of a picture is not named after a class.
        httpx.HTTPError, Wrong: the server does not name its model.
    """
    classes = class_names(client, model_name(client))
    others = sorted({picture.truth for picture in pictures if not is_class(classes, picture.truth)})
    if classes and others:
        raise UserError(
            f"The model's classes are {some_of(classes.split(','))}, and {folder} has pictures in folders named "
            f"{some_of(others)}. By --pictures, name a folder with a subfolder for each class."
        )


def ask(client: httpx.Client, picture: Picture, attempts: int = ATTEMPTS) -> Reply:
    """Send one picture, several times where the server is overloaded or cannot be reached.

    Raises:
        UserError: the picture cannot be read, or the server wants another key or another address.
    """
    try:
        data = picture.path.read_bytes()
    except OSError as error:
        raise UserError(f"{picture.path} cannot be read: {error.strerror}.") from error
    if len(data) > MAX_BYTES:
        return Reply(picture, None, f"it has {len(data)} bytes; the limit is {MAX_BYTES}", 413)
    for attempt in range(attempts):
        reply, pause_s = _post(client, picture, data)
        if not reply.temporary or attempt == attempts - 1:
            break
        sleep(min(MAX_PAUSE_S, max(pause_s, 0.5 * 2**attempt)))
    if reply.status in WRONG_USAGE:
        raise UserError(f"{client.base_url} answers {reply.status}: {reply.problem}")
    return reply


def _post(client: httpx.Client, picture: Picture, data: bytes) -> tuple[Reply, float]:
    """Return the reply, and the seconds after which the server wants to be asked again."""
    started = perf_counter()
    try:
        response = client.post("/predictions", content=data, headers={"Content-Type": "application/octet-stream"})
    except httpx.HTTPError as error:
        return Reply(picture, None, first_line(error) or type(error).__name__, seconds=perf_counter() - started), 0
    seconds = perf_counter() - started
    status = response.status_code
    try:
        document = response.json()
        if status == 200:
            return Reply(picture, read_prediction(document), status=status, seconds=seconds), 0
        problem = str(document["detail"])
    except Contradiction as error:
        problem = f"the answer contradicts itself: {error}"
    except (ValueError, LookupError, TypeError, AttributeError):
        problem = f"the server answers {status}, but not as ours do"
    return Reply(picture, None, problem, status, seconds), pause(response.headers.get("retry-after", ""))


def pause(text: str) -> float:
    """Return the seconds of the header Retry-After, or 0 where it has a date or nothing."""
    try:
        seconds = float(text)
    except ValueError:
        return 0.0
    return seconds if math.isfinite(seconds) else 0.0


def ask_all(client: httpx.Client, pictures: Sequence[Picture]) -> list[Reply]:
    """Send all pictures, a few at a time; the replies have the order of the pictures.

    Once a picture got no answer in all of its attempts, each of the others is sent once.
    """
    given_up = Event()

    def ask_one(picture: Picture) -> Reply:
        reply = ask(client, picture, 1 if given_up.is_set() else ATTEMPTS)
        if reply.prediction is None and reply.temporary:
            given_up.set()
        return reply

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        try:
            return list(pool.map(ask_one, pictures))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
