"""The verb drift: users' pictures against the reference of the release, by records or by servers' counters."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from common.text import printable
from common.verdicts import Verdict
from handler.files import write_atomic

FOLDER = click.Path(path_type=Path)


@click.command()
@click.argument("records", nargs=-1, type=FOLDER)
@click.option(
    "--url",
    help="Metrics port of a server, such as http://127.0.0.1:8082, to judge its counters instead of records. All "
    "addresses of a host name are asked, and their counters are added up.",
)
@click.option(
    "--release",
    default="model-store/catsdogs",
    show_default=True,
    type=FOLDER,
    help="Folder of the release that made the predictions, with its reference.",
)
@click.option(
    "--hours",
    type=click.FloatRange(min=0, min_open=True),
    help="Use only records of this many hours before the newest one.",
)
@click.option("--allow-inconclusive", is_flag=True, help="End with 0 if there are too few pictures to judge.")
@click.option("--html", type=FOLDER, help="File for the report with pictures.")
@click.option("--json", "json_file", type=FOLDER, help="File for the verdict and its figures as JSON.")
def drift(
    records: tuple[Path, ...],
    url: str | None,
    release: Path,
    hours: float | None,
    allow_inconclusive: bool,
    html: Path | None,
    json_file: Path | None,
) -> None:
    """Judge whether users' pictures differ from the reference of the release.

    RECORDS are files of records, or folders of them. Workers write records if the variable CATSDOGS_RECORDS names a
    folder. All features together, each feature and the predicted classes are compared by permutation tests with Holm's
    correction. Components of the network's inner features are compared if all records have them. Near-identical
    pictures count once. With --url, the population stability index (PSI) of the counters is judged, as by GET /drift.

    Exit status: 0 PASS, 10 BREACH (drift), 11 INCONCLUSIVE (too few different pictures, such as fewer than 100
    records), 12 INVALID (only records of other models, or too many broken ones), 13 NOT_READY (no server answers).
    """
    if bool(records) == bool(url):
        raise click.UsageError("Give either RECORDS or --url.")
    if url and (hours or html):
        raise click.UsageError("--hours and --html are for records only: counters have fixed windows.")
    verdict = judge_servers(url, json_file) if url else judge_records(records, release, hours, html, json_file)
    sys.exit(0 if allow_inconclusive and verdict is Verdict.INCONCLUSIVE else verdict.exit_code)


def judge_records(
    records: tuple[Path, ...], release: Path, hours: float | None, html: Path | None, json_file: Path | None
) -> Verdict:
    """Print the verdict on records, and write what is asked for."""
    from monitoring.drift.judgement import judge_files

    judgement, reference, sample = judge_files(records, release, hours)
    if json_file is not None:
        write_json(json_file, judgement.document())
    if html is not None:
        from monitoring.drift.report import page

        write_atomic(html, page(judgement, reference, sample).encode())
    for name, outcome in judgement.outcomes.items():
        index = f"  PSI {judgement.psi[name]:.3f}" if name in judgement.psi else ""
        click.echo(f"{name:16} difference {outcome.effect:.3f}  p {outcome.adjusted:.4f}{index}")
    if judgement.left_out():
        click.echo(judgement.left_out())
    click.echo(f"{judgement.verdict}: {judgement.reason}")
    return judgement.verdict


def judge_servers(url: str, json_file: Path | None) -> Verdict:
    """Print the verdict on the counters of servers, and write what is asked for."""
    from monitoring.drift.counters import ask, combine, overall

    fleet = ask(url)
    judged = combine(fleet.documents)
    verdict = overall(judged)
    if json_file is not None:
        write_json(json_file, {"verdict": verdict, "exit_code": verdict.exit_code, "models": judged})
    for failure in fleet.failures:
        click.echo(failure, err=True)
    for each in judged:
        click.echo(printable(f"{each['model'].get('name')} {each['model'].get('version')}"))
        for window in each.get("windows", []):
            for name, feature in window["features"].items():
                chance = "-" if feature["chance"] is None else f"{feature['chance']:.3f}"
                click.echo(
                    f"{window['hours']:3} h  {printable(name):16} PSI {feature['psi']:.3f}  chance {chance:7} "
                    f"{feature['pictures']:8} pictures  {feature['verdict']}"
                )
        click.echo(f"{each['verdict']}: {printable(each['reason'])}")
    servers = len(fleet.documents) + len(fleet.failures)
    click.echo(f"{verdict}: {len(fleet.documents)} of {servers} servers answered.")
    return verdict


def write_json(path: Path, document: dict[str, Any]) -> None:
    write_atomic(path, json.dumps(document, indent=2).encode() + b"\n")
