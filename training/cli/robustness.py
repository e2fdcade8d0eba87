"""The verb robustness: accuracy and calibration of a release on changed test pictures, written into its card."""

from pathlib import Path

import click

from training.cli.options import DATA, RELEASE
from training.console import plain_console, progress_bar


@click.command()
@RELEASE
@DATA
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    show_default="all",
    help="Number of test pictures of each source, at even distances by path.",
)
def robustness(release: Path, data: Path, limit: int | None) -> None:
    """Measure a release on dark, blurred, turned and other changed pictures, and write it into its card.

    The test pictures are answered as they are and in each condition, in each precision of the release, by the runtimes
    that serve it. The changes are the same in each run. The networks and their version do not change.
    """
    from training.data import manifest
    from training.evaluation.robustness_section import NO, judged
    from training.release.add_robustness import add_robustness

    with progress_bar(plain_console(stderr=True)) as progress:
        task = progress.add_task("answering", total=None, rate="")
        measured = add_robustness(
            release,
            manifest.read(data),
            limit,
            lambda done, total: progress.update(task, completed=done, total=total),
        )
    for precision, sources in measured["precisions"].items():
        for source, conditions in sources.items():
            for condition, figures in conditions.items():
                accuracy = f"{100 * figures['share']:.2f} % ({100 * figures['low']:.2f} to {100 * figures['high']:.2f})"
                error = (
                    f"{100 * figures['ece']:.2f} % ({100 * figures['ece_low']:.2f} to {100 * figures['ece_high']:.2f})"
                )
                click.echo(
                    f"{precision}, {source}, {condition}: accuracy {accuracy}, ECE {error}, n = {figures['count']}"
                )
    wrong = ", ".join(name for name, found in judged(measured).items() if found == NO) or "none"
    click.echo(f"ECE shown to be above {100 * measured['trusted_ece']:g} %: {wrong}")
    click.echo(f"next: catsdogs package {release}")
