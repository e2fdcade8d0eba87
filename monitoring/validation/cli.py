"""catsdogs validate: the accuracy of a running server, by labelled pictures."""

import json
import sys
from pathlib import Path

import click

from handler.files import UserError, write_atomic
from serving.cli.options import CA, KEY, PATH
from serving.terminal import say

MIN_ACCURACY = 0.85
"""The objective of accuracy in loadtest/slo.yaml. A test compares the two."""

SERVER_NAME = click.option(
    "--server-name",
    metavar="NAME",
    help="Name that the server's certificate must carry. Default: the host of the URL.",
)
NO_VERIFY = click.option("--no-verify", is_flag=True, help="Do not verify the certificate of an https server.")
PICTURES = click.option(
    "--pictures",
    type=PATH,
    help="Folder of pictures, in subfolders named by their class. Default: the sample pictures of this package, 8 cats "
    "and 8 dogs.",
)
CONFIDENCE = click.option(
    "--confidence",
    type=click.FloatRange(0.5, 1, min_open=True, max_open=True),
    default=0.95,
    show_default=True,
    metavar="SHARE",
    help="Confidence of each bound.",
)
MAX_LOSS = click.option(
    "--max-loss",
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="Accuracy that the candidate may lose, such as 0.01: more must be ruled out at 95 % confidence. Default: it "
    "passes unless it is shown to be worse.",
)
JSON = click.option("--json", "json_file", type=PATH, metavar="FILE", help="Write the report to this file as JSON.")


@click.command()
@click.option("--url", default="http://127.0.0.1:8080", show_default=True, help="URL of the server's REST API.")
@click.option("--stable", metavar="URL", help="URL of the stable track, with which the server is compared.")
@PICTURES
@click.option(
    "--min-accuracy",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=MIN_ACCURACY,
    show_default=True,
    metavar="SHARE",
    help="Minimum accuracy: the lower Wilson bound of the pictures that are right must reach it.",
)
@CONFIDENCE
@click.option(
    "--recorded",
    type=PATH,
    metavar="FILE",
    help="Answers that the server must give again: the output of `catsdogs predict --json` on the same pictures.",
)
@click.option(
    "--model",
    type=PATH,
    metavar="ARCHIVE",
    help="Archive (.mar) whose answers the server must give; it classifies the pictures here. In place of --recorded.",
)
@click.option(
    "--max-difference",
    type=click.FloatRange(0, 1),
    default=0.01,
    show_default=True,
    metavar="SHARE",
    help="Maximum difference of a probability from the recorded one.",
)
@MAX_LOSS
@click.option(
    "--wait",
    type=click.FloatRange(0),
    default=0,
    metavar="SECONDS",
    help="Maximum seconds to wait until the server is ready.",
)
@JSON
@KEY
@CA
@SERVER_NAME
@NO_VERIFY
def validate(
    url: str,
    stable: str | None,
    pictures: Path | None,
    min_accuracy: float,
    confidence: float,
    recorded: Path | None,
    model: Path | None,
    max_difference: float,
    max_loss: float | None,
    wait: float,
    json_file: Path | None,
    key: str | None,
    ca: Path | None,
    server_name: str | None,
    no_verify: bool,
) -> None:
    """Validate a running server with labelled pictures: its accuracy, and the answers recorded at the release.

    The requests are marked as probes, which objectives and drift leave out.

    Exit status: 0 PASS; 10 BREACH, the accuracy is below the minimum, an answer is not the recorded one, or the server
    is worse than stable; 11 INCONCLUSIVE, too few pictures to tell; 12 INVALID, several models answered, or a picture
    got no answer; 13 NOT_READY, the server was not ready within --wait; 2 wrong usage.
    """
    from monitoring.validation.run import Settings
    from monitoring.validation.run import validate as run_validation
    from serving.client.target import Target
    from serving.gateway.tls import trusting

    if recorded and model:
        raise UserError("--recorded and --model both name the answers to expect: leave one of them out.")
    if max_loss is not None and stable is None:
        raise UserError("--max-loss compares with the stable track: name it by --stable.")
    if ca is not None and no_verify:
        raise UserError("--ca verifies the server's certificate, and --no-verify does not: leave one of them out.")
    trust = trusting(ca) if ca is not None or no_verify else None
    target, other = (Target(address, key=key, trust=trust, server_name=server_name) for address in (url, stable or url))
    settings = Settings(
        min_accuracy, confidence, pictures, recorded, model, max_difference, max_loss=max_loss, wait_s=wait
    )
    report = run_validation(target, other if stable else None, settings, say)
    for check in report.checks:
        click.echo(f"{check.verdict:12}  {check.name}: {check.sentence}")
    for name, (right, count) in report.by_class().items():
        click.echo(f"{'':12}  {name}: {right} of {count} right")
    if report.estimate:
        click.echo(f"{'':12}  {report.estimate.sentence}")
    if json_file:
        write_atomic(json_file, (json.dumps(report.as_json(), indent=2) + "\n").encode())
    click.echo(report.verdict.value)
    sys.exit(report.verdict.exit_code)
