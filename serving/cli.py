"""The verbs of this room: serve and its two halves, probe, check, predict, demo."""

import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from handler.files import UserError

if TYPE_CHECKING:
    from rich.table import Table

    from serving.launch import Options
    from serving.predict import Verdict

PATH = click.Path(path_type=Path)
ARCHIVE = Path("model-store/catsdogs.mar")


@click.command()
@click.argument("archive", default=ARCHIVE, type=PATH)
@click.option("--sha256", help="What the archive must have.")
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0 opens it to the network.")
@click.option("--port", default=8080, show_default=True, help="REST and the page.")
@click.option("--grpc-port", default=7070, show_default=True)
@click.option("--metrics-port", default=8082, show_default=True, help="Prometheus.")
@click.option("--any-port", is_flag=True, help="Take a free port where one is in use.")
@click.option("--workers", type=click.IntRange(1), help="Processes that answer; by default one per core.")
@click.option("--keys", type=PATH, help="File with an API key per line, read at each request; without it all may ask.")
@click.option(
    "--cors-origin",
    "cors_origins",
    multiple=True,
    metavar="ORIGIN",
    help="Let this origin's pages ask, as https://example.org; repeatable; * for all. By default none.",
)
@click.option("--drain", default=0.5, show_default=True, help="Seconds to tell clients to leave before stopping.")
@click.option("--verbose", is_flag=True, help="Show what TorchServe and its workers log.")
def serve(
    archive: Path,
    sha256: str | None,
    host: str,
    any_port: bool,
    keys: Path | None,
    cors_origins: tuple[str, ...],
    verbose: bool,
    **numbers: Any,
) -> None:
    """Archive -> TorchServe behind the gateway, until Ctrl-C.

    ARCHIVE is a .mar that `catsdogs package` made. A key is made by:
    python -c 'import secrets; print(secrets.token_urlsafe(32))' >> keys
    """
    from serving.launch import Server

    stop = threading.Event()
    signals: list[int] = []

    def on_signal(number: int, frame: object) -> None:
        if stop.is_set():
            signal.signal(signal.SIGINT, signal.default_int_handler)  # a second Ctrl-C does not wait
        signals.append(number)
        stop.set()

    options = server_options(archive, sha256, host, any_port, verbose, keys=keys, cors_origins=cors_origins, **numbers)
    started = time.monotonic()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    server = Server(options, stop)
    with server:
        if not stop.is_set():
            say(f"Ready after {time.monotonic() - started:.1f} s, with {options.workers} workers:")
            say(f"  page     {options.url}/")
            say(f"  REST     curl --data-binary @photo.jpg {options.url}/predictions/{options.archive.name}")
            say(f"  gRPC     {options.host}:{options.ports.grpc}")
            say(f"  metrics  http://{options.host}:{options.ports.metrics}/metrics")
            say("Ctrl-C stops it.")
        while not stop.wait(0.5):
            server.check_children()
        say("Stopping: finishing what is in flight.")
    say("Stopped.")


def server_options(
    archive: Path,
    sha256: str | None = None,
    host: str = "127.0.0.1",
    any_port: bool = False,
    verbose: bool = False,
    *,
    port: int = 8080,
    grpc_port: int = 7070,
    metrics_port: int = 8082,
    workers: int | None = None,
    drain: float = 0.5,
    startup_s: float = 90,
    keys: Path | None = None,
    cors_origins: tuple[str, ...] = (),
) -> "Options":
    """Checks everything that can be checked before a process is started, and says what will be."""
    from serving.archive import read_archive
    from serving.caddy import Ports
    from serving.cors import check_origins
    from serving.java import find_java
    from serving.keys import check_keys
    from serving.launch import Options, choose_ports
    from serving.settings import choose_limits

    checked = read_archive(archive, sha256)
    if keys is not None:
        check_keys(keys)
    check_origins(cors_origins)
    java = find_java()
    options = Options(
        archive=checked,
        java=java,
        limits=choose_limits(workers),
        host=host,
        ports=choose_ports(host, Ports(port, grpc_port, metrics_port), any_port),
        drain_s=drain,
        startup_s=startup_s,
        keys=keys,
        cors_origins=cors_origins,
        verbose=verbose,
    )
    say(f"Starting TorchServe on {checked.name} {checked.version} (Java {java.version}: {java.path})")
    return options


RUN = Path("/run/catsdogs")
UPSTREAM = click.option(
    "--upstream-port", default=17070, show_default=True, help="gRPC between the halves, on loopback."
)


@click.command()
@click.argument("archive", default=ARCHIVE, type=PATH)
@click.option("--run", default=RUN, show_default=True, type=PATH, help="Folder that it shares with the gateway.")
@click.option("--sha256", help="What the archive must have.")
@click.option("--workers", type=click.IntRange(1), help="Processes that answer; by default one per core.")
@click.option("--queue", type=click.IntRange(1), help="Requests that may wait; by default as many as memory allows.")
@UPSTREAM
@click.option("--verbose", is_flag=True, help="Show what TorchServe and its workers log.")
def torchserve(
    archive: Path,
    run: Path,
    sha256: str | None,
    workers: int | None,
    queue: int | None,
    upstream_port: int,
    verbose: bool,
) -> None:
    """TorchServe's half of the server, for a container of its own.

    Started before the gateway and stopped after it: in a pod, an init container that is restarted always.
    """
    from serving.archive import read_archive
    from serving.java import find_java
    from serving.launch import free_ports
    from serving.settings import choose_limits
    from serving.torchserve import TorchServe, run_alone

    checked, java, limits = read_archive(archive, sha256), find_java(), choose_limits(workers, queue)
    if not run.is_dir():
        raise UserError(f"There is no folder {run}. Mount one there, or name another by --run.")
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    (management_port,) = free_ports(1)
    say(
        f"Starting TorchServe on {checked.name} {checked.version} with {limits.workers} workers, a queue of "
        f"{limits.queue} and a heap of {limits.heap_mib} MiB (Java {java.version}: {java.path})"
    )
    run_alone(TorchServe(checked, java, run, limits, upstream_port, management_port, verbose), stop)
    say("Stopped.")


@click.command()
@click.option("--run", default=RUN, show_default=True, type=PATH, help="Folder that it shares with TorchServe.")
@click.option("--model", default="catsdogs", show_default=True, help="Its name, which is part of its address.")
@click.option("--host", default="0.0.0.0", show_default=True)
@click.option("--port", default=8080, show_default=True, help="REST and the page.")
@click.option("--grpc-port", default=7070, show_default=True)
@click.option("--metrics-port", default=8082, show_default=True, help="Prometheus.")
@click.option("--keys", type=PATH, help="File with an API key per line, read at each request; without it all may ask.")
@click.option("--cors-origin", "cors_origins", multiple=True, metavar="ORIGIN", help="As of `serve`.")
@click.option("--drain", default=10.0, show_default=True, help="Seconds to be unready and still answer, when stopped.")
@click.option("--grace", default=20.0, show_default=True, help="Seconds for what is in flight after that.")
@UPSTREAM
def gateway(
    run: Path,
    model: str,
    host: str,
    port: int,
    grpc_port: int,
    metrics_port: int,
    keys: Path | None,
    cors_origins: tuple[str, ...],
    drain: float,
    grace: float,
    upstream_port: int,
) -> None:
    """The gateway's half of the server, for a container of its own.

    Becomes Caddy, which drains by itself when it is told to stop.
    """
    import os

    from serving.caddy import Gateway, Ports
    from serving.cors import check_origins
    from serving.keys import check_keys

    if keys is not None:
        check_keys(keys)
    check_origins(cors_origins)
    ports = Ports(port, grpc_port, metrics_port)
    half = Gateway(run, model, upstream_port, host, ports, drain, grace, keys, cors_origins)
    command = half.command()
    os.execve(command[0], command, {**os.environ, **half.environment()})


@click.command()
@click.option("--url", default="http://127.0.0.1:8080", show_default=True)
@click.option("--grpc", metavar="HOST:PORT", help="Ask by gRPC too.")
@click.option("--metrics", metavar="URL", help="Read the metrics too, as http://127.0.0.1:8082/metrics.")
@click.option("--key", envvar="CATSDOGS_KEY", help="API key; better by $CATSDOGS_KEY, which no process list shows.")
@click.option("--pictures", default=Path("docs/samples"), show_default=True, type=PATH, help="In folders by class.")
def check(url: str, grpc: str | None, metrics: str | None, key: str | None, pictures: Path) -> None:
    """Ask a running server for known verdicts by every protocol.

    Exit status 0 says that all were right.
    """
    from serving.check import Target
    from serving.check import check as run_check

    failed = False
    # A Secret's entry has a key a line, as the gateway's file has: the first will do.
    first = next(iter((key or "").split()), None)
    for finding in run_check(Target(url, grpc, metrics, first), pictures):
        failed |= finding.problem is not None
        click.echo(
            f"{'FAIL' if finding.problem else 'ok  '}  {finding.what}" + f": {finding.problem}" * bool(finding.problem)
        )
    sys.exit(failed)


@click.command()
@click.argument("question", type=click.Choice(["startup", "ready", "live"]))
@click.option("--run", envvar="CATSDOGS_RUN", type=PATH, help="TorchServe's folder; $CATSDOGS_RUN.")
@click.option("--url", default="http://127.0.0.1:8080", show_default=True, help="The gateway to ask without a folder.")
def probe(question: str, run: Path | None, url: str) -> None:
    """Is the server started, ready, alive? Exit status 0 says yes.

    With a folder the workers' heartbeats and TorchServe's frontend are looked at, without a request that could
    queue; without one the gateway is asked.
    """
    from serving.probe import ask_gateway, main

    sys.exit(main([question, str(run)]) if run else ask_gateway(question, url))


def say(sentence: str) -> None:
    """Progress goes to standard error; standard output is for answers."""
    print(sentence, file=sys.stderr, flush=True)


@click.command()
@click.argument("paths", nargs=-1, required=True, type=PATH)
@click.option("--url", help="Ask a server, for example http://127.0.0.1:8080, instead of answering here.")
@click.option("--model", default=ARCHIVE, show_default=True, type=PATH, help="The .mar to answer with here.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document per line instead of a table.")
def predict(paths: tuple[Path, ...], url: str | None, model: Path, as_json: bool) -> None:
    """Pictures -> verdicts, offline or by a server.

    PATHS are pictures or folders of them. The exit status is 1 where a picture got no verdict.
    """
    import json

    from rich.console import Console
    from rich.progress import track

    from serving.predict import find_pictures, predict_by_server, predict_offline

    pictures = find_pictures(paths)
    verdicts = predict_by_server(pictures, url) if url else predict_offline(pictures, model)
    if as_json:
        failed = False
        for verdict in verdicts:
            print(json.dumps(verdict.as_json()), flush=True)
            failed |= verdict.answer is None
        sys.exit(failed)
    console = Console(stderr=True)
    shown = list(
        track(verdicts, "predicting", len(pictures), console=console, transient=True, disable=not sys.stderr.isatty())
    )
    Console().print(verdict_table(shown))
    sys.exit(any(verdict.answer is None for verdict in shown))


def verdict_table(verdicts: "list[Verdict]") -> "Table":
    """A row per picture; where pictures lie in class folders, their true class beside the verdict."""
    from rich.table import Table

    classes = {label for verdict in verdicts if verdict.answer for label in verdict.answer["probabilities"]}
    labelled = all(verdict.path.parent.name.lower() in classes for verdict in verdicts)
    timed = any(verdict.seconds is not None for verdict in verdicts)
    table = Table("picture", *(["is"] if labelled else []), "verdict", "probability", *(["ms"] if timed else []))
    for verdict in verdicts:
        truth = verdict.path.parent.name.lower()
        if verdict.answer is None:
            label, probability = f"[red]{verdict.problem}[/red]", ""
        else:
            right = not labelled or verdict.answer["label"] == truth
            label = verdict.answer["label"] if right else f"[yellow]{verdict.answer['label']}[/yellow]"
            probability = f"{verdict.answer['probability']:.4f}"
        row = [str(verdict.path), *([truth] if labelled else []), label, probability]
        if timed:
            row.append("" if verdict.seconds is None else f"{1000 * verdict.seconds:.0f}")
        table.add_row(*row)
    return table


@click.command()
@click.argument("pictures", default=Path("docs/samples"), type=PATH)
@click.option("--model", default=ARCHIVE, show_default=True, type=PATH, help="The .mar to serve.")
def demo(pictures: Path, model: Path) -> None:
    """Serve, classify the sample photos, stop.

    Takes free ports where the usual ones are in use.
    """
    from rich.console import Console

    from serving.launch import Server
    from serving.predict import find_pictures, predict_by_server

    paths = find_pictures([pictures])
    started = time.monotonic()
    with Server(server_options(model, any_port=True)) as server:
        say(f"Ready after {time.monotonic() - started:.1f} s: posting {len(paths)} photos to {server.options.url}")
        verdicts = list(predict_by_server(paths, server.options.url))
    Console().print(verdict_table(verdicts))
    failed = sum(verdict.answer is None for verdict in verdicts)
    if failed:
        raise UserError(f"{failed} of {len(paths)} photos got no verdict.")
    right = sum(verdict.answer["label"] == verdict.path.parent.name for verdict in verdicts if verdict.answer)
    say(f"{right} of {len(paths)} right. The server is stopped.")
    say("Keep one running, with a page to drop photos on: make serve")
