"""Feedback at the relay: signs answers, and takes what people say of them on /feedback."""

import asyncio
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, NamedTuple

from aiohttp import web

from handler.form import form_parts
from handler.problem import Problem
from serving.feedback.entry import NEITHER, Entry
from serving.feedback.place import Unavailable
from serving.feedback.rate import Rate
from serving.feedback.settings import FeedbackSettings
from serving.feedback.store import PAUSE_S, Full, Store, Writer
from serving.feedback.token import Keys, read_token, sign
from serving.gateway.relay import problems
from serving.gateway.relay.body import MAX_BYTES, Body, receive
from serving.gateway.relay.budget import Budget, Overloaded
from serving.gateway.relay.log import Log
from serving.gateway.relay.model import Model
from serving.gateway.relay.upstream import PROBLEM
from serving.telemetry.feedback import FeedbackCounts

PATH = "/feedback"
# A token and a label, and the parts of a form around them.
SMALL = 16 << 10
# One picture of the largest size at a time, or several small ones.
MAX_REQUESTS = 16
MAX_BUDGET = MAX_BYTES + MAX_REQUESTS * SMALL
BOUNDARY = re.compile(r'^multipart/form-data;.*boundary=("([^"]+)"|([^";\s]+))', re.IGNORECASE)


class Given(NamedTuple):
    """The content of a request."""

    token: str
    label: str
    picture: bytes | None


@dataclass(slots=True)
class Feedback:
    """Feedback of one gateway. One event loop has it."""

    settings: FeedbackSettings
    model: Model
    log: Log
    counts: FeedbackCounts = field(default_factory=FeedbackCounts)
    keys: Keys = field(init=False)
    rate: Rate = field(init=False)
    writer: Writer = field(init=False)
    budget: Budget = field(default_factory=lambda: Budget(MAX_REQUESTS, MAX_BUDGET, MAX_BUDGET))

    def __post_init__(self) -> None:
        self.keys = Keys(self.settings.key)
        self.rate = Rate(self.settings.max_rate)
        self.writer = Writer(Store(self.settings.open_place(), self.settings.max_files, self.settings.max_mib << 20))

    def close(self) -> None:
        self.writer.close()

    def sign(self, body: bytes) -> bytes:
        """Return an answer of the handler's with a token in place of each claim; see handler/payload.py."""
        document, now = json.loads(body), time.time()
        for holder in holders(document):
            claims = holder["feedback"]
            if isinstance(claims[0], list):
                # Parameters of KServe's v2 are text or numbers.
                holder["feedback"] = " ".join(sign(claim, self.keys, now) for claim in claims)
            else:
                holder["feedback"] = sign(claims, self.keys, now)
        return json.dumps(document, separators=(",", ":")).encode()

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """Answer a request to /feedback, whatever happens."""
        if request.method != "POST":
            return web.json_response(self.terms(), headers={"Cache-Control": "no-store"})
        request_id, headers = request.headers.get("X-Request-Id", ""), {}
        try:
            if wait_s := self.rate.take():
                headers["Retry-After"] = str(wait_s)
                raise Problem(429, "too_much_feedback", f"Too much feedback at once: try again in {wait_s} s.")
            return web.json_response(await self._take(request))
        except Problem as error:
            problem = error.with_traceback(None)
            problem.__cause__ = problem.__context__ = None
        except Overloaded:
            problem = problems.overloaded()
        except Full:
            problem = Problem(507, "feedback_full", "The feedback store is full: tell the operator of the server.")
        except Unavailable as error:
            self.log.note({"event": "feedback", "reason": str(error), "request_id": request_id})
            problem = Problem(503, "feedback_unavailable", "Feedback cannot be stored now: try again later.")
        except Exception as error:
            self.log.note({"event": "feedback", "reason": repr(error)[:500], "request_id": request_id})
            problem = Problem(500, "internal", "The server failed to process this feedback; its log has the reason.")
        self.counts.count_refused(problem.code)
        if problem.status == 503:
            headers["Retry-After"] = "1" if problem.code == "overloaded" else str(int(PAUSE_S))
        body = problem.document(request_id)
        return web.Response(status=problem.status, body=body, headers={"Content-Type": PROBLEM, **headers})

    def terms(self) -> dict[str, Any]:
        """Return what may be sent: the labels, and whether pictures are stored."""
        return {
            "labels": self.labels(),
            "pictures": self.settings.pictures,
            "max_age_seconds": round(3600 * self.settings.max_age_hours),
        }

    def labels(self) -> list[str]:
        return list(dict.fromkeys((*self.model.facts().get("classes", ()), NEITHER)))

    async def _take(self, request: web.BaseRequest) -> dict[str, Any]:
        with self.budget.admit() as ticket:
            form = BOUNDARY.match(request.headers.get("Content-Type", ""))
            limit = MAX_BYTES + SMALL if form and self.settings.pictures else SMALL
            if limit > SMALL:
                # A picture for which there is no place now is not received.
                self.writer.check()
            try:
                body = await receive(request, ticket, limit)
            except Problem as error:
                raise self._too_large(limit) if error.status == 413 else error from None
            # In a thread: 16 MiB take longer to read than others should wait.
            entry = await asyncio.to_thread(self._checked, body, (form[2] or form[3]) if form else None)
            body.chunks.clear()
            await self.writer.keep(entry)
        self.counts.count_given(entry.prediction.label, entry.label)
        return {"id": entry.prediction.id, "label": entry.label, "picture": entry.picture is not None}

    def _too_large(self, limit: int) -> Problem:
        if limit > SMALL:
            return problems.too_many_bytes()
        more = "" if self.settings.pictures else ", since this server stores no pictures"
        detail = f"The body has more than {SMALL >> 10} KiB: send only the token and the label{more}."
        if self.settings.pictures:
            detail += " A picture must be sent as the file of a form."
        return Problem(413, "too_many_bytes", detail)

    def _checked(self, body: Body, boundary: str | None) -> Entry:
        """Return the entry of a request.

        Args:
            boundary: of a form; None for JSON.

        Raises:
            Problem: the body cannot be read, or the token, the label or the picture is not accepted.
        """
        data = bytes(body.joined())
        given = read_json(data) if boundary is None else read_form(data, boundary)
        if given.picture is not None and not self.settings.pictures:
            raise Problem(403, "picture_refused", "This server stores no pictures: send only the token and the label.")
        labels = self.labels()
        if given.label not in labels:
            raise Problem(400, "unknown_label", f"The label is unknown: send one of {', '.join(labels)}.")
        prediction = read_token(given.token, self.keys, 3600 * self.settings.max_age_hours)
        if prediction.model["name"] != self.model.facts().get("name", prediction.model["name"]):
            # Another server, which serves another model, has the same keys.
            raise Problem(403, "bad_token", "The token is of another model's server: send it to that one.")
        if given.picture is not None and sha256(given.picture).hexdigest() != prediction.sha256:
            detail = "The picture is not the one that was predicted: send the same bytes, or no picture."
            raise Problem(422, "other_picture", detail)
        return Entry(prediction, given.label, time.time(), given.picture)


def holders(document: Any) -> Iterator[dict[str, Any]]:
    """Return the objects of an answer that have a member `feedback`, in each of the protocols' forms."""
    if isinstance(document, list):
        answers = document
    else:
        answers = document.get("predictions") or [document, document.get("parameters")]
    return (answer for answer in answers if isinstance(answer, dict) and "feedback" in answer)


def read_json(body: bytes) -> Given:
    """Read {"token": ..., "label": ...}; other members are refused, for a picture is sent by a form."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or not {"token", "label"} <= document.keys():
        raise _unreadable()
    if "picture" in document:
        raise Problem(403, "picture_refused", "JSON cannot have a picture: send it as the file of a form, if allowed.")
    if not isinstance(document["token"], str) or not isinstance(document["label"], str):
        raise _unreadable()
    return Given(document["token"], document["label"], None)


def read_form(body: bytes, boundary: str) -> Given:
    """Read a form with the fields `token` and `label` and, maybe, the file `picture`."""
    try:
        parts = {part.name: part.content for part in form_parts(body, boundary)}
        picture = parts.get("picture") or None
        return Given(parts["token"].decode(), parts["label"].decode(), picture)
    except (Problem, KeyError, UnicodeDecodeError):
        raise _unreadable() from None


def _unreadable() -> Problem:
    detail = 'The body must be {"token": "...", "label": "..."}, or a form with these fields and optionally a picture.'
    return Problem(400, "bad_feedback", detail)
