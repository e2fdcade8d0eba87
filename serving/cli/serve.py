"""catsdogs serve: both halves of the server, on one machine."""

import dataclasses
import shlex
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from serving.cli.feedback import feedback_options
from serving.cli.options import (
    ACCESS_LOG,
    ARCHIVE,
    CORS_ORIGIN,
    IMAGE_OPERATIONS,
    KEYS,
    MODEL_KEY,
    PATH,
    PORT,
    PRECISION,
    PUBLIC_METRICS,
    SHA256,
    STATS,
    TLS_CERT,
    TLS_KEY,
    UNSURE,
    VERBOSE,
    WORKERS,
    pair_of,
)
from serving.terminal import say

if TYPE_CHECKING:
    from serving.feedback.settings import FeedbackSettings
    from serving.server.options import Options


@click.command()
@click.argument("archive", default=ARCHIVE, type=PATH)
@SHA256
@MODEL_KEY
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
@WORKERS
@PRECISION
@UNSURE
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
@PUBLIC_METRICS
@IMAGE_OPERATIONS
@feedback_options
@click.option(
    "--follow",
    is_flag=True,
    help="Serve the archive anew when its file is replaced, as `promote --archive` and `rollback --archive` do. The "
    "server restarts, which takes seconds. A broken file is reported, and the last archive is served on.",
)
@click.option(
    "--drain",
    default=0.5,
    show_default=True,
    metavar="SECONDS",
    help="Seconds for which a stopping server reports itself unready before it closes its ports.",
)
@VERBOSE
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
    public_metrics: bool,
    image_operations: bool,
    feedback: "FeedbackSettings | None",
    tls_cert: Path | None,
    tls_key: Path | None,
    follow: bool,
    verbose: bool,
    **numbers: Any,
) -> None:
    """Serve an archive by TorchServe behind the gateway, until Ctrl-C.

    ARCHIVE is a .mar that `catsdogs package` made. Make a key for --keys by:
    python -c 'import secrets; print(secrets.token_urlsafe(32))' >> keys
    """
    from serving.server.followed import Followed
    from serving.server.launch import Server
    from serving.server.options import server_options

    stop = threading.Event()
    signals: list[int] = []

    def on_signal(number: int, frame: object) -> None:
        if stop.is_set():
            signal.signal(signal.SIGINT, signal.default_int_handler)  # a second Ctrl-C does not wait
        signals.append(number)
        stop.set()

    if follow and sha256 is not None:
        raise click.UsageError("--follow serves whatever archive takes the file's place: it cannot go with --sha256.")
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
        public_metrics=public_metrics,
        image_operations=image_operations,
        feedback=feedback,
        tls=pair_of(tls_cert, tls_key),
        **numbers,
    )
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    followed = Followed(options.archive) if follow else None
    while True:
        started = time.monotonic()
        server = Server(options, stop)
        with server:
            if not stop.is_set():
                say(f"Ready after {time.monotonic() - started:.1f} s, with {options.workers} workers:")
                for line in addresses(options):
                    say(f"  {line}")
                say("Ctrl-C stops it.")
            replaced = None
            while replaced is None and not stop.wait(0.5):
                server.check_children()
                replaced = followed.replaced() if followed else None
            say("Stopping: finishing what is in flight.")
        if replaced is None or stop.is_set():
            break
        say(f"Serving {replaced.name} {replaced.version} from {replaced.path} now.")
        options = dataclasses.replace(options, archive=replaced)
    say("Stopped.")


def addresses(options: "Options") -> list[str]:
    """Return the server's addresses, a line each: for this machine, and for others where it is open to them."""
    from serving.server.addresses import bracketed, reachable_addresses

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
    if options.public_metrics:
        lines[-1] += f" and {options.url}/metrics"
    if options.image_operations:
        lines.append(f"images   {post} -o seen.png {options.url}/images/show-input")
    if options.feedback is not None:
        lines.append(f"feedback {options.feedback.place}")
    for address in reachable_addresses(options.host):
        lines.append(f"network  {options.url_of(address)}/  (gRPC {bracketed(address)}:{options.ports.grpc})")
    return lines
