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
from loadtest.slo import Gate, Objectives
from serving.client.answers import is_class
from serving.gateway.keys import read_secret
from training.config import sentence

GRPC_PORT = 7070
LOCAL = ("127.0.0.1", "localhost", "[::1]")


def add_options(parser: Any) -> None:
    """Add our options to Locust's. `catsdogs loadtest --help` describes the same options."""
    group = parser.add_argument_group("catsdogs", "Arrivals, pictures, and the verdict on slo.yaml's objectives")

    def add(*names: str, **settings: Any) -> None:
        group.add_argument(*names, **settings).include_in_web_ui = False

    add("--slo", metavar="FILE", default=str(SLO), help="Objectives, gates and search; default: the shipped one")
    add("--gate", help="One of its gates, which says all of shape, protocols, rate, times and confidence")
    add("--shape", choices=SHAPES, help="How the rate runs, instead of --users")
    add(
        "--protocol",
        action="append",
        choices=PROTOCOLS,
        help="Repeatable; each gets its share of the rate. Default: rest. With --gate: only these of its protocols",
    )
    add("--rate", type=float, help="Of a shape: its highest rate, requests per second")
    add("--duration", help="Of a shape, after its warm-up: 90s, 3m, 1h")
    add("--warmup", help="Of a shape: requests that are due before this are not counted")
    add("--confidence", type=float, default=0.95, help="Of the verdict")
    add(
        "--loop",
        choices=("open", "closed"),
        default="open",
        help="closed: each user waits for its answer, as a comparison",
    )
    add("--rate-per-user", type=float, default=1.0, help="With --users: requests per second of each")
    add("--seed", type=int, default=0, help="Of the arrivals and the pictures")
    add("--pictures", metavar="DIR", help="Folders of pictures, named by their class; default: sample cats and dogs")
    add("--bad-share", type=float, default=0.0, help="Of the requests, those with a picture broken on purpose")
    add("--grpc", metavar="HOST:PORT", help="Default: port 7070 of the host")
    add(
        "--metrics",
        metavar="URL",
        help="The gateway's, for the breakdown; default: port 8082 of the host, if it answers",
    )
    add("--model", help="Name of the model that is asked; default: the one that the server names in /v1/models")
    add(
        "--max-models",
        type=int,
        default=1,
        help="Models that may answer side by side, 2 with a canary; in a rollout there may be one more for a time",
    )
    add("--ca", metavar="FILE", help="With https: CA bundle (PEM) used to verify the server")
    add("--server-name", help="Whom the certificate must name, where that is not the host")
    add("--request-timeout", type=float, default=30.0, help="Seconds after which an answer is no longer waited for")
    add("--max-in-flight", type=int, default=2000, help="Per process; what is due beyond it is dropped, and counted")
    add("--wait", type=float, default=0.0, help="Seconds to wait for the server to be ready")
    add("--out", metavar="DIR", help="Folder of summary.json, report.html and junit.xml")
    add("--compare", metavar="FILE", help="Another test's summary.json, to compare with")
    add("--print-summary", action="store_true", help="summary.json to standard output, between two marked lines")
    add("--until-decided", action="store_true", help="Stop as soon as the breach is certain")
    add("--progress", action="store_true", help="A line about how far it is")
    add("--quiet", action="store_true", help="No figures at the end")


@dataclass(frozen=True, slots=True)
class Settings:
    objectives: Objectives
    gate_name: str | None
    gate: Gate | None
    """What is judged; None where a number of users was asked for, of which only figures are shown."""
    stages: list[Stage]
    """None in the plan where --users says how many there are."""
    protocols: tuple[str, ...]
    loop: str
    users: int
    """At the highest rate."""
    rate_per_user: float
    address: Address
    metrics: str | None
    """None where they were not asked for and the server is elsewhere: a Service has no such port."""
    metrics_asked: bool
    pictures: Path
    max_models: int
    options: argparse.Namespace
    classes: str = ""
    """The model's, joined by commas; empty where they are not known."""

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
        raise UserError("Say which server: --host http://127.0.0.1:8080.")
    parts = urlsplit(options.host)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError(f"--host is the address of a server, as http://127.0.0.1:8080, and not {options.host!r}.")
    if options.max_models < 1:
        raise UserError(f"--max-models is a number of models, at least 1, and not {options.max_models}.")
    if not 0 <= options.bad_share < 1:
        raise UserError(f"--bad-share is a share of the requests, from 0 to below 1, and not {options.bad_share:g}.")
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
    """Name the gate, and by which of its protocols alone it is run."""
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
            raise UserError(f"The gate {options.gate} says that already: leave {given} out, or leave --gate out.")
        gate = file.gates[options.gate]
        if others := set(options.protocol or ()).difference(gate.protocols):
            asks = ", ".join(gate.protocols)
            raise UserError(f"The gate {options.gate} asks by {asks}, and not by {', '.join(sorted(others))}.")
        kept = tuple(protocol for protocol in gate.protocols if protocol in (options.protocol or gate.protocols))
        return gate.model_copy(update={"protocols": kept})
    if not own:
        return None
    if not {"rate", "duration"} <= own.keys():
        raise UserError("A shape takes --rate, its highest, and --duration, for example --rate 20 --duration 60s.")
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
        told = "; ".join(sentence(problem, SLO.name, list(Gate.model_fields)) for problem in error.errors())
        raise UserError(f"That is no test: {told}") from error
    if unknown := [protocol for protocol in gate.protocols if protocol not in file.objectives.latency]:
        raise UserError(f"objectives.latency in {options.slo} has none for {unknown[0]}.")
    return gate
