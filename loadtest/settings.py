"""Settings of a test: Locust's options, ours, and slo.yaml behind them, as one value."""

import argparse
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from handler.files import UserError
from loadtest import slo
from loadtest.defaults import PICTURES, PROTOCOLS, SLO
from loadtest.generate.clients import Address
from loadtest.generate.shapes import SHAPES, Stage, stages
from loadtest.slo import Gate
from monitoring.objectives import Objectives
from serving.client.answers import is_class
from serving.gateway.keys import read_secret
from training.config import sentence

GRPC_PORT = 7070
LOCAL = ("127.0.0.1", "localhost", "[::1]")


def add_options(parser: Any) -> None:
    """Add our options to Locust's. `catsdogs loadtest --help` describes the same options."""
    group = parser.add_argument_group(
        "catsdogs", "Options of the arrivals, the pictures and the verdict on the objectives of slo.yaml"
    )

    def add(*names: str, **settings: Any) -> None:
        group.add_argument(*names, **settings).include_in_web_ui = False

    add(
        "--slo",
        metavar="FILE",
        default=str(SLO),
        help="File of objectives, gates and the search. Default: the shipped one",
    )
    add("--gate", help="Gate of slo.yaml, which sets shape, protocols, rate, durations and confidence")
    add("--shape", choices=SHAPES, help="Course of the rate over the test, in place of --users")
    add(
        "--protocol",
        action="append",
        choices=PROTOCOLS,
        help="Protocol that is tested, repeatable; each gets an equal share of the rate. Default: rest, or all "
        "protocols of the gate",
    )
    add("--rate", type=float, help="Highest rate of the shape, in requests per second")
    add("--duration", help="Duration of the shape, after the warm-up: 90s, 3m or 1h")
    add("--warmup", help="Duration of the warm-up, whose requests are not counted")
    add("--confidence", type=float, default=0.95, help="Confidence of the verdict, from 0 to 1")
    add(
        "--loop",
        choices=("open", "closed"),
        default="open",
        help="open: requests arrive at the rate, whether or not others were answered. closed: each user waits for its "
        "answer, which hides delays; for comparison only",
    )
    add("--rate-per-user", type=float, default=1.0, help="Requests per second of each user, with --users")
    add("--seed", type=int, default=0, help="Seed of the arrivals and the pictures")
    add(
        "--pictures",
        metavar="DIR",
        help="Folder of pictures, in subfolders named by their class. Default: sample cats and dogs",
    )
    add(
        "--bad-share",
        type=float,
        default=0.0,
        help="Share of the requests that send a picture broken on purpose, from 0 to below 1",
    )
    add("--grpc", metavar="HOST:PORT", help="Address of gRPC. Default: port 7070 of the host")
    add(
        "--metrics",
        metavar="URL",
        help="URL of the gateway's metrics. Default: port 8082 of the host, if that is this machine",
    )
    add("--model", help="Name of the model. Default: the one that the server lists in /v1/models")
    add(
        "--max-models",
        type=int,
        default=1,
        help="Maximum number of models that answer side by side: 2 with a canary. A rollout may add one for a time",
    )
    add("--ca", metavar="FILE", help="CA bundle (PEM) used to verify an https server")
    add("--server-name", help="Name that the server's certificate must carry. Default: the host of the URL")
    add("--request-timeout", type=float, default=30.0, help="Seconds after which a request without an answer fails")
    add(
        "--max-in-flight",
        type=int,
        default=2000,
        help="Maximum number of requests in flight per process. Requests due beyond it are dropped and counted as such",
    )
    add("--wait", type=float, default=0.0, help="Maximum seconds to wait until the server is ready")
    add("--out", metavar="DIR", help="Folder that summary.json, report.html and junit.xml are written to")
    add("--compare", metavar="FILE", help="File summary.json of an earlier test that this one is compared with")
    add("--print-summary", action="store_true", help="Print summary.json on standard output, between two marker lines")
    add("--until-decided", action="store_true", help="Stop as soon as a breach is certain")
    add("--progress", action="store_true", help="Print a line of progress")
    add("--quiet", action="store_true", help="Print no figures at the end")


@dataclass(frozen=True, slots=True)
class Settings:
    objectives: Objectives
    gate_name: str | None
    gate: Gate | None
    """The gate that judges the test; None with --users, for which only figures are shown."""
    stages: list[Stage]
    """The course of the rate; empty with --users."""
    protocols: tuple[str, ...]
    loop: str
    users: int
    """Number of users at the highest rate."""
    rate_per_user: float
    address: Address
    metrics: str | None
    """URL of the metrics; None without --metrics where the server is elsewhere: a Service has no such port."""
    metrics_asked: bool
    pictures: Path
    max_models: int
    options: argparse.Namespace
    classes: str = ""
    """The model's classes, joined by commas; empty where they are not known."""

    def knows(self, label: str) -> bool:
        """May the model predict this? Labels that it does not know are not compared with its answers."""
        return not self.classes or is_class(self.classes, label)

    @property
    def end(self) -> float:
        return self.stages[-1].end if self.stages else 0.0


def settle(options: argparse.Namespace) -> Settings:
    """
    Raises:
        UserError: options that contradict each other, or slo.yaml.
    """
    file = slo.load(Path(options.slo))
    if not options.host:
        raise UserError("Name the server by --host, such as --host http://127.0.0.1:8080.")
    parts = urlsplit(options.host)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError(f"--host must be the URL of a server, such as http://127.0.0.1:8080, not {options.host!r}.")
    if options.max_models < 1:
        raise UserError(f"--max-models must be 1 or more, not {options.max_models}.")
    if not 0 <= options.bad_share < 1:
        raise UserError(f"--bad-share must be a share from 0 to below 1, not {options.bad_share:g}.")
    gate = choose_gate(options, file)
    protocols: tuple[str, ...] = gate.protocols if gate else tuple(options.protocol or ["rest"])
    plan = stages(gate.shape, gate.rate, gate.duration, gate.warmup) if gate else []
    users, rate_per_user = 0, float(options.rate_per_user)
    if gate:
        # A user is a share of the rate: enough of them for a fine ramp, the same number for each protocol.
        each = min(max(1, round(gate.rate / len(protocols))), max(1, 100 // len(protocols)))
        users = each * len(protocols)
        rate_per_user = gate.rate / users
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    try:
        ca = Path(options.ca).read_bytes() if options.ca else None
        trust = ssl.create_default_context(cadata=ca.decode()) if ca else None
    except (OSError, ValueError) as error:
        raise UserError(f"--ca {options.ca}: {error}") from error
    address = Address(
        url=options.host.rstrip("/"),
        grpc=options.grpc or f"{host}:{GRPC_PORT}",
        model=options.model or file.service,
        key=read_secret("CATSDOGS_KEY").split("\n")[0].strip() or None,
        trust=trust,
        ca=ca,
        server_name=options.server_name,
        timeout_s=options.request_timeout,
    )
    return Settings(
        objectives=file.objectives,
        gate_name=gate_name(options, gate, file),
        gate=gate,
        stages=plan,
        protocols=protocols,
        loop=options.loop,
        users=users,
        rate_per_user=rate_per_user,
        address=address,
        metrics=options.metrics or (f"http://{host}:8082/metrics" if host in LOCAL else None),
        metrics_asked=bool(options.metrics),
        pictures=Path(options.pictures or PICTURES),
        max_models=options.max_models,
        options=options,
    )


def gate_name(options: argparse.Namespace, gate: Gate | None, file: slo.Slo) -> str | None:
    """Return the gate's name, with the protocols where only some of its are tested."""
    if not options.gate or gate is None or gate.protocols == file.gates[options.gate].protocols:
        return options.gate or None
    return f"{options.gate} by {', '.join(gate.protocols)}"


def choose_gate(options: argparse.Namespace, file: slo.Slo) -> Gate | None:
    own = {name: getattr(options, name) for name in ("shape", "rate", "duration", "warmup") if getattr(options, name)}
    if options.gate:
        if options.gate not in file.gates:
            raise UserError(f"{options.slo} has no gate {options.gate}; it has {', '.join(file.gates)}.")
        if own:
            given = ", ".join(f"--{name}" for name in own)
            raise UserError(f"The gate {options.gate} sets {given} itself: leave out {given}, or leave out the gate.")
        gate = file.gates[options.gate]
        if others := set(options.protocol or ()).difference(gate.protocols):
            asks = ", ".join(gate.protocols)
            raise UserError(f"The gate {options.gate} tests {asks}, not {', '.join(sorted(others))}.")
        kept = tuple(protocol for protocol in gate.protocols if protocol in (options.protocol or gate.protocols))
        return gate.model_copy(update={"protocols": kept})
    if not own:
        return None
    if not {"rate", "duration"} <= own.keys():
        raise UserError("A test without a gate needs --rate and --duration, such as --rate 20 --duration 60s.")
    try:
        gate = Gate(
            shape=own.get("shape", "steady"),
            protocols=tuple(options.protocol or ["rest"]),
            rate=own["rate"],
            duration=own["duration"],
            warmup=own.get("warmup", 5.0),
            confidence=options.confidence,
            asserts="sample",
        )
    except ValidationError as error:
        problems = "; ".join(sentence(problem, SLO.name, list(Gate.model_fields)) for problem in error.errors())
        raise UserError(f"These options make no test: {problems}") from error
    if unknown := [protocol for protocol in gate.protocols if protocol not in file.objectives.latency]:
        raise UserError(f"{options.slo} has no objectives.latency for {unknown[0]}.")
    return gate
