"""The verbs of this room for a pod: the server's two halves, and who asks them how they are."""

import math
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import click

from handler.files import UserError
from serving.cli import ACCESS_LOG, ARCHIVE, CA, KEY, PATH, TLS_CERT, TLS_KEY, pair_of, say

RUN = Path("/run/catsdogs")
MAX_TIMEOUT_S = 7 * 24 * 3600.0


@click.command()
@click.argument("archive", default=ARCHIVE, type=PATH)
@click.option("--run", default=RUN, show_default=True, type=PATH, help="Folder that it shares with the gateway.")
@click.option(
    "--private",
    type=PATH,
    help="Folder that no other container has: settings, tokens, the unpacked archive.  [default: RUN/private]",
)
@click.option("--sha256", help="What the archive must have.")
@click.option("--workers", type=click.IntRange(1), help="Processes that answer; by default one per core.")
@click.option("--queue", type=click.IntRange(1), help="Requests that may wait; by default 32.")
@click.option("--verbose", is_flag=True, help="Show what TorchServe and its workers log.")
def torchserve(
    archive: Path,
    run: Path,
    private: Path | None,
    sha256: str | None,
    workers: int | None,
    queue: int | None,
    verbose: bool,
) -> None:
    """TorchServe's half of the server, for a container of its own.

    Started before the gateway and stopped after it: in a pod, an init container that is restarted always.
    """
    from serving.server.archive import read_archive
    from serving.server.java import find_java
    from serving.server.launch import free_ports
    from serving.server.settings import choose_limits
    from serving.server.torchserve import TorchServe, run_alone

    checked, java, limits = read_archive(archive, sha256), find_java(), choose_limits(workers, queue)
    if not run.is_dir():
        raise UserError(f"There is no folder {run}. Mount one there, or name another by --run.")
    if private is not None and not private.is_dir():
        raise UserError(f"There is no folder {private}. Mount one there, or name another by --private.")
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    grpc_port, management_port = free_ports(2)
    say(
        f"Starting TorchServe on {checked.name} {checked.version} with {limits.workers} workers, a queue of "
        f"{limits.queue} and a heap of {limits.heap_mib} MiB (Java {java.version}: {java.path})"
    )
    run_alone(TorchServe(checked, java, run, limits, grpc_port, management_port, verbose, private), stop, say)
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
@TLS_CERT
@TLS_KEY
@click.option("--drain", default=10.0, show_default=True, help="Seconds to be unready and still answer, when stopped.")
@click.option("--grace", default=20.0, show_default=True, help="Seconds for what is in flight after that.")
@click.option(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="Host name that requests may be sent to, besides any address; repeatable. Without it every name is accepted.",
)
@ACCESS_LOG
def gateway(
    run: Path,
    model: str,
    host: str,
    port: int,
    grpc_port: int,
    metrics_port: int,
    keys: Path | None,
    cors_origins: tuple[str, ...],
    tls_cert: Path | None,
    tls_key: Path | None,
    drain: float,
    grace: float,
    allowed_hosts: tuple[str, ...],
    access_log: bool,
) -> None:
    """The gateway's half of the server, for a container of its own.

    Runs the relay, which asks TorchServe, and Caddy in front of it; drains both when it is told to stop.
    """
    from serving.gateway.caddy import Gateway, Ports
    from serving.gateway.cors import check_origins
    from serving.gateway.hosts import check_hosts
    from serving.gateway.keys import check_keys
    from serving.gateway.relay.process import run as run_gateway
    from serving.gateway.tls import answer_handshakes

    if keys is not None:
        check_keys(keys)
    check_origins(cors_origins)
    check_hosts(allowed_hosts)
    ports = Ports(port, grpc_port, metrics_port)
    half = Gateway(run, model, host, ports, drain, grace, keys, cors_origins, allowed_hosts, access_log)
    pair = pair_of(tls_cert, tls_key)
    if pair is None:
        sys.exit(run_gateway(half))
    with answer_handshakes(pair) as url:
        sys.exit(run_gateway(replace(half, certificate_url=url)))


@click.command()
@click.argument("source")
@click.argument("out", type=PATH)
@click.option("--sha256", required=True, metavar="HEX", help="The archive's SHA-256.")
@click.option(
    "--endpoint-url",
    envvar=["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"],
    metavar="URL",
    help="S3 endpoint, for a service that is not AWS, such as MinIO; $AWS_ENDPOINT_URL.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(1, MAX_TIMEOUT_S),
    metavar="SECONDS",
    help="Time limit for the whole download, all retries included.  [default: 600]",
)
@click.option("--max-mib", type=click.IntRange(1), metavar="MIB", help="Maximum archive size.  [default: 1024]")
@click.option("--seconds", type=click.FloatRange(1, MAX_TIMEOUT_S), hidden=True)
@click.option("--mib", type=click.IntRange(1), hidden=True)
def fetch(
    source: str,
    out: Path,
    sha256: str,
    endpoint_url: str | None,
    timeout: float | None,
    max_mib: int | None,
    seconds: float | None,
    mib: int | None,
) -> None:
    """An archive from a web server or a bucket -> OUT, or nothing.

    SOURCE is https://…, http://… or s3://BUCKET/KEY. A download that breaks off resumes where it stopped, by itself
    within the time limit, and when the command is run again. Set $CATSDOGS_FETCH_HEADER, or name a file by
    $CATSDOGS_FETCH_HEADER_FILE, to send a header to a web server, as `Authorization: Bearer …`. S3 credentials come
    from AWS' variables, a folder $CATSDOGS_FETCH_CREDENTIALS with a file for each of them, a service account's token
    (IRSA) or EKS' agent (Pod Identity).
    """
    import re

    from serving.fetch.download import Limits
    from serving.fetch.download import fetch as run_fetch
    from serving.fetch.progress import shown
    from serving.fetch.sources import find_source

    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise UserError(f"{sha256} is not a sha256: 64 of 0 to 9 and a to f. Get it by: sha256sum FILE.mar")
    limit_s = renamed("--seconds", seconds, "--timeout", timeout) or 600.0
    limit_mib = int(renamed("--mib", mib, "--max-mib", max_mib) or 1024)
    if math.isnan(limit_s):
        raise UserError("--timeout must be a number of seconds.")
    started = time.monotonic()
    with find_source(source, endpoint_url) as found, shown(say) as progress:
        if not run_fetch(found, out, sha256, Limits(limit_s, limit_mib << 20), progress, say):
            say(f"{out} is there already, with this sha256.")
            return
    size = out.stat().st_size / 1e6
    say(f"{out} is fetched: {size:.1f} MB in {time.monotonic() - started:.1f} s, with this sha256.")


def renamed(old_name: str, old: float | None, new_name: str, new: float | None) -> float | None:
    """Return the value of an option that may still be given by its old name, until the next version."""
    if old is None:
        return new
    if new is not None:
        raise UserError(f"{old_name} is the old name of {new_name}: give one of them.")
    say(f"{old_name} is now named {new_name}; the old name will go with the next version.")
    return old


@click.command()
@click.option("--url", default="http://127.0.0.1:8080", show_default=True)
@click.option("--grpc", metavar="HOST:PORT", help="Ask by gRPC too.")
@click.option("--metrics", metavar="URL", help="Read the metrics too, as http://127.0.0.1:8082/metrics.")
@KEY
@CA
@click.option("--server-name", metavar="NAME", help="With https: whom the certificate must name; by default the host.")
@click.option("--no-verify", is_flag=True, help="With https: do not verify the server's certificate.")
@click.option("--pictures", type=PATH, help="Folder of pictures in folders named by class; by default docs/samples.")
@click.option(
    "--min-accuracy",
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="Minimum accuracy, 0 to 1; without it every prediction must be right.",
)
@click.option("--least-accuracy", type=click.FloatRange(0, 1), metavar="SHARE", hidden=True)
@click.option(
    "--wait", type=click.FloatRange(0), default=0, metavar="SECONDS", help="Seconds to wait until the server is ready."
)
def check(
    url: str,
    grpc: str | None,
    metrics: str | None,
    key: str | None,
    ca: Path | None,
    server_name: str | None,
    no_verify: bool,
    pictures: Path | None,
    min_accuracy: float | None,
    least_accuracy: float | None,
    wait: float,
) -> None:
    """Ask a running server for known predictions by every protocol.

    Exit status 0 says that all were right, or as many as must be: those that were not are marked MISS. Where the model
    knows neither cats nor dogs, name pictures of its classes by --pictures; without them one sample is sent, and the
    answers must be well formed and agree.
    """
    from serving.client.check import Target
    from serving.client.check import check as run_check
    from serving.gateway.tls import trusting

    if ca is not None and no_verify:
        raise UserError("--ca verifies the server's certificate, and --no-verify does not: leave one of them out.")
    if least_accuracy is not None:
        if min_accuracy is not None:
            raise UserError("--least-accuracy is the old name of --min-accuracy: leave it out.")
        say("--least-accuracy is now called --min-accuracy; the old name goes with the next version.")
        min_accuracy = least_accuracy
    trust = trusting(ca) if ca is not None or no_verify else None
    failed = False
    target = Target(url, grpc, metrics, key, trust, server_name)
    for finding in run_check(target, pictures, min_accuracy, wait, say):
        failed |= finding.problem is not None and not finding.allowed
        mark = ("MISS" if finding.allowed else "FAIL") if finding.problem else "ok  "
        click.echo(f"{mark}  {finding.what}" + f": {finding.problem}" * bool(finding.problem))
    sys.exit(failed)


@click.command()
@click.argument("question", type=click.Choice(["startup", "ready", "live"]))
@click.option("--run", envvar="CATSDOGS_RUN", type=PATH, help="TorchServe's folder; $CATSDOGS_RUN.")
@click.option(
    "--url",
    envvar="CATSDOGS_URL",
    default="http://127.0.0.1:8080",
    show_default=True,
    help="The gateway to ask without a folder; $CATSDOGS_URL.",
)
def probe(question: str, run: Path | None, url: str) -> None:
    """Is the server started, ready, alive? Exit status 0 says yes.

    With a folder the workers' heartbeats and TorchServe's frontend are looked at, without a request that could
    queue; without one the gateway is asked.
    """
    from serving.health.probe import ask_gateway, main

    sys.exit(main([question, str(run)]) if run else ask_gateway(question, url))
