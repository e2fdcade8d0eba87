"""The verbs of the load test: loadtest and capacity. Both start Locust with the options that it needs."""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from handler.files import UserError
from loadtest.defaults import PICTURES, PROTOCOLS, SLO
from loadtest.generate.local import serving
from loadtest.generate.locust_process import TYPED, command, start
from loadtest.generate.shapes import SHAPES

PATH = click.Path(path_type=Path)
OUT = Path("runs/load")
# A busy server on the same cores would delay the generator, which stands for clients on machines of their own.
SERVER_NICE = 5
SERVER_OPTIONS = (
    click.option("--url", default="http://127.0.0.1:8080", show_default=True, help="URL of the server's REST API."),
    click.option(
        "--serve",
        type=PATH,
        metavar="CATSDOGS",
        help="Start a server for the test with this program: the catsdogs of another environment.",
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
        "--slo-profile",
        metavar="NAME",
        help="Profile of the file: the shipped one has `shared`, for small or shared machines and for fp32. Default: "
        "the file's main objectives.",
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

    os.environ[TYPED] = shlex.join(["catsdogs", *sys.argv[1:]])
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
@click.option(
    "--p99",
    metavar="DURATION",
    help="Replace the objectives of slo.yaml: 99 % of the requests answered within this time, such as 100ms.",
)
@click.option(
    "--limit",
    is_flag=True,
    help="Also measure the handler without a server, before each confirming run, and report the capacity as a share of "
    "its rate. Needs --serve, and the server's archive in model-store/.",
)
@click.option(
    "--min-share",
    type=click.FloatRange(0, 2, min_open=True),
    help="Minimum share for --limit, such as 0.85. Implies --limit.",
)
@click.option("--out", type=PATH, default=Path("runs/capacity"), show_default=True, help="Folder of the report.")
def capacity(**options: Any) -> None:
    """Search for the highest rate at which a server keeps its objectives.

    The search runs for each protocol. It doubles the rate until an objective of latency or availability is breached,
    bisects, and confirms the result by longer runs, as the section `capacity` of slo.yaml says. Requests arrive at
    random (a Poisson process), and latency counts from the time at which a request was due.

    Exit status: 0 PASS, a rate is confirmed for each protocol, and its share is at least --min-share; 10 BREACH, for a
    protocol no rate is confirmed, or the share is lower; 11 INCONCLUSIVE, the rounds cannot decide on the share; 12
    INVALID, the load generator is the limit, or the rounds without a server differ by more than 25 %; 13 NOT_READY, no
    server is ready.
    """
    from loadtest.capacity.measure import run

    program = options.pop("serve")
    if options.pop("limit") or options["min_share"] is not None:
        if program is None:
            raise UserError("--limit measures the handler in the server's environment: name its catsdogs by --serve.")
        options["no_server"] = limit_of(program, options["pictures"])
    if program is None:
        sys.exit(run(**options))
    with serving(program, SERVER_NICE) as places:
        sys.exit(run(**{**options, **places}))


def limit_of(program: Path, pictures: Path | None) -> Callable[[], float]:
    """Return a function that measures the handler without a server, in the environment of this catsdogs.

    Raises:
        UserError: the program lies in no environment, or there is no archive.
    """
    from common.cores import usable_cores
    from loadtest.rivals.batch import served_batch
    from loadtest.rivals.no_server import NoServer
    from serving.cli.options import ARCHIVE

    python = program.absolute().with_name("python")
    if not python.exists():
        raise UserError(f"--limit needs the Python of the server's environment, and {python} does not exist.")
    return NoServer(python, ARCHIVE, pictures or PICTURES, served_batch(ARCHIVE), usable_cores()).rate
