"""catsdogs probe: whether the server is started, ready or alive."""

import sys
from pathlib import Path

import click

from serving.cli.options import PATH


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
    from serving.health.gateway_client import ask_gateway
    from serving.health.probe import main

    sys.exit(main([question, str(run)]) if run else ask_gateway(question, url))
