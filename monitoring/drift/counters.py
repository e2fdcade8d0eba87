"""Verdict on drift by the counters of running servers: what each of them answers at GET /drift, added up."""

import json
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from common.text import printable
from common.verdicts import Verdict
from handler.files import UserError, first_line
from serving.fetch.web import read_at_most
from serving.telemetry.drift import document as judge

Document = dict[str, Any]
# From the worst to the best.
ORDER = (Verdict.BREACH, Verdict.INCONCLUSIVE, Verdict.PASS)
# A model of a thousand classes takes less than a tenth of it.
MOST_BYTES = 1 << 20
MOST_COUNTED = 1 << 53
MOST_SHOWN = 300
# What reading an answer of another program may raise.
MALFORMED = (httpx.HTTPError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)


@dataclass(frozen=True, slots=True)
class Fleet:
    """The answers of the servers of one name."""

    documents: Sequence[Document]
    failures: Sequence[str]
    """A sentence about each server that has no verdict to give."""


def ask(url: str) -> Fleet:
    """Ask each address that the URL's host has: a headless Service has one for each pod.

    Raises:
        UserError: the URL is none, or the host has no address.
    """
    documents, failures = [], []
    with httpx.Client(timeout=15, trust_env=False) as client:
        for address in addresses(url):
            try:
                answered = checked(read(client, f"{address}/drift"))
            except MALFORMED as error:
                failures.append(printable(f"{address} does not answer /drift: {first_line(error)}", MOST_SHOWN))
                continue
            if answered["verdict"] == Verdict.NOT_READY:
                failures.append(printable(f"{address}: {answered.get('reason')}", MOST_SHOWN))
            else:
                documents.append(answered)
    return Fleet(documents, failures)


def read(client: httpx.Client, address: str) -> Any:
    """Return the JSON of an answer, of which no more is read than one may have.

    Raises:
        httpx.HTTPError, ValueError: there is none.
    """
    with client.stream("GET", address, headers={"Accept-Encoding": "identity"}) as response:
        if response.status_code != 200:
            raise ValueError(f"it answers {response.status_code}")
        return json.loads(read_at_most(response, MOST_BYTES))


def checked(answered: Any) -> Document:
    """Return an answer with which nothing is wrong: whoever answers may be another program.

    Raises:
        ValueError, or others of MALFORMED: it is not of the form of GET /drift.
    """
    if Verdict(answered["verdict"]) is Verdict.NOT_READY:
        return dict(answered)
    if not all(isinstance(text, str) for text in answered["model"].values()):
        raise ValueError("its model is not described by texts")
    bins = {name: len(reference) for name, reference in shares_of(answered).items()}
    for window in answered.get("windows", []):
        counts = {name: feature["counts"] for name, feature in window["features"].items()}
        if {name: len(numbers) for name, numbers in counts.items()} != bins or not isinstance(window["since"], str):
            raise ValueError("its windows differ in form")
        if not all(
            isinstance(number, int) and 0 <= number < MOST_COUNTED for each in counts.values() for number in each
        ):
            raise ValueError("its counts are not numbers of pictures")
    combine([answered])
    return dict(answered)


def addresses(url: str) -> list[str]:
    """Return the URL with each address of its host in the host's place."""
    parts = urlsplit(url)
    try:
        port = parts.port or 80
    except ValueError:
        port = 0
    if parts.scheme != "http" or not parts.hostname or not port or parts.path.strip("/"):
        raise UserError(f"{url} is not the URL of a metrics port: write it as http://catsdogs-pods:8082.")
    try:
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise UserError(f"{parts.hostname} has no address: {error.strerror}. Is a server ready?") from error
    hosts = dict.fromkeys(str(entry[4][0]) for entry in found)
    return [f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}" for host in hosts]


def combine(documents: Iterable[Document]) -> list[Document]:
    """Return a judged document for each model and reference, of the counters of all servers that have it."""
    groups: dict[str, list[Document]] = {}
    for each in documents:
        # Servers of two versions may have other windows.
        hours = [window["hours"] for window in each.get("windows", [])]
        alike = [each["model"], each.get("reference_pictures"), shares_of(each), hours]
        groups.setdefault(json.dumps(alike), []).append(each)
    return [
        judge(
            group[0]["model"],
            group[0].get("reference_pictures", 0),
            shares_of(group[0]),
            [added(windows) for windows in zip(*(each.get("windows", []) for each in group), strict=True)],
        )
        for group in groups.values()
    ]


def shares_of(answered: Document) -> dict[str, list[float]]:
    windows = answered.get("windows") or [{"features": {}}]
    return {name: feature["reference"] for name, feature in windows[0]["features"].items()}


def added(windows: Sequence[Document]) -> Document:
    """Return the sum of the same window of several servers."""
    counts = {
        name: [sum(bins) for bins in zip(*(window["features"][name]["counts"] for window in windows), strict=True)]
        for name in windows[0]["features"]
    }
    return {"hours": windows[0]["hours"], "since": min(window["since"] for window in windows), "counts": counts}


def overall(judged: Sequence[Document]) -> Verdict:
    """Return the worst verdict; NOT_READY where no server answered."""
    verdicts = {each["verdict"] for each in judged}
    return next((verdict for verdict in ORDER if verdict in verdicts), Verdict.NOT_READY)
