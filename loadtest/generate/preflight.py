"""Checks before the load, so that nobody waits minutes for a verdict on a wrong address.

One picture is sent by each protocol. Where the server answers that it has no such model, or wants a key, all requests
would fail: that is wrong usage, and no BREACH. What may be a bad moment of the server is left to the test.
"""

import http.client
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from common.verdicts import WRONG_USAGE, Verdict
from loadtest.generate.clients import CLIENTS, Address, Http, Wrong
from loadtest.generate.pictures import Picture, Pool
from loadtest.settings import Settings
from serving.client.answers import some_of

PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class Objection:
    """The reason why there is no test, and its exit status."""

    sentence: str
    status: int


def document(address: Address, path: str) -> Any:
    """Return what the server says at this path, or None where it says nothing that is JSON."""
    connection = Http(replace(address, timeout_s=min(address.timeout_s, PATIENCE_S))).connect()
    try:
        connection.request("GET", path, headers=address.headers)
        response = connection.getresponse()
        text = response.read()
        return json.loads(text) if response.status == 200 else None
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()


def served_models(address: Address) -> list[str]:
    """Return the names of the models that the server has; none where it does not say."""
    models = document(address, "/v1/models")
    names = models.get("models") if isinstance(models, dict) else None
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def resolve(settings: Settings) -> Settings:
    """Ask the server for its model, where none was named, and for the model's classes."""
    address = settings.address
    if not settings.options.model and (names := served_models(address)):
        address = replace(address, model=names[0])
    model = document(address, f"/v2/models/{address.model}")
    try:
        classes, sha256 = str(model["parameters"]["classes"]), model["parameters"].get("sha256")
    except (LookupError, TypeError, AttributeError):
        classes, sha256 = "", None
    return replace(settings, address=address, classes=classes, sha256=sha256)


def objection(settings: Settings, pool: Pool, say: Callable[[str], None]) -> Objection | None:
    """Return the reason why a test makes no sense, or None where it does.

    Args:
        settings: after `resolve`.
        say: called with sentences that the user should know before the test.
    """
    address = settings.address
    names = served_models(address)
    if names and address.model not in names:
        sentence = (
            f"{address.url} serves {some_of(names)}, not {address.model}: leave out --model, or name a model that it"
            " serves."
        )
        return Objection(sentence, WRONG_USAGE)
    for protocol in settings.protocols:
        if problem := ask(settings, protocol, pool.good[0]):
            return problem
    return unknown_labels(settings, pool, say)


def unknown_labels(settings: Settings, pool: Pool, say: Callable[[str], None]) -> Objection | None:
    """Compare the names of the pictures' folders with the model's classes."""
    labels = sorted({picture.label for picture in pool.good if picture.label is not None})
    unknown = [label for label in labels if not settings.knows(label)]
    if not unknown:
        return None
    other = f"The classes of {settings.address.model} are {some_of(settings.classes.split(','))}, and"
    where = f"in {settings.pictures} there are pictures of {some_of(unknown)}"
    if len(unknown) < len(labels):
        say(f"{other} {where}: the labels of these are not compared with the answers.")
    elif settings.options.pictures:
        return Objection(
            f"{other} {where} only. By --pictures, name a folder with a subfolder for each class.", WRONG_USAGE
        )
    else:
        say(f"{other} {where}: labels are not compared with the answers. Name pictures of its classes by --pictures.")
    return None


def ask(settings: Settings, protocol: str, picture: Picture) -> Objection | None:
    address = replace(settings.address, timeout_s=min(settings.address.timeout_s, PATIENCE_S))
    client = CLIENTS[protocol](address)
    try:
        client.ask(picture)
    except Wrong as error:
        return judged(settings, protocol, str(error))
    except (OSError, http.client.HTTPException):
        return None
    finally:
        client.close()
    return None


def judged(settings: Settings, protocol: str, problem: str) -> Objection | None:
    """Explain why the first request failed.

    Args:
        problem: the kind of failure, as `loadtest.generate.clients` names it.
    """
    address = settings.address
    if problem.startswith("404") or problem == "gRPC NOT_FOUND":
        where = address.grpc if protocol == "grpc" else address.url
        return Objection(
            f"{where} has no model {address.model} ({protocol}: {problem}). Name another by --model, or"
            f" another server by --{'grpc' if protocol == 'grpc' else 'url'}.",
            WRONG_USAGE,
        )
    if problem.startswith("401") or problem == "gRPC UNAUTHENTICATED":
        what = "does not take the key in CATSDOGS_KEY" if address.key else "requires a key: set CATSDOGS_KEY"
        return Objection(f"The server {what} ({protocol}: {problem}).", WRONG_USAGE)
    if protocol != "grpc" or not problem.startswith("gRPC "):
        return None
    # Our server's refusals contain a problem document: this is another server, or none.
    why = f"is not a catsdogs server, or does not answer ({problem.removeprefix('gRPC ')})."
    if settings.options.grpc:
        return Objection(f"gRPC at {address.grpc} {why}", Verdict.NOT_READY.exit_code)
    others = " ".join(f"--protocol {name}" for name in settings.protocols if name != "grpc") or "--protocol rest"
    return Objection(
        f"gRPC at {address.grpc}, the default, {why} Name its address by --grpc HOST:PORT (make: GRPC=HOST:PORT), or"
        f" leave gRPC out by {others} (make: ARGS='{others}').",
        WRONG_USAGE,
    )
