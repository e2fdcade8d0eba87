"""The verbs of the load test: loadtest and capacity. Both start Locust with the options that it needs."""

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
SERVER_OPTIONS = (
    click.option("--url", default="http://127.0.0.1:8080", show_default=True, help="URL of the server's REST API."),
    click.option(
        "--serve",
        type=PATH,
        metavar="CATSDOGS",
        help="Start a server for the test by this program, the catsdogs of another environment.",
    ),
    click.option("--grpc", metavar="HOST:PORT", help="Address of gRPC. Default: port 7070 of the URL's host."),
    click.option(
        "--metrics",
        metavar="URL",
        help="URL of the gateway's metrics. Default: port 8082 of the URL's host, if that is this machine.",
    ),
    click.option(
        "--model",
        metavar="NAME",
        help="Name of the model. Default: the one that the server lists in /v1/models.",
    ),
    click.option(
        "--max-models",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        help="Maximum number of models that answer side by side: 2 with a canary. A rollout may add one for a time.",
    ),
    click.option(
        "--slo",
        type=PATH,
        default=SLO,
        help="File of objectives, gates and the search. Default: the shipped loadtest/slo.yaml.",
    ),
    click.option(
        "--pictures",
        type=PATH,
        help="Folder of pictures, in subfolders named by their class. Default: sample cats and dogs.",
    ),
    click.option("--seed", default=0, show_default=True, help="Seed of the arrivals and the pictures."),
    click.option("--processes", type=click.IntRange(1), help="Number of processes that generate load. Default: one."),
    click.option("--ca", type=PATH, help="CA bundle (PEM) used to verify an https server."),
    click.option("--server-name", help="Name that the server's certificate must carry. Default: the host of the URL."),
    click.option(
        "--wait",
        default=0.0,
        show_default=True,
        metavar="SECONDS",
        help="Maximum seconds to wait until the server is ready.",
    ),
)
"""The options of both verbs: the server, and how it is asked."""


def server_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of both verbs to a command."""
    for option in reversed(SERVER_OPTIONS):
        command = option(command)
    return command


@click.command()
@click.argument("gate", required=False)
@server_options
@click.option("--shape", type=click.Choice(SHAPES), help="Course of the rate over the test, in place of a gate.")
@click.option(
    "--protocol",
    "protocols",
    multiple=True,
    type=click.Choice(PROTOCOLS),
    help="Protocol that is tested, repeatable. Default: rest, or all protocols of the gate. With a gate, only those of "
    "its protocols that are given are tested, at its whole rate.",
)
@click.option("--rate", type=float, help="Highest rate of the shape, in requests per second.")
@click.option("--duration", help="Duration of the shape, after the warm-up: 90s, 3m or 1h.")
@click.option("--warmup", help="Duration of the warm-up, whose requests are not counted.")
@click.option(
    "--loop",
    type=click.Choice(("open", "closed")),
    default="open",
    show_default=True,
    help="open: requests arrive at the rate, whether or not others were answered. closed: each user waits for its "
    "answer, which hides delays; for comparison only.",
)
@click.option(
    "--bad-share",
    type=float,
    default=0.0,
    show_default=True,
    help="Share of the requests that send a picture broken on purpose, from 0 to below 1.",
)
@click.option("--out", type=PATH, help="Folder of the report. Default: runs/load/GATE.")
@click.option("--compare", type=PATH, help="File summary.json of an earlier test that this one is compared with.")
@click.option("--print-summary", is_flag=True, help="Print summary.json on standard output, between two marker lines.")
@click.option("--master", is_flag=True, help="Coordinate and judge the load of workers on other machines.")
@click.option("--expect-workers", type=click.IntRange(1), help="Number of workers that --master waits for.")
@click.option("--worker", is_flag=True, help="Generate load for a master on another machine.")
@click.option("--master-host", help="Host of the master that a --worker connects to.")
def loadtest(gate: str | None, **options: Any) -> None:
    """Load a server, and judge whether it keeps its service level objectives.

    It prints a verdict and figures, and writes a report. GATE is a gate of slo.yaml. Default: quick, which takes 2
    minutes. Give --rate and --duration for a test of your own.

    Before the load one picture is sent by each protocol. A model that the server does not have, a missing key, or gRPC
    that does not answer at the default address are wrong usage.

    Exit status: 0 PASS; 10 BREACH, an objective is not kept; 11 INCONCLUSIVE, too few requests to decide; 12 INVALID,
    the measurement cannot be trusted; 13 no server is ready; 2 wrong usage.
    """
    own = any(options[name] for name in ("shape", "rate", "duration", "warmup"))
    if gate is None and not own:
        gate = "quick"
    out = options.pop("out") or OUT / (gate or options["shape"] or "steady")
    if options["master"] and not options["expect_workers"]:
        raise UserError("--master waits for workers: give their number by --expect-workers.")
    if options["worker"] and not options["master_host"]:
        raise UserError("--worker takes its work from a master: name the master's host by --master-host.")
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
    "--protocol",
    "protocols",
    multiple=True,
    type=click.Choice(PROTOCOLS),
    default=("rest",),
    show_default=True,
    help="Protocol whose capacity is searched for, repeatable.",
)
@click.option("--out", type=PATH, default=Path("runs/capacity"), show_default=True, help="Folder of the report.")
def capacity(**options: Any) -> None:
    """Search for the highest rate at which a server keeps its objectives.

    The search runs for each protocol. It doubles the rate until an objective of latency or availability is breached,
    bisects, and confirms the result by longer runs, as the section `capacity` of slo.yaml says.

    Exit status: 0 a rate is confirmed for each protocol; 10 for one, none is; 12 the load generator is the limit;
    13 no server is ready.
    """
    from loadtest.capacity.measure import run

    program = options.pop("serve")
    if program is None:
        sys.exit(run(**options))
    with serving(program) as places:
        sys.exit(run(**{**options, **places}))
