"""Settings of a test, from Locust's options, ours and slo.yaml."""

import argparse
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from handler.files import UserError
from loadtest import slo
from loadtest.defaults import PICTURES, SLO
from loadtest.generate.clients import Address
from loadtest.generate.shapes import Stage, stages
from loadtest.slo import Gate
from monitoring.objectives import Objectives
from serving.client.answers import is_class
from serving.gateway.keys import read_secret
from training.config import sentence

GRPC_PORT = 7070
LOCAL = ("127.0.0.1", "localhost", "[::1]")


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
    sha256: str | None = None
    """That of the weights that have these classes; a rollout may bring others."""

    def knows(self, label: str) -> bool:
        """May the model predict this? Labels that it does not know are not compared with its answers."""
        return not self.classes or is_class(self.classes, label)

    @property
    def end(self) -> float:
        return self.stages[-1].end if self.stages else 0.0


def settle(options: argparse.Namespace) -> Settings:
    """Return the settings that Locust's options and slo.yaml make.

    Raises:
        UserError: options that contradict each other, or slo.yaml.
    """
    file = slo.load(Path(options.slo), options.slo_profile)
    objectives = slo.p99_within(options.p99, file.objectives) if options.p99 else file.objectives
    check_ranges(options)
    host = host_of(options.host)
    gate = choose_gate(options, file)
    protocols: tuple[str, ...] = gate.protocols if gate else tuple(options.protocol or ["rest"])
    users, rate_per_user = users_of(gate) if gate else (0, float(options.rate_per_user))
    return Settings(
        objectives=objectives,
        gate_name=gate_name(options, gate, file),
        gate=gate,
        stages=stages(gate.shape, gate.rate, gate.duration, gate.warmup) if gate else [],
        protocols=protocols,
        loop=options.loop,
        users=users,
        rate_per_user=rate_per_user,
        address=address_of(options, host, file.service),
        metrics=options.metrics or (f"http://{host}:8082/metrics" if host in LOCAL else None),
        metrics_asked=bool(options.metrics),
        pictures=Path(options.pictures or PICTURES),
        max_models=options.max_models,
        options=options,
    )


def check_ranges(options: argparse.Namespace) -> None:
    """
    Raises:
        UserError: an option's value is outside of its range.
    """
    if options.max_models < 1:
        raise UserError(f"--max-models must be 1 or more, not {options.max_models}.")
    if not 0 <= options.bad_share < 1:
        raise UserError(f"--bad-share must be a share from 0 to below 1, not {options.bad_share:g}.")


def host_of(url: str | None) -> str:
    """Return the host of the server's URL, an IPv6 address in brackets.

    Raises:
        UserError: there is no URL, or it is none of a server.
    """
    if not url:
        raise UserError("Name the server by --host, such as --host http://127.0.0.1:8080.")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError(f"--host must be the URL of a server, such as http://127.0.0.1:8080, not {url!r}.")
    return f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname


def users_of(gate: Gate) -> tuple[int, float]:
    """Return the number of users at the highest rate, and the requests per second of each.

    A user is a share of the rate: there are enough of them for a fine ramp, and equally many for each protocol.
    """
    protocols = len(gate.protocols)
    users = protocols * min(max(1, round(gate.rate / protocols)), max(1, 100 // protocols))
    return users, gate.rate / users


def address_of(options: argparse.Namespace, host: str, service: str) -> Address:
    """Return where the server is, and how it is trusted.

    Args:
        service: name of the model where none is given.

    Raises:
        UserError: the CA bundle cannot be read.
    """
    try:
        ca = Path(options.ca).read_bytes() if options.ca else None
        trust = ssl.create_default_context(cadata=ca.decode()) if ca else None
    except (OSError, ValueError) as error:
        raise UserError(f"--ca {options.ca}: {error}") from error
    return Address(
        url=options.host.rstrip("/"),
        grpc=options.grpc or f"{host}:{GRPC_PORT}",
        model=options.model or service,
        key=read_secret("CATSDOGS_KEY").split("\n")[0].strip() or None,
        trust=trust,
        ca=ca,
        server_name=options.server_name,
        timeout_s=options.request_timeout,
    )


def gate_name(options: argparse.Namespace, gate: Gate | None, file: slo.Slo) -> str | None:
    """Return the gate's name, with the protocols where only some of its are tested."""
    if not options.gate or gate is None or gate.protocols == file.gates[options.gate].protocols:
        return options.gate or None
    return f"{options.gate} by {', '.join(gate.protocols)}"


def choose_gate(options: argparse.Namespace, file: slo.Slo) -> Gate | None:
    """Return the gate of slo.yaml that is named, or one made of --rate and --duration; None where there is neither.

    Raises:
        UserError: there is no such gate, or the options contradict it.
    """
    own = {name: getattr(options, name) for name in ("shape", "rate", "duration", "warmup") if getattr(options, name)}
    if options.gate:
        return named_gate(options, file, own)
    return own_gate(options, file, own) if own else None


def named_gate(options: argparse.Namespace, file: slo.Slo, own: Mapping[str, Any]) -> Gate:
    """Return a gate of slo.yaml, with the protocols that are asked for."""
    if options.gate not in file.gates:
        raise UserError(f"{options.slo} has no gate {options.gate}; it has {', '.join(file.gates)}.")
    if own:
        given = ", ".join(f"--{name}" for name in own)
        raise UserError(f"The gate {options.gate} sets {given} itself: leave out {given}, or leave out the gate.")
    gate = file.gates[options.gate]
    if others := set(options.protocol or ()).difference(gate.protocols):
        tested = ", ".join(gate.protocols)
        raise UserError(f"The gate {options.gate} tests {tested}, not {', '.join(sorted(others))}.")
    kept = tuple(protocol for protocol in gate.protocols if protocol in (options.protocol or gate.protocols))
    return gate.model_copy(update={"protocols": kept})


def own_gate(options: argparse.Namespace, file: slo.Slo, own: Mapping[str, Any]) -> Gate:
    """Return a gate made of options: it asserts what its sample shows."""
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
