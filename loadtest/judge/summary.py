"""What a load test found, as one document: summary.json. Times in seconds, rates in requests per second, shares 0 to 1.

Its JSON schema is summary.schema.json beside this file, made from these types: `python -m loadtest.judge.summary`.
"""

import json
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from handler import verdicts
from handler.files import write_atomic

SCHEMA = Path(__file__).with_name("summary.schema.json")


class Verdict(StrEnum):
    """Of a gate, or of one objective in it."""

    PASS = "PASS"  # noqa: S105
    BREACH = "BREACH"
    INCONCLUSIVE = "INCONCLUSIVE"
    """Too few requests to know."""
    INVALID = "INVALID"
    """The measurement is not to be believed: the generator was too slow, or sent something else than was asked for."""
    NOT_READY = "NOT_READY"
    """There is no server that is ready."""


EXIT_CODES = {
    Verdict.PASS: verdicts.PASS,
    Verdict.BREACH: verdicts.BREACH,
    Verdict.INCONCLUSIVE: verdicts.INCONCLUSIVE,
    Verdict.INVALID: verdicts.INVALID,
    Verdict.NOT_READY: verdicts.NOT_READY,
}


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, ser_json_inf_nan="null")


class Target(Part):
    url: str
    grpc: str | None
    """host:port"""
    metrics: str | None
    model: str
    version: str | None
    """What the answers said, as of the model's sha256; None where none came, `several` where they differ."""
    sha256: str | None
    """Of the model's weights."""


class Machine(Part):
    """Where the generator ran."""

    processors: float
    processor: str
    memory_bytes: int
    python: str
    locust: str
    processes: int
    """That generated load."""
    stolen: float
    """The share of this machine's processor time that its host gave to others meanwhile."""


class StagePlan(Part):
    name: str
    start: float
    duration: float
    first_rate: float
    last_rate: float
    measured: bool


class Plan(Part):
    gate: str | None
    """Its name in slo.yaml; None where a shape or a number of users was asked for."""
    shape: str
    loop: Literal["open", "closed"]
    """open: requests arrive as a Poisson process, whether or not others were answered. closed: each user waits for its
    answer before it sends again, which hides what would have arrived meanwhile."""
    protocols: list[str]
    stages: list[StagePlan]
    seed: int
    pictures: int
    """Different ones that were sent."""
    picture_bytes: int
    """Their mean size."""
    pictures_sha256: str
    """Of all of them, in order: two runs with the same one sent the same."""
    bad_share: float
    """Of the requests, those whose picture was broken on purpose."""


class Quantiles(Part):
    """Of an HdrHistogram of three digits."""

    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    p999: float
    max: float
    histogram: str
    """All of it, in microseconds, in HdrHistogram's encoding V2 (zlib and base64)."""


class Row(Part):
    """One protocol in one stage; and, as stage `all`, in all that were measured."""

    stage: str
    name: str
    """The protocol; with ` bad` for pictures that were broken on purpose."""
    measured: bool
    asked_rate: float
    """As planned, the mean of the stage."""
    due: int
    """Requests that were due in this stage."""
    dropped: int
    """Of them, those never sent, since too many were under way."""
    answered: int
    """In time and in the right form."""
    failed: int
    """All others: due = dropped + answered + failed."""
    slow: int
    """Answered later than the latency's threshold."""
    labelled: int
    """Answers to pictures whose label is known."""
    mistaken: int
    """Of them, those that named another."""
    due_rate: float
    answered_rate: float
    latency: Quantiles | None
    """Of what was answered, from when it was due; None where nothing was."""
    service: Quantiles | None
    """The same from when it was sent: what a closed loop would have shown."""
    lag: Quantiles | None
    """Sent minus due: how late the generator was."""


class Finding(Part):
    """One objective, judged."""

    name: str
    """Name of the objective, as in `rest latency`. `correctness`: no answer may contradict itself, and one model
    answers, or in a rollout two; its objective is 1."""
    stage: str
    """`all`, or the stage that breached it by itself."""
    objective: float
    asserted: float
    """Objective that PASS asserts: the one of the file, or less, where the gate asserts what its sample can show. Of
    correctness it says that no answer was wrong."""
    threshold: float | None
    count: int
    bad: int
    bad_low: float
    """The share of bad ones in such a test is above this, with the gate's confidence."""
    bad_high: float
    """And below this, where the sample is worth no more than `design_effect` says."""
    design_effect: float
    """What the sample is worth less, since bad ones came together."""
    verdict: Verdict
    sentence: str
    """For people."""


class Failures(Part):
    name: str
    """The protocol."""
    what: str
    count: int


class Second(Part):
    """One protocol in one second, by when requests were due."""

    time: float
    """Since the start."""
    name: str
    due: int
    failed: int
    """Dropped ones, too."""
    p50: float | None
    p99: float | None
    max: float | None


class Breakdown(Part):
    """Where the mean request spent its time, the warm-up's among them, by the server's own counters."""

    name: str
    """`rest` for all of HTTP, or `grpc`."""
    requests: int
    """That the gateway counted."""
    sent: int
    """That we sent. Where it is another number something else asked the server, or it is one of several."""
    gateway: float | None
    """In the gateway and behind it, the upload among it; None where the protocol has no such counter."""
    queue: float | None
    """Of it, waiting for a worker."""
    handler: float | None
    """Of it, in the worker."""
    client: float
    """The mean latency that we saw, from when requests were sent."""
    within_threshold: float | None
    """The share that the gateway saw answered within the latency's threshold."""


class Summary(Part):
    schema_version: Literal[1] = 1
    started: str
    """UTC, ISO 8601."""
    duration: float
    """From the first request to the last answer."""
    verdict: Verdict
    exit_code: int
    reasons: list[str]
    """Why it is INVALID or NOT_READY; otherwise one sentence per objective that was not passed."""
    warnings: list[str]
    """What to know before it is believed."""
    git: str | None
    """Of the tree that the test was run from, with `-dirty` where it was changed."""
    confidence: float
    target: Target
    machine: Machine
    plan: Plan
    findings: list[Finding]
    rows: list[Row]
    failures: list[Failures]
    server: list[Breakdown]
    seconds: list[Second]


def schema() -> str:
    return json.dumps(Summary.model_json_schema(), indent=2) + "\n"


if __name__ == "__main__":
    write_atomic(SCHEMA, schema().encode())
