"""The verbs of serving for a laptop: serve, predict, runtimes, demo. Those for a pod are in pod_cli.py."""

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

    from serving.client.predict import Prediction
    from serving.gateway.tls import Pair
    from serving.server.launch import Options

PATH = click.Path(path_type=Path)
PORT = click.IntRange(1, 65535)
ARCHIVE = Path("model-store/catsdogs.mar")
TLS_CERT = click.option(
    "--tls-cert", type=PATH, help="Certificate chain (PEM) for TLS on REST and gRPC. Needs --tls-key."
)
CA = click.option("--ca", type=PATH, help="CA bundle (PEM) used to verify an https server. Default: certifi's bundle.")


def first_key(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Return the first of several keys: a Secret's entry has one a line, as the gateway's file has."""
    from serving.gateway.keys import read_secret

    return next(iter((value or read_secret("CATSDOGS_KEY")).split()), None)


KEYS = click.option(
    "--keys", type=PATH, help="File with one API key per line, read at each request. Default: no key is required."
)
CORS_ORIGIN = click.option(
    "--cors-origin",
    "cors_origins",
    multiple=True,
    metavar="ORIGIN",
    help="Origin whose pages may read the answers (CORS), such as https://example.org; * allows all. Repeatable. "
    "Default: none.",
)
ACCESS_LOG = click.option(
    "--access-log",
    is_flag=True,
    help="Log each prediction as a line of JSON: request id, status, code, label, bytes, ms. Pictures and keys are not "
    "logged.",
)
STATS = click.option(
    "--stats",
    is_flag=True,
    help="Answer GET /stats on the port of REST too: requests, latency and predictions by class, as JSON. The metrics "
    "port always does.",
)
KEY = click.option(
    "--key",
    envvar="CATSDOGS_KEY",
    callback=first_key,
    help="API key. Prefer $CATSDOGS_KEY, or $CATSDOGS_KEY_FILE for a file that holds it: this option is visible in "
    "process lists.",
)
TLS_KEY = click.option(
    "--tls-key", type=PATH, help="Private key (PEM) of --tls-cert. Both files are read again when they change."
)


@click.command()
@click.argument("archive", default=ARCHIVE, type=PATH)
@click.option("--sha256", metavar="HEX", help="SHA-256 that the archive must have.")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address or name to listen on. 0.0.0.0 opens the server to the network, :: also over IPv6.",
)
@click.option("--port", type=PORT, default=8080, show_default=True, help="Port of REST and the web page.")
@click.option("--grpc-port", type=PORT, default=7070, show_default=True, help="Port of gRPC.")
@click.option("--metrics-port", type=PORT, default=8082, show_default=True, help="Port of the metrics for Prometheus.")
@click.option("--any-port", is_flag=True, help="Take a free port in place of one that is in use.")
@click.option("--workers", type=click.IntRange(1), help="Number of worker processes. Default: one per core.")
@KEYS
@CORS_ORIGIN
@click.option(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="Host name that requests may name, besides IP addresses, localhost and this machine's name; * allows every "
    "name. Repeatable. Default: none, or with --keys every name.",
)
@TLS_CERT
@TLS_KEY
@ACCESS_LOG
@STATS
@click.option(
    "--drain",
    default=0.5,
    show_default=True,
    metavar="SECONDS",
    help="Seconds for which a stopping server reports itself unready before it closes its ports.",
)
@click.option("--verbose", is_flag=True, help="Show what TorchServe and its workers log.")
def serve(
    archive: Path,
    sha256: str | None,
    host: str,
    any_port: bool,
    keys: Path | None,
    cors_origins: tuple[str, ...],
    allowed_hosts: tuple[str, ...],
    access_log: bool,
    stats: bool,
    tls_cert: Path | None,
    tls_key: Path | None,
    verbose: bool,
    **numbers: Any,
) -> None:
    """Serve an archive by TorchServe behind the gateway, until Ctrl-C.

    ARCHIVE is a .mar that `catsdogs package` made. Make a key for --keys by:
    python -c 'import secrets; print(secrets.token_urlsafe(32))' >> keys
    """
    from serving.server.launch import Server

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
        allowed_hosts=allowed_hosts,
        access_log=access_log,
        stats=stats,
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
    """Return the server's addresses, a line each: for this machine, and for others where it is open to them."""
    import shlex

    from serving.server.launch import bracketed, reachable_addresses

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
    allowed_hosts: tuple[str, ...] = (),
    access_log: bool = False,
    stats: bool = False,
    tls: "Pair | None" = None,
) -> "Options":
    """Check everything that can be checked before a process is started, and announce the start."""
    from serving.gateway.caddy import Ports
    from serving.gateway.cors import check_origins
    from serving.gateway.hosts import hosts_to_check
    from serving.gateway.keys import check_keys
    from serving.server.archive import read_archive
    from serving.server.java import find_java
    from serving.server.launch import Options, choose_ports
    from serving.server.settings import choose_limits

    checked = read_archive(archive, sha256)
    if keys is not None:
        check_keys(keys)
    check_origins(cors_origins)
    hosts = hosts_to_check(allowed_hosts, keys is not None)
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
        allowed_hosts=hosts,
        access_log=access_log,
        stats=stats,
        tls=tls,
        verbose=verbose,
    )
    say(f"Starting TorchServe on {checked.name} {checked.version} (Java {java.version}: {java.path})")
    return options


def pair_of(certificate: Path | None, key: Path | None) -> "Pair | None":
    """Return the certificate and the key that --tls-cert and --tls-key name, or None without both."""
    from serving.gateway.tls import Pair

    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise UserError("--tls-cert and --tls-key go together: a certificate is of no use without its key.")
    return Pair(certificate, key)


def say(sentence: str) -> None:
    """Print a line of progress on standard error; standard output is for answers."""
    print(sentence, file=sys.stderr, flush=True)


@click.command()
@click.argument("paths", nargs=-1, required=True, type=PATH)
@click.option(
    "--url", help="Server that classifies the pictures, such as http://127.0.0.1:8080. Default: this process does."
)
@KEY
@CA
@click.option(
    "--model", default=ARCHIVE, show_default=True, type=PATH, help="Archive (.mar) to classify with, without --url."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document per line instead of a table.")
def predict(
    paths: tuple[Path, ...], url: str | None, key: str | None, ca: Path | None, model: Path, as_json: bool
) -> None:
    """Classify pictures, offline or by a running server.

    PATHS are pictures or folders of them; hidden files in folders are skipped. The exit status is 1 if a picture gets
    no prediction.
    """
    import json

    from rich.console import Console
    from rich.progress import track

    from serving.client.pictures import find_pictures
    from serving.client.predict import predict_by_server, predict_offline
    from serving.gateway.tls import trusting

    pictures = find_pictures(paths, say)
    trust = trusting(ca) if ca is not None else None
    predictions = predict_by_server(pictures, url, trust, key) if url else predict_offline(pictures, model)
    if as_json:
        failed = False
        for prediction in predictions:
            print(json.dumps(prediction.as_json()), flush=True)
            failed |= prediction.answer is None
        sys.exit(failed)
    bar = Console(stderr=True)
    shown = list(
        track(predictions, "predicting", len(pictures), console=bar, transient=True, disable=not sys.stderr.isatty())
    )
    Console(emoji=False).print(prediction_table(shown))
    sys.exit(any(prediction.answer is None for prediction in shown))


def are_labelled(predictions: "list[Prediction]") -> bool:
    """Do all pictures lie in folders named by the model's classes?"""
    answers = [prediction.answer for prediction in predictions if prediction.answer]
    classes = {label.lower() for answer in answers for label in answer["probabilities"]}
    return all(prediction.path.parent.name.lower() in classes for prediction in predictions)


def prediction_table(predictions: "list[Prediction]") -> "Table":
    """Make a row per picture; where pictures lie in class folders, with their true class beside the prediction."""
    from rich.markup import escape
    from rich.table import Table

    labelled = are_labelled(predictions)
    timed = any(prediction.seconds is not None for prediction in predictions)
    table = Table("picture", *(["is"] if labelled else []), "prediction", "probability", *(["ms"] if timed else []))
    for prediction in predictions:
        if prediction.answer is None:
            label, probability = f"[red]{escape(prediction.problem or '')}[/red]", ""
        else:
            label = escape(prediction.answer["label"])
            label = label if not labelled or prediction.right else f"[yellow]{label}[/yellow]"
            probability = f"{prediction.answer['probability']:.4f}"
        truth = [escape(prediction.path.parent.name.lower())] if labelled else []
        row = [escape(str(prediction.path)), *truth, label, probability]
        if timed:
            row.append("" if prediction.seconds is None else f"{1000 * prediction.seconds:.0f}")
        table.add_row(*row)
    return table


@click.command()
@click.argument("archive", default=ARCHIVE, type=PATH)
def runtimes(archive: Path) -> None:
    """Measure which runtime is the fastest on this machine.

    ARCHIVE is a .mar for one or more runtimes. A server uses the first one in it, unless the variable
    CATSDOGS_RUNTIME, or the chart's value `runtime`, names another.
    """
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

    from serving.server.runtimes import BATCHES, time_runtimes

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("measuring")
        timings = time_runtimes(archive, lambda done, total: bar.update(task, completed=done, total=total))
    table = Table("runtime", *(f"ms a picture, in batches of {count}" for count in BATCHES))
    for timing in timings:
        table.add_row(timing.name, *(f"{timing.milliseconds[count]:.1f}" for count in BATCHES))
    Console().print(table)
    taken, *others = timings
    for other in others:
        if all(other.milliseconds[count] < taken.milliseconds[count] for count in BATCHES):
            say(
                f"{other.name} is faster here than {taken.name}, which a server uses: set CATSDOGS_RUNTIME={other.name}"
            )


@click.command()
@click.argument("pictures", default=Path("docs/samples"), type=PATH)
@click.option("--model", default=ARCHIVE, show_default=True, type=PATH, help="Archive (.mar) to serve.")
def demo(pictures: Path, model: Path) -> None:
    """Start a server, classify the sample photos, and stop it.

    PICTURES is a folder or a picture. The server takes free ports where the usual ones are in use.
    """
    from rich.console import Console

    from serving.client.pictures import find_pictures
    from serving.client.predict import predict_by_server
    from serving.server.launch import Server

    paths = find_pictures([pictures])
    started = time.monotonic()
    with Server(server_options(model, any_port=True)) as server:
        say(f"Ready after {time.monotonic() - started:.1f} s: posting {len(paths)} photos to {server.options.url}")
        predictions = list(predict_by_server(paths, server.options.url))
    Console(emoji=False).print(prediction_table(predictions))
    failed = sum(prediction.answer is None for prediction in predictions)
    if failed:
        raise UserError(f"{failed} of {len(paths)} photos got no prediction.")
    if are_labelled(predictions):
        right = sum(prediction.right for prediction in predictions)
        say(f"{right} of {len(paths)} right. The server is stopped.")
    else:
        say(f"{len(paths)} photos classified; their folders are not the model's classes. The server is stopped.")
    say("To keep a server running, with a web page to drop photos on: make serve")
