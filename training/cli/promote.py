"""The verb promote: a release becomes the champion, where it passes the gate."""

import sys
from pathlib import Path

import click
from rich import box
from rich.table import Table
from rich.text import Text

from common.verdicts import Verdict
from training.cli.options import DATA, FOLDER, options
from training.cli.registry_options import ARCHIVE, AUDIT, TIMEOUT, URL, WHO, now, tell_chart, wait, who_asks
from training.console import plain_console, progress_bar

OPTIONS = [
    DATA,
    click.option(
        "--margin",
        default=0.5,
        show_default=True,
        type=click.FloatRange(0, 100),
        help="Accuracy that the candidate may lose and still pass, in percentage points.",
    ),
    click.option(
        "--max-log-loss-increase",
        default=0.02,
        show_default=True,
        type=click.FloatRange(0),
        help="Mean log loss that the candidate may gain, in nats.",
    ),
    click.option(
        "--max-slowdown",
        default=1.25,
        show_default=True,
        type=click.FloatRange(0.1),
        help="Time for one picture that is allowed, as a multiple of the champion's.",
    ),
    click.option(
        "--max-growth",
        default=1.25,
        show_default=True,
        type=click.FloatRange(0.1),
        help="Size of the archive that is allowed, as a multiple of the champion's.",
    ),
    click.option(
        "--new-test-set",
        is_flag=True,
        help="Compare on this test split although the champion was promoted on another one. The record says so.",
    ),
    AUDIT,
    WHO,
    ARCHIVE,
    URL,
    TIMEOUT,
]


@click.command()
@click.argument("release", default="model-store/catsdogs", type=FOLDER)
@options(OPTIONS)
def promote(
    release: Path,
    data: Path,
    margin: float,
    max_log_loss_increase: float,
    max_slowdown: float,
    max_growth: float,
    new_test_set: bool,
    audit: Path,
    who: str | None,
    archive: Path | None,
    url: str | None,
    timeout: float,
) -> None:
    """Register a release, and make it the champion if it passes.

    RELEASE is a folder that `export` wrote. Its files and its archive are registered in MLflow as a new version. Then
    its archive and the champion's answer the test pictures of DATA: accuracy, slices, calibration, latency and size are
    judged. On a pass the alias `champion` moves to the new version. A record is written in any case. The first version
    has nothing to be compared with.

    Exit status: 0 PASS; 10 BREACH, the candidate is worse; 11 INCONCLUSIVE, too few pictures to tell; 12 INVALID, a
    model was trained on test pictures, or the test split is not the champion's; 13 NOT_READY, the server of --url did
    not follow in time; 2 wrong usage.
    """
    started = now()
    from training.data import manifest
    from training.registry.open_registry import open_registry

    pictures = manifest.read(data)
    registry = open_registry()
    from training.registry.gate import Limits
    from training.registry.promote import Request
    from training.registry.promote import promote as run_promote

    request = Request(
        release,
        pictures,
        audit,
        who_asks(who),
        Limits(margin, max_log_loss_increase, max_slowdown, max_growth),
        new_test_set,
        archive,
    )
    with progress_bar(plain_console(stderr=True)) as progress:
        task = progress.add_task("", total=None, rate="")
        outcome = run_promote(
            registry,
            request,
            lambda text: progress.update(task, description=text),
            lambda done, total: progress.update(task, completed=done, total=total),
        )
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for header in ("check", "verdict", "measured"):
        table.add_column(header, overflow="fold")
    for check in outcome.checks:
        table.add_row(Text(check.name), Text(check.verdict), Text(check.sentence))
    plain_console().print(table)
    click.echo(f"{outcome.verdict}: {outcome.sentence}")
    click.echo(f"{outcome.record}/record.json")
    verdict = outcome.verdict
    if verdict is Verdict.PASS:
        tell_chart(outcome.version)
        verdict = wait(url, timeout, outcome.version, started)
    sys.exit(verdict.exit_code)
