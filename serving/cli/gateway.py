"""catsdogs gateway: the gateway's half of the server, in a container of its own."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from serving.cli.feedback import feedback_options
from serving.cli.options import (
    ACCESS_LOG,
    CORS_ORIGIN,
    IMAGE_OPERATIONS,
    KEYS,
    PATH,
    PUBLIC_METRICS,
    RUN,
    STATS,
    TLS_CERT,
    TLS_KEY,
    pair_of,
)

if TYPE_CHECKING:
    from serving.feedback.settings import FeedbackSettings


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
@PUBLIC_METRICS
@IMAGE_OPERATIONS
@feedback_options
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
    public_metrics: bool,
    image_operations: bool,
    feedback: "FeedbackSettings | None",
) -> None:
    """Run the gateway's half of the server, in its own container.

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
    if feedback is not None:
        feedback.check()
    ports = Ports(port, grpc_port, metrics_port)
    half = Gateway(
        run,
        model,
        host,
        ports,
        drain,
        grace,
        keys,
        cors_origins,
        allowed_hosts,
        access_log,
        stats,
        public_metrics,
        feedback,
        image_operations,
    )
    pair = pair_of(tls_cert, tls_key)
    if pair is None:
        sys.exit(run_gateway(half))
    with answer_handshakes(pair) as url:
        sys.exit(run_gateway(replace(half, certificate_url=url)))
