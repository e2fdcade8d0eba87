"""The verbs of serving for a pod: torchserve, gateway, fetch, check and probe."""

import math
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import click

from handler.files import UserError
from serving.cli import ACCESS_LOG, ARCHIVE, CA, CORS_ORIGIN, KEY, KEYS, PATH, STATS, TLS_CERT, TLS_KEY, pair_of, say

RUN = Path("/run/catsdogs")
MAX_TIMEOUT_S = 7 * 24 * 3600.0


@click.command()
@click.argument("archive", default=ARCHIVE, type=PATH)
@click.option("--run", default=RUN, show_default=True, type=PATH, help="Folder that is shared with the gateway.")
@click.option(
    "--private",
    type=PATH,
    help="Folder for settings, tokens and the unpacked archive. Share it with no other container.  "
    "[default: RUN/private]",
)
@click.option("--sha256", metavar="HEX", help="SHA-256 that the archive must have.")
@click.option("--workers", type=click.IntRange(1), help="Number of worker processes. Default: one per core.")
@click.option("--queue", type=click.IntRange(1), help="Maximum number of requests that wait for a worker. Default: 32.")
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
    """Run TorchServe's half of the server, in a container of its own.

    Start it before the gateway and stop it after it: in a pod, make it an init container with restartPolicy Always.
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
@click.option("--run", default=RUN, show_default=True, type=PATH, help="Folder that is shared with TorchServe.")
@click.option("--model", default="catsdogs", show_default=True, help="Name of the model, which is part of its URL.")
@click.option("--host", default="0.0.0.0", show_default=True, help="Address or name to listen on.")
@click.option("--port", default=8080, show_default=True, help="Port of REST and the web page.")
@click.option("--grpc-port", default=7070, show_default=True, help="Port of gRPC.")
@click.option("--metrics-port", default=8082, show_default=True, help="Port of the metrics for Prometheus.")
@KEYS
@CORS_ORIGIN
@TLS_CERT
@TLS_KEY
@click.option(
    "--drain",
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="Seconds for which a stopping gateway reports itself unready and still answers.",
)
@click.option(
    "--grace",
    default=20.0,
    show_default=True,
    metavar="SECONDS",
    help="Seconds after --drain in which requests in flight may end.",
)
@click.option(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="Host name that requests may name, besides any IP address. Repeatable. Default: every name is allowed.",
)
@ACCESS_LOG
@STATS
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
    stats: bool,
) -> None:
    """Run the gateway's half of the server, in a container of its own.

    It runs the relay, which sends requests to TorchServe, and Caddy in front of it. On SIGTERM it drains both.
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
    half = Gateway(run, model, host, ports, drain, grace, keys, cors_origins, allowed_hosts, access_log, stats)
    pair = pair_of(tls_cert, tls_key)
    if pair is None:
        sys.exit(run_gateway(half))
    with answer_handshakes(pair) as url:
        sys.exit(run_gateway(replace(half, certificate_url=url)))


@click.command()
@click.argument("source")
@click.argument("out", type=PATH)
@click.option("--sha256", required=True, metavar="HEX", help="SHA-256 that the archive must have.")
@click.option(
    "--endpoint-url",
    envvar=["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"],
    metavar="URL",
    help="URL of an S3 service other than AWS, such as MinIO. Default: $AWS_ENDPOINT_URL_S3 or $AWS_ENDPOINT_URL.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(1, MAX_TIMEOUT_S),
    metavar="SECONDS",
    help="Seconds that the whole download may take, retries included.  [default: 600]",
)
@click.option(
    "--max-mib", type=click.IntRange(1), metavar="MIB", help="Maximum size of the archive in MiB.  [default: 1024]"
)
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
    """Fetch an archive from a web server or a bucket, and verify its SHA-256.

    SOURCE is https://…, http://… or s3://BUCKET/KEY. The archive is written to OUT, or nothing is. A download that
    breaks off resumes where it stopped, by itself within the time limit, and when the command is run again.

    Set $CATSDOGS_FETCH_HEADER, or name a file by $CATSDOGS_FETCH_HEADER_FILE, to send a header such as
    `Authorization: Bearer …` to a web server. S3 credentials come from the variables of AWS, from a folder
    $CATSDOGS_FETCH_CREDENTIALS with a file for each of them, from a service account's token (IRSA) or from EKS Pod
    Identity.
    """
    import re

    from serving.fetch.download import Limits
    from serving.fetch.download import fetch as run_fetch
    from serving.fetch.progress import shown
    from serving.fetch.sources import find_source

    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise UserError(f"{sha256} is not a sha256, which has 64 digits of 0-9 and a-f. Get it by: sha256sum FILE.mar")
    limit_s = renamed("--seconds", seconds, "--timeout", timeout) or 600.0
    limit_mib = int(renamed("--mib", mib, "--max-mib", max_mib) or 1024)
    if math.isnan(limit_s):
        raise UserError("--timeout must be a number of seconds.")
    started = time.monotonic()
    with find_source(source, endpoint_url) as origin, shown(say) as progress:
        if not run_fetch(origin, out, sha256, Limits(limit_s, limit_mib << 20), progress, say):
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
    say(f"{old_name} is now named {new_name}; the next version removes the old name.")
    return old


@click.command()
@click.option("--url", default="http://127.0.0.1:8080", show_default=True, help="URL of the server's REST API.")
@click.option("--grpc", metavar="HOST:PORT", help="Address of gRPC. Default: gRPC is not checked.")
@click.option(
    "--metrics",
    metavar="URL",
    help="URL of the metrics, such as http://127.0.0.1:8082/metrics. Default: they are not checked.",
)
@KEY
@CA
@click.option(
    "--server-name",
    metavar="NAME",
    help="Name that the server's certificate must carry. Default: the host of the URL.",
)
@click.option("--no-verify", is_flag=True, help="Do not verify the certificate of an https server.")
@click.option(
    "--pictures", type=PATH, help="Folder of pictures, in subfolders named by their class. Default: docs/samples."
)
@click.option(
    "--min-accuracy",
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="Minimum accuracy, from 0 to 1. Default: every prediction must be right.",
)
@click.option("--least-accuracy", type=click.FloatRange(0, 1), metavar="SHARE", hidden=True)
@click.option(
    "--wait",
    type=click.FloatRange(0),
    default=0,
    metavar="SECONDS",
    help="Maximum seconds to wait until the server is ready.",
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
    """Check that a running server predicts known pictures right, by each protocol.

    Exit status 0 means that all predictions are right, or with --min-accuracy enough of them; wrong ones are then
    marked MISS. For a model that knows neither cats nor dogs, name pictures of its classes by --pictures. Without them
    one sample is sent, and the answers must be well formed and agree.
    """
    from serving.client.check import Target
    from serving.client.check import check as run_check
    from serving.gateway.tls import trusting

    if ca is not None and no_verify:
        raise UserError("--ca verifies the server's certificate, and --no-verify does not: leave one of them out.")
    if least_accuracy is not None:
        if min_accuracy is not None:
            raise UserError("--least-accuracy is the old name of --min-accuracy: leave it out.")
        say("--least-accuracy is now named --min-accuracy; the next version removes the old name.")
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
@click.option(
    "--run",
    envvar="CATSDOGS_RUN",
    type=PATH,
    help="Folder that TorchServe shares with the gateway. Default: $CATSDOGS_RUN.",
)
@click.option(
    "--url",
    envvar="CATSDOGS_URL",
    default="http://127.0.0.1:8080",
    show_default=True,
    help="URL of the gateway that is asked without --run; also $CATSDOGS_URL.",
)
def probe(question: str, run: Path | None, url: str) -> None:
    """Ask whether the server is started, ready or alive. Exit status 0 means yes.

    With --run the workers' heartbeats and TorchServe's frontend are checked, without a request that could wait in the
    queue. Without it the gateway is asked.
    """
    from serving.health.probe import ask_gateway, main

    sys.exit(main([question, str(run)]) if run else ask_gateway(question, url))
