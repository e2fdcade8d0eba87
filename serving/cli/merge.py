"""catsdogs merge: the parts that `catsdogs predict --out` wrote."""

import sys
from contextlib import closing
from pathlib import Path

import click

from common.verdicts import Verdict
from handler.files import UserError
from serving.cli.options import PATH
from serving.terminal import say


@click.command()
@click.argument("place")
@click.option(
    "--out", type=PATH, help="File to write all rows to: JSON lines, or Parquet if its name ends in .parquet."
)
@click.option("--replace", is_flag=True, help="Replace the file of --out.")
@click.option(
    "--endpoint-url",
    envvar=["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"],
    metavar="URL",
    help="URL of an S3 service other than AWS, such as MinIO. Default: $AWS_ENDPOINT_URL_S3 or $AWS_ENDPOINT_URL.",
)
def merge(place: str, out: Path | None, replace: bool, endpoint_url: str | None) -> None:
    """Check that the shards of `catsdogs predict --out PLACE` are complete, and merge their parts.

    Prints the number of pictures by class and by error. The exit status is 1, and nothing is written, as long as a
    shard is not complete. PLACE is a folder or s3://BUCKET/PREFIX.
    """
    from serving.bulk.failures import Unavailable
    from serving.bulk.merge import find_shards, rows_of, write_rows
    from serving.bulk.places import open_place

    if out is not None and out.exists() and not replace:
        raise UserError(f"{out} exists already: add --replace, or name another file.")
    try:
        with closing(open_place(place, endpoint_url)) as opened:
            shards = find_shards(opened, place)
            complete = f"{len(shards.complete)} of {shards.count} shards are complete"
            click.echo(f"{complete}: {shards.total.words()}.")
            if shards.missing:
                listed = ", ".join(map(str, shards.missing[:20])) + " …" * (len(shards.missing) > 20)
                say(f"catsdogs: Not complete: {listed}. Give their command again, then this one.")
                sys.exit(1)
            if out is not None:
                count = write_rows(rows_of(opened, shards), out)
                say(f"{out} has {count:,} rows.")
    except Unavailable as reason:
        say(f"catsdogs: {reason}. Nothing was written: give the same command again.")
        sys.exit(Verdict.NOT_READY.exit_code)
