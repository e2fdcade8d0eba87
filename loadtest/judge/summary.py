"""The summary of a load test, summary.json. Times in seconds, rates in requests per second, shares from 0 to 1.

Its JSON schema is summary.schema.json beside this file, made from these types: `python -m loadtest.judge.summary`.
"""

import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from common.verdicts import Verdict
from handler.files import write_atomic

SCHEMA = Path(__file__).with_name("summary.schema.json")


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, ser_json_inf_nan="null")


class Target(Part):
    url: str
    grpc: str | None
    """host:port"""
    metrics: str | None
    model: str
    version: str | None
    """The model's version as the answers named it; None without answers, `several` where they differ. So is sha256."""
    sha256: str | None
    """SHA-256 of the model's weights."""


class Machine(Part):
    """The machine that the generator ran on."""

    processors: float
    processor: str
    memory_bytes: int
    python: str
    locust: str
    processes: int
    """Number of processes that generated load."""
    stolen: float
    """Share of this machine's processor time that its host gave to other machines meanwhile."""


class StagePlan(Part):
    name: str
    start: float
    duration: float
    first_rate: float
    last_rate: float
    measured: bool


class Plan(Part):
    gate: str | None
    """The gate's name in slo.yaml; None where a shape or a number of users was asked for."""
    shape: str
    loop: Literal["open", "closed"]
    """open: requests arrive as a Poisson process, whether or not others were answered. closed: each user waits for its
    answer before it sends again, which hides what would have arrived meanwhile."""
    protocols: list[str]
    stages: list[StagePlan]
    seed: int
    pictures: int
    """Number of different pictures that were sent."""
    picture_bytes: int
    """Their mean size."""
    pictures_sha256: str
    """SHA-256 of all pictures in order: two runs with the same value sent the same pictures."""
    bad_share: float
    """Share of the requests whose picture was broken on purpose."""


class Quantiles(Part):
    """Quantiles of an HdrHistogram of three digits, in seconds."""

    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    p999: float
    max: float
    histogram: str
    """The whole histogram, in microseconds, in HdrHistogram's encoding V2 (zlib and base64)."""


class Row(Part):
    """The figures of one protocol in one stage, or, as stage `all`, in all measured stages."""

    stage: str
    name: str
    """The protocol; with ` bad` for pictures that were broken on purpose."""
    measured: bool
    asked_rate: float
    """Mean rate that was planned for the stage."""
    due: int
    """Requests that were due in this stage."""
    dropped: int
    """Requests that were due but never sent, since too many were in flight."""
    answered: int
    """Requests that were answered in the right form before the request timeout."""
    failed: int
    """All other requests: due = dropped + answered + failed."""
    slow: int
    """Requests that were answered later than the latency's threshold."""
    labelled: int
    """Answers to pictures whose label is known."""
    mistaken: int
    """Labelled answers that named another label."""
    due_rate: float
    answered_rate: float
    latency: Quantiles | None
    """Time from when a request was due to its answer; None where none was answered."""
    service: Quantiles | None
    """Time from when a request was sent to its answer, which is what a closed loop would have shown."""
    lag: Quantiles | None
    """Delay of the generator: the time from when a request was due to when it was sent."""


class Finding(Part):
    """The judgement of one objective."""

    name: str
    """Name of the objective, as in `rest latency`. `correctness`: no answer may contradict itself, and one model
    answers, or in a rollout two; its objective is 1."""
    stage: str
    """`all`, or the stage that breached the objective by itself."""
    objective: float
    asserted: float
    """Objective that PASS asserts: the one of slo.yaml, or a lower one where the gate asserts what its sample can show.
    For correctness PASS asserts that no answer was wrong."""
    threshold: float | None
    count: int
    bad: int
    bad_low: float
    """Lower bound of the bad requests' share, at the gate's confidence."""
    bad_high: float
    """Upper bound of the bad requests' share, at the gate's confidence, with `design_effect` taken into account."""
    design_effect: float
    """Design effect (Kish): variance of the bad requests' share relative to independent requests."""
    verdict: Verdict
    sentence: str
    """The finding in words."""


class Failures(Part):
    name: str
    """The protocol."""
    what: str
    count: int


class Second(Part):
    """The figures of one protocol for the requests that were due in one second."""

    time: float
    """Time since the start."""
    name: str
    due: int
    failed: int
    """Requests that failed or were dropped."""
    p50: float | None
    p99: float | None
    max: float | None


class Breakdown(Part):
    """The parts of the mean request's time, by the server's own counters. The warm-up's requests are among them."""

    name: str
    """`rest` for all of HTTP, or `grpc`."""
    requests: int
    """Number of requests that the gateway counted."""
    sent: int
    """Number of requests that the generator sent. It differs from `requests` where the server had other clients, or is
    one of several."""
    gateway: float | None
    """Time in the gateway and behind it, including the upload; None where the protocol has no such counter."""
    queue: float | None
    """Part of `gateway`: waiting for a worker."""
    handler: float | None
    """Part of `gateway`: in the worker."""
    client: float
    """Mean latency at the generator, from when requests were sent."""
    within_threshold: float | None
    """Share of requests that the gateway saw answered within the latency's threshold."""


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
    """Reasons for caution with the figures."""
    git: str | None
    """Git revision that the test was run from, with `-dirty` where the tree was changed."""
    command: str | None = None
    """Command line that ran the test; None in summaries of older versions."""
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
