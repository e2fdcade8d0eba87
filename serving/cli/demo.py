"""catsdogs demo: a server, predictions of the sample pictures, and its end."""

import time
from pathlib import Path

import click

from handler.files import UserError
from serving.cli.options import ARCHIVE, PATH, PRECISION
from serving.client.samples import samples
from serving.terminal import say


@click.command()
@click.argument("pictures", default=samples, type=PATH)
@click.option("--model", default=ARCHIVE, show_default=True, type=PATH, help="Archive (.mar) to serve.")
@PRECISION
def demo(pictures: Path, model: Path) -> None:
    """Start a server, classify the sample photos, and stop it.

    PICTURES is a folder or a picture. The server takes free ports where the usual ones are in use.
    """
    from serving.cli.table import are_labelled, show
    from serving.client.pictures import find_pictures
    from serving.client.predict import predict_by_server
    from serving.server.launch import Server
    from serving.server.options import server_options

    paths = find_pictures([pictures])
    started = time.monotonic()
    with Server(server_options(model, any_port=True)) as server:
        say(f"Ready after {time.monotonic() - started:.1f} s: posting {len(paths)} photos to {server.options.url}")
        predictions = list(predict_by_server(paths, server.options.url))
    show(predictions)
    failed = sum(prediction.answer is None for prediction in predictions)
    if failed:
        raise UserError(f"{failed} of {len(paths)} photos got no prediction.")
    if are_labelled(predictions):
        right = sum(prediction.right for prediction in predictions)
        say(f"{right} of {len(paths)} right. The server is stopped.")
    else:
        say(f"{len(paths)} photos classified; their folders are not the model's classes. The server is stopped.")
    say("To keep a server running, with a web page to drop photos on: make serve")
