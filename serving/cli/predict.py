"""catsdogs predict: predictions of pictures, as a table or as lines of JSON."""

import json
import sys
from pathlib import Path

import click

from serving.cli.options import ARCHIVE, CA, KEY, PATH, PRECISION
from serving.terminal import say


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
@PRECISION
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document per line instead of a table.")
def predict(
    paths: tuple[Path, ...], url: str | None, key: str | None, ca: Path | None, model: Path, as_json: bool
) -> None:
    """Classify pictures, offline or by a running server.

    PATHS are pictures or folders of them; hidden files in folders are skipped. The exit status is 1 if a picture gets
    no prediction.
    """
    from rich.console import Console
    from rich.progress import track

    from serving.cli.table import show
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
    finished = list(
        track(predictions, "predicting", len(pictures), console=bar, transient=True, disable=not sys.stderr.isatty())
    )
    show(finished)
    sys.exit(any(prediction.answer is None for prediction in finished))
