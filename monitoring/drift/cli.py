"""The verb drift: records of predictions against the reference of their release."""

import json
import sys
from pathlib import Path

import click

from handler.files import write_atomic

FOLDER = click.Path(path_type=Path)


@click.command()
@click.argument("records", nargs=-1, required=True, type=FOLDER)
@click.option(
    "--release",
    default="model-store/catsdogs",
    show_default=True,
    type=FOLDER,
    help="Folder of the release that made the predictions; it has the reference.",
)
@click.option("--hours", type=click.FloatRange(min=0, min_open=True), help="Only records of the last hours.")
@click.option("--html", type=FOLDER, help="File for the report with pictures.")
@click.option("--json", "json_file", type=FOLDER, help="File for the verdict and its figures as JSON.")
def drift(
    records: tuple[Path, ...], release: Path, hours: float | None, html: Path | None, json_file: Path | None
) -> None:
    """Judge whether recorded pictures differ from the reference of the release.

    RECORDS are files, or folders of files, that workers write where the variable CATSDOGS_RECORDS names a folder. All
    features together, each feature and the predicted classes are tested, by permutations and with Holm's correction.
    Near-identical pictures count once.

    Exit status: 0 PASS, 10 BREACH (drift), 11 INCONCLUSIVE (fewer than 100 different pictures), 12 INVALID (records of
    other models, or broken ones).
    """
    from monitoring.drift.judgement import judge_files

    judgement, reference, sample = judge_files(records, release, hours)
    if json_file is not None:
        write_atomic(json_file, json.dumps(judgement.document(), indent=2).encode() + b"\n")
    if html is not None:
        from monitoring.drift.report import page

        write_atomic(html, page(judgement, reference, sample).encode())
    for name, outcome in judgement.outcomes.items():
        index = f"  PSI {judgement.psi[name]:.3f}" if name in judgement.psi else ""
        click.echo(f"{name:16} difference {outcome.effect:.3f}  p {outcome.adjusted:.4f}{index}")
    click.echo(f"{judgement.verdict}: {judgement.reason}")
    sys.exit(judgement.verdict.exit_code)
