"""The verbs export, quantise and package: from a checkpoint to a release, and from a release to an archive."""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from common.verdicts import Verdict
from training.cli.options import DATA, FOLDER, RUN, RUNTIME, options, replace
from training.console import plain_console

EXPORT_OPTIONS = [
    DATA,
    RUN,
    click.option("--out", type=FOLDER, show_default="model-store/NAME", help="Folder that the release is written to."),
    click.option("--version", required=True, help="Version of the release, for example 0.2.0."),
    click.option(
        "--name",
        show_default="OUT's last folder; catsdogs for cats and dogs",
        help="Name of the model, by which clients address it.",
    ),
    click.option(
        "--size",
        type=click.IntRange(32),
        show_default="as evaluated",
        help="Side of the network's square input, pixels.",
    ),
    click.option(
        "--resize",
        type=click.Choice(["squeeze", "crop"]),
        show_default="as evaluated",
        help="How a picture becomes a square: squeezed, or its middle cropped.",
    ),
    click.option(
        "--allow-poor",
        is_flag=True,
        help="Export also a model that was not evaluated, or that is not better than always answering the most common "
        "class.",
    ),
    replace("a release"),
    click.option(
        "--int8/--no-int8",
        default=True,
        show_default=True,
        help="Make an int8 network for x86-64 CPUs too, released where the test pictures show that it is as good.",
    ),
    click.option(
        "--license",
        metavar="SPDX",
        show_default="not stated",
        help="Licence of the weights, for the archive's bill of materials: an SPDX expression such as Apache-2.0.",
    ),
    click.option(
        "--keep",
        default=5,
        show_default=True,
        type=click.IntRange(min=0),
        help="Number of earlier releases that stay in the folder releases beside OUT.",
    ),
]


@click.command()
@options(EXPORT_OPTIONS)
def export(
    data: Path, run: Path, out: Path | None, version: str, name: str | None, allow_poor: bool, **choices: Any
) -> None:
    """Export a checkpoint as a release: safetensors, ONNX and release.json.

    Every runtime for CPUs must answer as torch and as the checkpoint does, or nothing is written. What `evaluate`
    measured of this checkpoint goes into the release. A model that it does not show to be better than always answering
    the most common class is refused.

    A release of another version in OUT is kept as
    releases/NAME-VERSION beside OUT; one of the same version with other weights is an error.
    """
    from handler.files import sha256_file
    from training.data import manifest
    from training.release.naming import place
    from training.release.refusals import refuse_target

    pictures, best = manifest.read(data), run / "best.pt"
    report, decisions = _read_evaluation(run, allow_poor)
    digest = sha256_file(best)
    # All of this is known before torch is imported, which takes seconds.
    if report is not None or name is not None or out is not None:
        name, out = place(name, out, report["classes"] if report else ())
        refuse_target(out, name, version, digest, choices["replace"])

    from training.learning.checkpoint import load_checkpoint
    from training.release.export import export as run_export
    from training.tracking.record import read_record

    tracked = read_record(run)

    checkpoint = load_checkpoint(best)
    name, out = place(name, out, checkpoint.classes)
    with plain_console(stderr=True).status("") as status:
        release = run_export(
            checkpoint,
            pictures,
            out,
            version,
            report,
            lambda stage: status.update(Text(stage)),
            name=name,
            decisions=decisions,
            allow_poor=allow_poor,
            checkpoint_sha256=digest,
            run_id=tracked.run if tracked else None,
            **choices,
        )
    parity = release["parity"]
    if release["kernels"]["stored"] == "fp32":
        click.echo("Kernels are stored as fp32: rounded to fp16 they would move a probability by too much.", err=True)
    click.echo(
        f"{out}: torch and the runtimes agree within {parity['max_difference']} on {parity['pictures']} pictures"
    )
    _say_int8(release.get("precisions", {}).get("int8"))
    click.echo(f"next: catsdogs package {out}")


def _say_int8(facts: dict[str, Any] | None) -> None:
    if facts:
        released = "int8 is released" if facts["verdict"] == "PASS" else "int8 is not released"
        click.echo(f"{released} ({facts['verdict']}). {facts['sentence']}")


@click.command()
@click.argument("release", default="model-store/catsdogs", type=FOLDER)
@DATA
def quantise(release: Path, data: Path) -> None:
    """Add an int8 network for x86-64 CPUs to a release, or replace it.

    RELEASE is a folder that `export` wrote. 200 pictures of the train split calibrate the network. It is released only
    where the pictures of the test split show that it loses at most 0.5 points of accuracy, and is calibrated as well as
    the fp32 network. Exit status: 0 released, 10 worse than that, 11 too few test pictures to show it.
    """
    from rich.console import Console
    from rich.progress import Progress

    from training.data import manifest
    from training.release.requantise import requantise

    pictures = manifest.read(data)
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("answering test pictures in fp32 and int8")
        facts = requantise(release, pictures, lambda done, total: bar.update(task, completed=done, total=total))
    _say_int8(facts)
    sys.exit(Verdict(facts["verdict"]).exit_code)


def _read_evaluation(run: Path, allow_poor: bool) -> Any:
    """Return the report on the run's best checkpoint, or None, and the decisions on its input.

    Raises:
        UserError: there is no report, and one is required.
    """
    from handler.files import UserError
    from training.release.refusals import read_evaluation
    from training.release.worth import refuse_poor

    report, decisions = read_evaluation(run / "evaluation", run / "best.pt")
    if report is not None and not allow_poor:
        refuse_poor(report)
    if report is None:
        if not allow_poor:
            raise UserError(
                f"There are no figures on {run / 'best.pt'}: run catsdogs evaluate first; to export it without: "
                "--allow-poor"
            )
        click.echo("No figures go into the release: this checkpoint was not evaluated.", err=True)
    return report, decisions


@click.command()
@click.argument("release", default="model-store/catsdogs")
@click.option(
    "--out",
    metavar="FILE",
    type=FOLDER,
    show_default="RELEASE.mar; model-store/NAME.mar from the registry",
    help="File of the archive.",
)
@RUNTIME
@click.option(
    "--chart-values",
    metavar="FILE",
    type=FOLDER,
    help="File for the chart's values (YAML) by which pods fetch the registered version from its MLflow server.",
)
@replace("an archive")
def package(release: str, out: Path | None, runtime: str, chart_values: Path | None, replace: bool) -> None:
    """Package a release as a .mar archive for TorchServe.

    RELEASE is a folder that `export` wrote, or a registered version: models:/NAME@champion or models:/NAME/NUMBER. The
    same release gives the same archive, byte for byte. An archive of the same name and version with other weights is
    not replaced without --replace.
    """
    if release.startswith("models:/"):
        from training.registry.from_registry import package_version

        say = partial(click.echo, err=True)
        out, digest = package_version(release, out, runtime, replace, say, chart_values)
        click.echo(f"{out}  sha256 {digest}")
        return
    if chart_values is not None:
        raise click.UsageError("--chart-values needs a registered version, such as models:/pets@champion.")
    from training.release.package import package as run_package

    folder = Path(release)
    out = out or Path(f"{folder.absolute() if not folder.name else folder}.mar")
    with plain_console(stderr=True).status(Text(f"packing {folder} for {runtime}")):
        digest = run_package(folder, out, runtime, replace)
    click.echo(f"{out}  sha256 {digest}")
