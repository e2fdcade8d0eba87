"""The verb rollback: the previous champion is the champion again."""

import sys
from pathlib import Path

import click
from rich.text import Text

from training.cli.options import options
from training.cli.registry_options import ARCHIVE, AUDIT, NAME, TIMEOUT, URL, WHO, now, tell_chart, wait, who_asks
from training.console import plain_console

OPTIONS = [
    NAME,
    click.option(
        "--to",
        type=click.IntRange(1),
        show_default="the champion before this one",
        help="Version that becomes the champion: one that was it once.",
    ),
    click.option("--reason", default="", help="Sentence for the record."),
    AUDIT,
    WHO,
    ARCHIVE,
    URL,
    TIMEOUT,
]


@click.command()
@options(OPTIONS)
def rollback(
    name: str,
    to: int | None,
    reason: str,
    audit: Path,
    who: str | None,
    archive: Path | None,
    url: str | None,
    timeout: float,
) -> None:
    """Make the previous champion the champion again.

    Its files are fetched and verified first. Then the alias `champion` moves to it, and --archive gets its archive.
    With --url, waits until that server answers by it. A record is written.

    Exit status: 0 done; 13 NOT_READY, the server of --url did not follow in time; 2 wrong usage, such as where there
    is no previous champion.
    """
    started = now()
    from training.registry.open_registry import open_registry
    from training.registry.rollback import rollback as run_rollback

    registry = open_registry()
    with plain_console(stderr=True).status("") as status:
        back = run_rollback(
            registry, name, audit, who_asks(who), reason, to, archive, lambda text: status.update(Text(text))
        )
    click.echo(f"{back.after} is the champion again, in the place of {back.before}.")
    click.echo(f"{back.record}/record.json")
    verdict = wait(url, timeout, back.after, started)
    tell_chart(back.after)
    sys.exit(verdict.exit_code)
