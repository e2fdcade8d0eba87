"""catsdogs feedback: labels that users gave to predictions, reviewed before training, and the accuracy they show."""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from handler.files import UserError, write_atomic
from serving.terminal import say

if TYPE_CHECKING:
    from monitoring.feedback.accuracy import Accuracy
    from monitoring.feedback.place import Place

PATH = click.Path(path_type=Path)
ENDPOINT = click.option(
    "--endpoint-url",
    envvar=["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"],
    metavar="URL",
    help="URL of an S3 service other than AWS, such as MinIO. Default: $AWS_ENDPOINT_URL_S3 or $AWS_ENDPOINT_URL.",
)


@click.group()
def feedback() -> None:
    """Review labels that users gave to predictions, and measure the accuracy from them."""


@feedback.command()
@click.argument("place")
@click.option("--out", type=PATH, required=True, metavar="DIR", help="Folder for review.csv, review.html, review.png.")
@click.option(
    "--pictures",
    type=PATH,
    metavar="FOLDER",
    help="Folder to look for pictures in, by their sha256, if the server did not store them.",
)
@ENDPOINT
def review(place: str, out: Path, pictures: Path | None, endpoint_url: str | None) -> None:
    """Make a contact sheet and a CSV of the pictures with feedback, for a person to decide on.

    PLACE is the folder, or s3://BUCKET/PREFIX, in which the server stores feedback. Open DIR/review.html, accept,
    reject or correct each label, save review.csv, and replace DIR/review.csv with it. `catsdogs prepare --feedback DIR`
    then adds the accepted pictures. Running this again adds new records and keeps your decisions.
    """
    from monitoring.feedback.review import review as run_review

    with _opened(place, endpoint_url) as origin:
        summary = run_review(origin, out, pictures, say)
    click.echo("\n".join(summary.sentences(out)))


@feedback.command()
@click.argument("place")
@click.option(
    "--by", type=click.Choice(["day", "week"]), default="day", show_default=True, help="Period of a row of the table."
)
@click.option(
    "--reviewed",
    type=PATH,
    metavar="FILE",
    help="review.csv of a review: count only accepted and corrected labels. Default: labels as users gave them.",
)
@click.option("--json", "json_file", type=PATH, metavar="FILE", help="Write the figures to this file as JSON.")
@click.option("--html", "html_file", type=PATH, metavar="FILE", help="Write a page with the table and the plot.")
@click.option("--png", "png_file", type=PATH, metavar="FILE", help="Write the plot to this file.")
@click.option(
    "--min-accuracy",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="SHARE",
    help="Minimum accuracy, which the lower Wilson bound must reach. Default: no gate.",
)
@click.option(
    "--confidence",
    type=click.FloatRange(0.5, 1, min_open=True, max_open=True),
    default=0.95,
    show_default=True,
    metavar="SHARE",
    help="Confidence of the bound that --min-accuracy is compared with.",
)
@click.option("--version", metavar="VERSION", help="Model version to judge. Default: the one used last.")
@ENDPOINT
def accuracy(
    place: str,
    by: str,
    reviewed: Path | None,
    json_file: Path | None,
    html_file: Path | None,
    png_file: Path | None,
    min_accuracy: float | None,
    confidence: float,
    version: str | None,
    endpoint_url: str | None,
) -> None:
    """Show the accuracy over time by model version, among pictures with feedback, with 95 % intervals.

    Users report wrong predictions more often than correct ones. So the figures are lower estimates, and versions can be
    compared only if users of both give feedback in the same way. A picture counts once per version. Pictures with
    several labels, and those labelled other, are left out.

    Exit status: 0 without --min-accuracy, or PASS; 10 BREACH, the accuracy is below the minimum; 11 INCONCLUSIVE, too
    few pictures to tell; 12 INVALID, no record could be read; 2 wrong usage.
    """
    from common.verdicts import Verdict
    from monitoring.feedback.accuracy import CAVEAT, judge
    from monitoring.feedback.accuracy import accuracy as measure
    from monitoring.feedback.records import read_records

    if version and min_accuracy is None:
        raise UserError("--version selects the version for --min-accuracy: give both options.")
    truths = _truths(reviewed) if reviewed else None
    with _opened(place, endpoint_url) as origin:
        read = read_records(origin, say)
    result = measure(read.records, by, truths)
    _write(result, json_file, html_file, png_file)
    _print(result)
    click.echo(CAVEAT)
    if min_accuracy is None:
        return
    check = judge(result, min_accuracy, confidence, version)
    verdict = check.verdict if read.records else Verdict.INVALID
    click.echo(f"{verdict}: {check.sentence if read.records else 'no record could be read.'}")
    sys.exit(verdict.exit_code)


@contextmanager
def _opened(place: str, endpoint_url: str | None) -> "Iterator[Place]":
    from monitoring.feedback.open_place import open_place

    with open_place(place, endpoint_url) as origin:
        yield origin


def _truths(path: Path) -> Mapping[tuple[str, str], str]:
    """Return the labels after review by id and sha256."""
    from monitoring.feedback.review import read_earlier

    rows = read_earlier(path)
    if not path.exists():
        raise UserError(f"There is no {path}. Make it by: catsdogs feedback review")
    return {(id, row.sha256): row.truth for id, row in rows.items() if row.truth is not None}


def _write(result: "Accuracy", json_file: Path | None, html_file: Path | None, png_file: Path | None) -> None:
    if html_file or png_file:
        try:
            from monitoring.feedback.accuracy_report import html, png
        except ModuleNotFoundError as error:
            raise UserError(
                f"The plot needs {error.name}, which is not installed: pip install --require-hashes -r "
                "requirements/load.txt. The table and --json do not need it."
            ) from error
        if html_file:
            write_atomic(html_file, html(result))
        if png_file:
            write_atomic(png_file, png(result))
    if json_file:
        write_atomic(json_file, json.dumps(result.document(), indent=2).encode() + b"\n")


def _print(result: "Accuracy") -> None:
    if result.figures:
        click.echo(f"{result.by:10}  {'version':20}  correct      n  accuracy  95 % interval")
    for figure in [*result.figures, *result.versions]:
        low, high = figure.interval
        click.echo(
            f"{figure.period:10}  {figure.version:20}  {figure.right:7}  {figure.count:5}  {figure.share:8.3f}  "
            f"{low:.3f} to {high:.3f}"
        )
    reasons = ", ".join(f"{reason} {count}" for reason, count in result.left_out.items() if count)
    counted = sum(figure.count for figure in result.versions)
    click.echo(f"{counted} of {result.records} records are counted." + f" Left out: {reasons}." * bool(reasons))
