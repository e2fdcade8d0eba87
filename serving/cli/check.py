"""catsdogs check: known pictures, sent to a running server by each protocol."""

import sys
from pathlib import Path

import click

from handler.files import UserError
from serving.cli.options import CA, KEY, PATH
from serving.terminal import say


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
    "--pictures",
    type=PATH,
    help="Folder of pictures, in subfolders named by their class. Default: the sample pictures of this package.",
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
    """Check that a running server predicts known pictures correctly, by each protocol.

    Exit status 0 means that all predictions are right, or with --min-accuracy enough of them; wrong ones are then
    marked MISS. A model of any classes must give the answers that its release recorded for four fixed patterns. For
    predictions of a model that knows neither cats nor dogs, name pictures of its classes by --pictures. Without them
    one sample is sent, and the answers must be well formed and agree.
    """
    from serving.client.check import check as run_check
    from serving.client.target import Target
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
