"""Problems that the relay itself reports, with the codes of the API's table of errors."""

import json
from collections.abc import Mapping
from typing import Any

from handler.problem import Problem


def overloaded() -> Problem:
    return Problem(503, "overloaded", "The server has as many requests as it can hold: try again in a second.")


def queue_full() -> Problem:
    return Problem(503, "overloaded", "The queue is full: try again in a second.")


def too_many_explanations() -> Problem:
    return Problem(503, "overloaded", "The server computes as many explanations as it may: try again in a second.")


def no_worker() -> Problem:
    return Problem(503, "overloaded", "No worker can answer now: try again in a second.")


def incomplete() -> Problem:
    return Problem(400, "incomplete", "The body did not arrive in full, or too slowly.")


def too_many_bytes() -> Problem:
    return Problem(413, "too_many_bytes", "The body has more than 16 MiB.")


def hung() -> Problem:
    return Problem(504, "deadline", "The model did not answer in time.")


def late() -> Problem:
    return Problem(504, "deadline", "The client's deadline passed before every picture was answered.")


def failed() -> Problem:
    return Problem(500, "internal", "The server failed on this picture; its log has the reason.")


class WorkerDied(Problem):
    """The worker that had the request ended, perhaps because of it; TorchServe starts another."""

    def __init__(self) -> None:
        super().__init__(500, "internal", "The worker that had this picture ended: try again in a second.")


def not_understood() -> Problem:
    return Problem(400, "bad_request", "The request cannot be understood.")


def no_threshold() -> Problem:
    """Return what the handler says (handler/unsure.py), but that of an older archive does not."""
    return Problem(400, "bad_request", "This model has no threshold for unsure answers: leave out unsure.")


def unknown_model(facts: Mapping[str, Any]) -> Problem:
    served = f": this server has model {facts['name']}, version {facts['version']}" if facts else ""
    return Problem(404, "not_found", f"There is no such model or version{served}.")


def code_in(document: bytes) -> str | None:
    """Return the code of a problem document."""
    try:
        return str(json.loads(document)["code"])
    except (ValueError, LookupError, TypeError):
        return None
