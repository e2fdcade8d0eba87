"""The options of feedback, which `catsdogs serve` and `catsdogs gateway` share."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from handler.files import UserError
from serving.cli.options import PATH

OPTIONS = (
    click.option(
        "--feedback",
        "place",
        envvar="CATSDOGS_FEEDBACK",
        metavar="PLACE",
        help="Accept feedback, and store it in this folder or s3://BUCKET/PREFIX. Default: $CATSDOGS_FEEDBACK, else "
        "feedback is off.",
    ),
    click.option(
        "--feedback-key",
        envvar="CATSDOGS_FEEDBACK_KEY_FILE",
        type=PATH,
        help="File with keys for feedback tokens, one per line: the first signs, all verify. Default: "
        "$CATSDOGS_FEEDBACK_KEY_FILE, else a new random key at each start.",
    ),
    click.option(
        "--feedback-pictures",
        is_flag=True,
        help="Also store the picture, if the user agrees and sends it again.",
    ),
    click.option(
        "--feedback-endpoint-url",
        envvar=["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"],
        metavar="URL",
        help="URL of an S3 service other than AWS, such as MinIO. Default: $AWS_ENDPOINT_URL_S3 or $AWS_ENDPOINT_URL.",
    ),
    click.option(
        "--max-feedback-age",
        type=click.FloatRange(0, 24 * 366, min_open=True),
        metavar="HOURS",
        help="Hours after a prediction in which feedback on it is accepted.  [default: 24]",
    ),
    click.option(
        "--max-feedback-rate",
        type=click.FloatRange(0, 10_000, min_open=True),
        metavar="NUMBER",
        help="Maximum number of feedback requests per second.  [default: 10]",
    ),
    click.option(
        "--max-feedback-files",
        type=click.IntRange(1),
        metavar="NUMBER",
        help="Maximum number of stored feedback files.  [default: 10000]",
    ),
    click.option(
        "--max-feedback-mib",
        type=click.IntRange(1),
        metavar="MIB",
        help="Maximum total size of stored feedback files in MiB.  [default: 1024]",
    ),
)
# Their names in FeedbackSettings.
LIMITS = {
    "max_feedback_age": "max_age_hours",
    "max_feedback_rate": "max_rate",
    "max_feedback_files": "max_files",
    "max_feedback_mib": "max_mib",
}


def feedback_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a verb the options, which it gets as one argument `feedback`: FeedbackSettings, or None."""

    @functools.wraps(command)
    def gathered(
        *,
        place: str | None,
        feedback_key: Path | None,
        feedback_pictures: bool,
        feedback_endpoint_url: str | None,
        **others: Any,
    ) -> None:
        from serving.feedback.settings import FeedbackSettings

        limits = {name: others.pop(option) for option, name in LIMITS.items()}
        limits = {name: value for name, value in limits.items() if value is not None}
        if place:
            feedback = FeedbackSettings(
                place, feedback_key, feedback_pictures, endpoint=feedback_endpoint_url, **limits
            )
            return command(feedback=feedback, **others)
        if feedback_pictures or limits:
            raise UserError("Feedback is off: also give --feedback with a folder or s3://BUCKET/PREFIX.")
        return command(feedback=None, **others)

    for option in reversed(OPTIONS):
        gathered = option(gathered)
    return gathered
