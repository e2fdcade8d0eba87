"""Table of which alert tells of each fault after how many seconds: python -m tests.monitoring.drill

Exit status 1 where a fault that hurts users paged nobody within 90 s, where one that does not paged somebody, where the
ticket of a fault did not come, or where an alert did not end after its fault.
"""

import contextlib
import json
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from handler.files import UserError, write_atomic
from monitoring.objectives import Objectives
from monitoring.slo_file import read
from tests.monitoring.drill.archives import WELL, for_drill
from tests.monitoring.drill.clients import Load
from tests.monitoring.drill.faults import FAULTS, Fault, Scene
from tests.monitoring.drill.processes import Server, serving, waited
from tests.monitoring.drill.watching import rules_of, watched
from tests.zoo import ROOT

WITHIN_S, WARM_S, WORKERS, CLIENTS = 90, 20, 2, 3
PATH = click.Path(path_type=Path)
HEAD = "| fault | hurts users | alert, after seconds | resolved | as expected |\n| --- | --- | --- | --- | --- |"


@dataclass(frozen=True)
class Outcome:
    """Outcome of a fault: the seconds after which each alert reached the webhook."""

    fault: str
    title: str
    hurts: bool
    scale: int
    alerts: dict[str, float]
    resolved: float | None
    """Seconds from the end of the fault to the end of its last page, or of its ticket; None where there is none."""
    kept: bool

    def row(self) -> str:
        told = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in self.alerts.items()) or "none"
        note = f" (durations of its rules divided by {self.scale})" if self.scale > 1 else ""
        ended = "" if self.resolved is None else f"after {self.resolved:.0f} s"
        return f"| {self.title}{note} | {yes(self.hurts)} | {told} | {ended} | {yes(self.kept)} |"


def yes(value: bool) -> str:
    return "yes" if value else "no"


def drill(scene: Scene, fault: Fault, objectives: Objectives, alertmanager: str) -> Outcome:
    """Inject a fault into a server that is well, and return what came of it."""
    scene.reach(scene.server.metrics)
    awaited = f"ticket {fault.ticket}" if fault.ticket else "page "
    rules = rules_of(objectives, fault.ticket, fault.scale)
    with scene.load.sent(CLIENTS), watched(scene.folder, rules, alertmanager) as (hook, _):
        time.sleep(WARM_S)  # the traffic before the fault, by which the fault is told
        early = set(hook.fired)
        with fault.inject(scene):
            before = time.monotonic()
            waited(WITHIN_S, lambda: any(name.startswith(awaited) for name in hook.fired))
            reached = {name: at - before for name, at in sorted(hook.fired.items(), key=lambda item: item[1])}
        ended = time.monotonic()
        # Another ticket may stay: one about an hour's restarts does, for an hour.
        mine = {name for name in hook.fired if name.startswith(("page ", awaited))}
        over = waited(fault.fades_s, lambda: mine <= hook.resolved.keys())
        last = max((hook.resolved[name] - ended for name in mine & hook.resolved.keys()), default=None)
    paged = any(name.startswith("page ") for name in reached)
    missed = bool(fault.ticket) and awaited not in reached
    kept = paged == fault.hurts and not missed and over and not early
    resolved = max(0.0, last) if over and last is not None else None
    return Outcome(fault.name, fault.title, fault.hurts, fault.scale, reached, resolved, kept)


def chosen(only: tuple[str, ...]) -> list[Fault]:
    known = [fault.name for fault in FAULTS]
    if unknown := [name for name in only if name not in known]:
        raise UserError(f"There is no fault {unknown[0]}: --only takes {', '.join(known)}.")
    return [fault for fault in FAULTS if not only or fault.name in only]


def seen(results: Path | None) -> dict[str, Outcome]:
    """Return the outcomes by fault that a file holds from an earlier run, of those that went as they should."""
    if results is None or not results.exists():
        return {}
    try:
        read_back = [Outcome(**values) for values in json.loads(results.read_bytes()).values()]
        return {one.fault: one for one in read_back if one.kept}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{results} holds no outcomes of a drill: name another file by --results.") from error


def tools(command: Path, alertmanager: str) -> None:
    """Check that all that the drill starts is there."""
    for name, package in (("prometheus", "prometheus"), (alertmanager, "prometheus-alertmanager")):
        if shutil.which(name) is None:
            raise UserError(f"{name} is not installed: apt-get install {package}")
    if not command.exists():
        raise UserError(f"{command} does not exist: make .venv/.installed")


@click.command()
@click.option("--server", "command", type=PATH, default=Path(".venv/bin/catsdogs"), show_default=True)
@click.option("--archive", type=PATH, default=Path("model-store/catsdogs.mar"), show_default=True)
@click.option("--alertmanager", default="prometheus-alertmanager", show_default=True)
@click.option("--only", multiple=True, metavar="FAULT", help="Inject this fault alone. Repeatable.")
@click.option(
    "--slo-profile", metavar="NAME", help="Profile of loadtest/slo.yaml. Default: its objectives as they are."
)
@click.option(
    "--results", type=PATH, help="File of outcomes: those in it are not sought again, and new ones are added."
)
def main(
    command: Path,
    archive: Path,
    alertmanager: str,
    only: tuple[str, ...],
    slo_profile: str | None,
    results: Path | None,
) -> None:
    """Inject each fault into a real server, and print which alert reached the webhook when."""
    try:
        faults, outcomes = chosen(only), seen(results)
        tools(command, alertmanager)
        objectives = read(ROOT / "loadtest" / "slo.yaml", slo_profile).objectives
    except UserError as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    thresholds = sorted({latency.threshold for latency in objectives.latency.values()})
    slow = " or ".join(f"{one:g} s" for one in thresholds)
    click.echo(f"A request is slow after {slow}. {CLIENTS} clients send pictures all the time.\n{HEAD}")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="catsdogs-drill-")))
        switch = folder / "switch"
        switch.write_text(WELL)
        made = for_drill(archive, folder / "drill.mar", switch)
        server: Server | None = None
        for fault in faults:
            if fault.name not in outcomes:
                server = server or stack.enter_context(serving(command.absolute(), made, folder / "server", WORKERS))
                own = folder / fault.name
                own.mkdir()
                scene = Scene(server, Load(server.url), own, switch, command.absolute(), made)
                outcomes[fault.name] = drill(scene, fault, objectives, alertmanager)
                if results is not None:
                    write_atomic(results, json.dumps({k: asdict(v) for k, v in outcomes.items()}, indent=2).encode())
            click.echo(outcomes[fault.name].row())
    sys.exit(0 if all(outcomes[fault.name].kept for fault in faults) else 1)


def interrupted(number: int, frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, interrupted)
    main()
