"""The verbs of this room: loadtest and capacity. Both start Locust, and hand over what it has to know."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from handler.files import UserError
from loadtest.defaults import PROTOCOLS, SLO
from loadtest.generate.local import serving
from loadtest.generate.locust_process import command, start
from loadtest.generate.shapes import SHAPES

PATH = click.Path(path_type=Path)
OUT = Path("runs/load")


def server_options(command: Callable[..., None]) -> Callable[..., None]:
    """Which server, and how it is asked: of both verbs."""
    for option in reversed(
        (
            click.option("--url", default="http://127.0.0.1:8080", show_default=True, help="REST."),
            click.option("--serve", type=PATH, metavar="CATSDOGS", help="Start a server for it, by this program."),
            click.option("--grpc", metavar="HOST:PORT", help="By default port 7070 of the URL's host."),
            click.option("--metrics", metavar="URL", help="By default port 8082 of the URL's host, if it answers."),
            click.option("--model", metavar="NAME", help="By default the model that the server names in /v1/models."),
            click.option(
                "--max-models",
                type=click.IntRange(1),
                default=1,
                show_default=True,
                help="Models that may answer side by side: 2 with a canary. A rollout may add one for a time.",
            ),
            click.option("--slo", type=PATH, default=SLO, help="Instead of the shipped loadtest/slo.yaml."),
            click.option(
                "--pictures", type=PATH, help="Folders of pictures, named by class; by default cats and dogs."
            ),
            click.option("--seed", default=0, show_default=True, help="Of arrivals and pictures."),
            click.option("--processes", type=click.IntRange(1), help="That generate load; by default one."),
            click.option("--ca", type=PATH, help="With https: CA bundle (PEM) used to verify the server."),
            click.option("--server-name", help="Whom its certificate must name, where that is not the host."),
            click.option("--wait", default=0.0, show_default=True, help="Seconds to wait until it is ready."),
        )
    ):
        command = option(command)
    return command


@click.command()
@click.argument("gate", required=False)
@server_options
@click.option("--shape", type=click.Choice(SHAPES), help="How the rate runs, instead of a gate of slo.yaml.")
@click.option(
    "--protocol",
    "protocols",
    multiple=True,
    type=click.Choice(PROTOCOLS),
    help="Repeatable. With a gate: only these of its protocols, at its whole rate.",
)
@click.option("--rate", type=float, help="The shape's highest, requests per second.")
@click.option("--duration", help="90s, 3m, 1h.")
@click.option("--warmup", help="What is not counted, before it.")
@click.option("--loop", type=click.Choice(("open", "closed")), default="open", help="closed: as a comparison.")
@click.option("--bad-share", type=float, default=0.0, help="Of the requests, those with a broken picture.")
@click.option("--out", type=PATH, help="Folder of the report; by default runs/load/GATE.")
@click.option("--compare", type=PATH, help="The summary.json of another test.")
@click.option("--print-summary", is_flag=True, help="summary.json to standard output, between two marked lines.")
@click.option("--master", is_flag=True, help="Of several machines: this one judges, and generates nothing.")
@click.option("--expect-workers", type=click.IntRange(1), help="With --master: so many others.")
@click.option("--worker", is_flag=True, help="Of several machines: this one generates.")
@click.option("--master-host", help="With --worker: the one that judges.")
def loadtest(gate: str | None, **options: Any) -> None:
    """A server -> does it keep its service level?

    A verdict, figures, and a report to look at.
    GATE is one of slo.yaml's, by default quick (2 minutes); or say --rate and --duration.

    Before the load one picture is sent by each protocol: a model that the server does not have, a missing key, or
    gRPC that does not answer at the default address are wrong usage.

    Exit status: 0 PASS; 10 BREACH, an objective is not kept; 11 INCONCLUSIVE, too few requests to know; 12 INVALID, the
    measurement is not to be believed; 13 no server is ready; 2 wrong usage.
    """
    own = any(options[name] for name in ("shape", "rate", "duration", "warmup"))
    if gate is None and not own:
        gate = "quick"
    out = options.pop("out") or OUT / (gate or options["shape"] or "steady")
    if options["master"] and not options["expect_workers"]:
        raise UserError("--master waits for others: say for how many by --expect-workers.")
    if options["worker"] and not options["master_host"]:
        raise UserError("--worker is told what to do by another: say by which by --master-host.")
    options |= {"gate": gate, "out": None if options["worker"] else out, "progress": not options["worker"]}
    if options["master"]:
        options["expect_workers_max_wait"] = 300
    import locust  # noqa: F401  or its absence is said here, as for any other verb's packages

    program = options.pop("serve")
    if program is None:
        start(command(**options))
    with serving(program) as places:
        # Ctrl-C is for the test, which judges what it measured; a signal that is ignored would be so there, too.
        signal.signal(signal.SIGINT, lambda number, frame: None)
        sys.exit(subprocess.run(command(**{**options, **places}), check=False).returncode)


@click.command()
@server_options
@click.option(
    "--protocol", "protocols", multiple=True, type=click.Choice(PROTOCOLS), default=("rest",), show_default=True
)
@click.option("--out", type=PATH, default=Path("runs/capacity"), show_default=True, help="Folder of the report.")
def capacity(**options: Any) -> None:
    """A server -> the highest rate that keeps its service level.

    That is its latency's objective, by each protocol. Doubles the rate until the objective breaks, bisects, and
    confirms what it found by longer runs, as slo.yaml's section capacity says.

    Exit status: 0 found; 10 none is kept; 12 the generator is the limit; 13 no server is ready.
    """
    from loadtest.capacity.measure import run

    program = options.pop("serve")
    if program is None:
        sys.exit(run(**options))
    with serving(program) as places:
        sys.exit(run(**{**options, **places}))
