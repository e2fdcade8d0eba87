"""The verbs of this room for a laptop: serve, predict, demo. Those of a pod are in pod_cli.py."""

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
    from serving.tls import Pair

PATH = click.Path(path_type=Path)
PORT = click.IntRange(1, 65535)
ARCHIVE = Path("model-store/catsdogs.mar")
TLS_CERT = click.option(
    "--tls-cert", type=PATH, help="Certificate (PEM), with those it is signed by: REST and gRPC speak TLS."
)
CA = click.option("--ca", type=PATH, help="With https: believe a server whom these have signed (PEM), and no other.")
TLS_KEY = click.option("--tls-key", type=PATH, help="Its key. Both are read anew when they change.")


@click.command()
@click.argument("archive", default=ARCHIVE, type=PATH)
@click.option("--sha256", help="What the archive must have.")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address or name to listen on; 0.0.0.0 opens the server to the network, :: to that of IPv6 too.",
)
@click.option("--port", type=PORT, default=8080, show_default=True, help="REST and the page.")
@click.option("--grpc-port", type=PORT, default=7070, show_default=True, help="gRPC.")
@click.option("--metrics-port", type=PORT, default=8082, show_default=True, help="Prometheus.")
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
@TLS_CERT
@TLS_KEY
@click.option("--drain", default=0.5, show_default=True, help="Seconds to tell clients to leave before stopping.")
@click.option("--verbose", is_flag=True, help="Show what TorchServe and its workers log.")
def serve(
    archive: Path,
    sha256: str | None,
    host: str,
    any_port: bool,
    keys: Path | None,
    cors_origins: tuple[str, ...],
    tls_cert: Path | None,
    tls_key: Path | None,
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

    options = server_options(
        archive,
        sha256,
        host,
        any_port,
        verbose,
        keys=keys,
        cors_origins=cors_origins,
        tls=pair_of(tls_cert, tls_key),
        **numbers,
    )
    started = time.monotonic()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    server = Server(options, stop)
    with server:
        if not stop.is_set():
            say(f"Ready after {time.monotonic() - started:.1f} s, with {options.workers} workers:")
            for line in addresses(options):
                say(f"  {line}")
            say("Ctrl-C stops it.")
        while not stop.wait(0.5):
            server.check_children()
        say("Stopping: finishing what is in flight.")
    say("Stopped.")


def addresses(options: "Options") -> list[str]:
    """Return how the server is reached, a line each: from this machine, and from others where they may."""
    import shlex

    from serving.launch import bracketed, reachable_addresses

    # The key itself does not belong on a screen, nor in a shell's history.
    key = ""
    if options.keys is not None:
        key = f"-H \"Authorization: Bearer $(grep -om1 '[A-Za-z0-9_-]\\{{22,\\}}' {shlex.quote(str(options.keys))})\" "
    # A name in a certificate is not known here.
    insecure = "-k " if options.tls else ""
    post = f"curl {insecure}{key}--data-binary @photo.jpg"
    here = bracketed({"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(options.host, options.host))
    lines = [
        f"page     {options.url}/",
        f"REST     {post} {options.url}/predictions/{options.archive.name}",
        f"gRPC     {here}:{options.ports.grpc}",
        f"metrics  http://{here}:{options.ports.metrics}/metrics",
    ]
    for address in reachable_addresses(options.host):
        lines.append(f"network  {options.url_of(address)}/  (gRPC {bracketed(address)}:{options.ports.grpc})")
    return lines


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
    tls: "Pair | None" = None,
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
    if tls is not None:
        tls.read()
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
        tls=tls,
        verbose=verbose,
    )
    say(f"Starting TorchServe on {checked.name} {checked.version} (Java {java.version}: {java.path})")
    return options


def pair_of(certificate: Path | None, key: Path | None) -> "Pair | None":
    """What --tls-cert and --tls-key name."""
    from serving.tls import Pair

    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise UserError("--tls-cert and --tls-key go together: a certificate is of no use without its key.")
    return Pair(certificate, key)


def say(sentence: str) -> None:
    """Progress goes to standard error; standard output is for answers."""
    print(sentence, file=sys.stderr, flush=True)


@click.command()
@click.argument("paths", nargs=-1, required=True, type=PATH)
@click.option("--url", help="Ask a server, for example http://127.0.0.1:8080, instead of answering here.")
@CA
@click.option("--model", default=ARCHIVE, show_default=True, type=PATH, help="The .mar to answer with here.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document per line instead of a table.")
def predict(paths: tuple[Path, ...], url: str | None, ca: Path | None, model: Path, as_json: bool) -> None:
    """Pictures -> verdicts, offline or by a server.

    PATHS are pictures or folders of them. The exit status is 1 where a picture got no verdict.
    """
    import json

    from rich.console import Console
    from rich.progress import track

    from serving.predict import find_pictures, predict_by_server, predict_offline
    from serving.tls import trusting

    pictures = find_pictures(paths)
    trust = trusting(ca) if ca is not None else None
    verdicts = predict_by_server(pictures, url, trust) if url else predict_offline(pictures, model)
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
@click.argument("archive", default=ARCHIVE, type=PATH)
def runtimes(archive: Path) -> None:
    """Which runtime is the fastest on this machine?

    ARCHIVE is a .mar for one or more runtimes. A server takes the one that is named first; CATSDOGS_RUNTIME=NAME, in
    the chart `runtime`, makes it take another.
    """
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

    from serving.runtimes import BATCHES, time_runtimes

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("measuring")
        found = time_runtimes(archive, lambda done, total: bar.update(task, completed=done, total=total))
    table = Table("runtime", *(f"ms a picture, in batches of {count}" for count in BATCHES))
    for timing in found:
        table.add_row(timing.name, *(f"{timing.milliseconds[count]:.1f}" for count in BATCHES))
    Console().print(table)
    taken, *others = found
    for other in others:
        if all(other.milliseconds[count] < taken.milliseconds[count] for count in BATCHES):
            say(f"A server takes {taken.name} here, and {other.name} is faster: set CATSDOGS_RUNTIME={other.name}")


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
