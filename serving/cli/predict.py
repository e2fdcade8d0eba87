"""catsdogs predict: predictions of pictures, as a table, as lines of JSON, or as the parts of a large job."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from common.verdicts import Verdict
from handler.files import UserError
from serving.cli.options import ARCHIVE, CA, KEY, PATH, PRECISION, WORKERS
from serving.terminal import say

PART_SIZE = 1000


@click.command()
@click.argument("paths", nargs=-1, required=True)
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
@click.option(
    "--out",
    metavar="PLACE",
    help="Folder or s3://BUCKET/PREFIX to write the predictions to, in parts: for millions of pictures. Resumes.",
)
@click.option(
    "--shard",
    metavar="INDEX/COUNT",
    help="With --out: classify one of COUNT shards, counted from 0. In an Indexed Job COUNT suffices. Default: all.",
)
@WORKERS
@click.option("--part-size", type=click.IntRange(1, 1_000_000), help="Pictures per part.  [default: 1000]")
@click.option(
    "--format", "kind", type=click.Choice(["jsonl", "parquet"]), help="Format of the parts.  [default: jsonl]"
)
@click.option(
    "--endpoint-url",
    envvar=["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"],
    metavar="URL",
    help="URL of an S3 service other than AWS, such as MinIO. Default: $AWS_ENDPOINT_URL_S3 or $AWS_ENDPOINT_URL.",
)
def predict(
    paths: tuple[str, ...],
    url: str | None,
    key: str | None,
    ca: Path | None,
    model: Path,
    as_json: bool,
    out: str | None,
    endpoint_url: str | None,
    **bulk: Any,
) -> None:
    """Classify pictures, offline or by a running server.

    PATHS are pictures or folders of them; hidden files in folders are skipped. The exit status is 1 if a picture gets
    no prediction.

    With --out, PATHS are also tars of pictures and s3://BUCKET/PREFIX, with the credentials of `catsdogs fetch`. Each
    picture gets a row, also one that cannot be read, and the exit status is 0 when all have one. To resume after a stop
    or a kill, give the same command again. `catsdogs merge PLACE` checks that the shards are complete.
    """
    if out is not None:
        if url or as_json:
            raise UserError("--out writes what this process predicts: leave out --url and --json.")
        sys.exit(predict_many(paths, out, model, endpoint_url, **bulk))
    if given := [name for name, value in bulk.items() if value is not None]:
        raise UserError(f"--{given[0].replace('_', '-').replace('kind', 'format')} needs --out PLACE.")
    predict_few(paths, url, key, ca, model, as_json)


def predict_few(
    names: Sequence[str], url: str | None, key: str | None, ca: Path | None, model: Path, as_json: bool
) -> None:
    from rich.console import Console
    from rich.progress import track

    from serving.cli.table import show
    from serving.client.pictures import find_pictures
    from serving.client.predict import predict_by_server, predict_offline
    from serving.gateway.tls import trusting

    if buckets := [name for name in names if name.lower().startswith("s3://")]:
        raise UserError(f"{buckets[0]} is in a bucket, which is read with --out PLACE.")
    pictures = find_pictures([Path(name) for name in names], say)
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


def predict_many(
    names: Sequence[str],
    out: str,
    model: Path,
    endpoint: str | None,
    shard: str | None,
    workers: int | None,
    part_size: int | None,
    kind: str | None,
) -> int:
    """Classify a shard, and return the exit status."""
    from serving.bulk.failures import Stopped, Unavailable
    from serving.bulk.formats import JSONL
    from serving.bulk.run import Options, predict_shard
    from serving.bulk.shard import read_shard
    from serving.server.settings import cpu_limit

    chosen = read_shard(shard)
    options = Options(
        names, out, model, chosen, workers or cpu_limit(), part_size or PART_SIZE, kind or JSONL, endpoint
    )
    again = "To resume, give the same command again."
    try:
        summary = predict_shard(options, say)
    except Unavailable as reason:
        say(f"catsdogs: {reason}. {again}")
        return Verdict.NOT_READY.exit_code
    except Stopped as stopped:
        say(f"catsdogs: {stopped} {again}")
        return 128 + stopped.number
    say(f"Shard {chosen} is complete: {summary.words()}.")
    return 0
