"""The verbs of this room: prepare, train, evaluate, export, package. Heavy imports happen in the verb."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table
from rich.text import Text

from training.console import plain_console, progress_bar

if TYPE_CHECKING:
    from handler.preprocess import Resize

FOLDER = click.Path(path_type=Path)
RUNTIME = click.option(
    "--runtime",
    default="cpu",
    show_default=True,
    type=click.Choice(["cpu", "mnn", "ort", "torch"]),
    help="What it is for: any CPU, one runtime alone, or (torch) GPUs.",
)


@click.command()
@click.argument("pictures", nargs=-1, type=FOLDER)
@click.option("--evaluation-only", multiple=True, type=FOLDER, help="Pictures here, and their twins, are for test.")
@click.option("--out", default="data", show_default=True, type=FOLDER, help="Folder for the manifest.")
@click.option(
    "--split",
    default="80/10/10",
    show_default=True,
    help="Parts for train/val/test. Pictures of a previous manifest stay where it has them, whatever the parts.",
)
@click.option("--previous", type=FOLDER, help="Folder of the previous manifest, by default OUT where it has one.")
@click.option("--fresh", is_flag=True, help="Split anew, without regard to a previous manifest.")
@click.option(
    "--download-to",
    default="downloads",
    show_default=True,
    type=FOLDER,
    help="Folder for datasets and what is unzipped.",
)
@click.option("--no-contact", is_flag=True, help="Draw no contact sheets.")
@click.option("--train", "own_train", multiple=True, type=FOLDER, help="Class folders to train on; repeatable.")
@click.option("--val", "own_val", multiple=True, type=FOLDER, help="Class folders for the val split; repeatable.")
@click.option("--test", "own_test", multiple=True, type=FOLDER, help="Class folders for the test split; repeatable.")
@click.option(
    "--labels",
    type=click.Path(path_type=Path, dir_okay=False),
    help="CSV with the columns path and label, or lines of a path and a label, used instead of class folders. "
    "Paths are relative to this file or to PICTURES.",
)
@click.option(
    "--classes-at-top",
    is_flag=True,
    help="The folders directly below PICTURES are the classes, whatever their names, and all below belongs to them.",
)
@click.option(
    "--keep-near-duplicates",
    is_flag=True,
    help="Keep near-duplicates in different splits of your own. By default those of test and val pictures are not "
    "trained on.",
)
def prepare(
    pictures: tuple[Path, ...],
    evaluation_only: tuple[Path, ...],
    out: Path,
    split: str,
    previous: Path | None,
    fresh: bool,
    download_to: Path,
    no_contact: bool,
    own_train: tuple[Path, ...],
    own_val: tuple[Path, ...],
    own_test: tuple[Path, ...],
    labels: Path | None,
    classes_at_top: bool,
    keep_near_duplicates: bool,
) -> None:
    """Check pictures, find near-duplicates, and split them into train, val and test.

    PICTURES are folders with one folder per class, zips of such folders, or names of datasets to download:
    microsoft-cats-vs-dogs, oxford-iiit-pet, cifar10. Folders named train, val (valid, validation) and test that hold
    class folders are kept as your own split; where val or test is missing, it is taken from train.

    Every picture is decoded fully; what cannot be used goes to quarantine.csv with the reason. Near-duplicates always
    share a side of the split. The same command given again goes on where it was stopped.
    """
    from handler.files import UserError, write_atomic
    from training.data import contact, manifest, sources, summary
    from training.data.split import SPLITS

    try:
        train, val, test = (int(part) for part in split.split("/"))
    except ValueError:
        raise click.BadParameter("three whole numbers, for example 80/10/10", param_hint="--split") from None
    if not (pictures or own_train or labels):
        raise click.UsageError("Missing argument 'PICTURES...': name a folder that holds one folder per class.")
    if fresh and previous:
        raise click.UsageError("--fresh ignores what --previous names: give one of them.")
    started = time.monotonic()
    if not previous and not fresh and (out / "manifest.csv").exists():
        previous = out
    console = plain_console(stderr=True)
    try:
        sides = manifest.read_sides(previous) if previous else {}
        with progress_bar(console) as progress:
            task = progress.add_task("downloading", total=None, rate="MB")

            def megabytes(done: int, total: int) -> None:
                progress.update(task, completed=done // 10**6, total=total // 10**6)

            trees, held_out, *own = (
                sources.find(named, download_to, megabytes)
                for named in (pictures, evaluation_only, own_train, own_val, own_test)
            )
        manifest.check_out(
            out, [*(trees if labels is None else []), *held_out, *(tree for some in own for tree in some)]
        )
        with progress_bar(console) as progress:
            task = progress.add_task("decoding", total=None, rate="")
            prepared = manifest.prepare(
                trees,
                held_out,
                (train, val, test),
                lambda done, total: progress.update(task, completed=done, total=total),
                previous=sides,
                kept=out / "scan.jsonl",
                own_split=dict(zip(SPLITS, own, strict=True)),
                labels=labels,
                classes_at_top=classes_at_top,
                keep_near_duplicates=keep_near_duplicates,
            )
        digest = manifest.write(prepared, out, manifest.read_moves(out) if previous == out else [])
        if not no_contact:
            with console.status("drawing contact sheets"):
                contact.write_sheets(prepared.root, prepared.pictures, digest, out / "contact")
    except KeyboardInterrupt:
        raise UserError("Stopped. The same command goes on where it stopped.") from None
    table = summary.table(prepared)
    lines = summary.sentences(prepared, (train, val, test), time.monotonic() - started, keep_near_duplicates)
    if prepared.quarantine:
        lines.append(f"{summary.set_aside(prepared)} {out}/quarantine.csv says why.")
    lines.append(f"{out}/manifest.csv  sha256 {digest}")
    write_atomic(out / "summary.txt", summary.as_text(table, lines).encode())
    plain_console().print(table)
    click.echo("\n".join(lines))


@click.command()
@click.option(
    "--config",
    metavar="FILE|NAME",
    help="Your own config, or one that ships: default, small, release, release-larger. Without this and --set, `small` "
    "for fewer than 2,000 pictures to train on, else `default`.",
)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="For example train.epochs=2; repeatable.")
@click.option("--data", default="data", show_default=True, type=FOLDER, help="Folder that `prepare` wrote.")
@click.option("--run", default="runs/first", show_default=True, type=FOLDER, help="Folder for the checkpoints.")
@click.option("--cache", type=FOLDER, help="Folder for what frozen networks say, by default DATA/views.")
@click.option("--resume", is_flag=True, help="Go on with the run that is there.")
@click.option("--measure", is_flag=True, help="Train nothing; time the step alone and with its loader.")
@click.option(
    "--unseen-only",
    is_flag=True,
    help="Leave out of the val and test splits what the weights that it starts from were trained on.",
)
def train(
    config: str | None,
    overrides: tuple[str, ...],
    data: Path,
    run: Path,
    cache: Path | None,
    resume: bool,
    measure: bool,
    unseen_only: bool,
) -> None:
    """Train a network on prepared pictures, and keep its best checkpoint.

    One line per epoch; Ctrl-C keeps the last whole epoch, and --resume goes on from it. Several GPUs:
    torchrun --nproc-per-node 4 -m -- catsdogs train ...
    """
    from handler.files import UserError
    from training import config as configs
    from training import recipes
    from training.data import manifest

    path, note = recipes.find_config(config) if config else configs.DEFAULT, ""
    if resume and config is None and (run / "config.yaml").exists():
        path = run / "config.yaml"
    elif config is None and not overrides:
        path, note = recipes.choose_config(len(manifest.read(data).split("train")))
    elif config is None and (start := recipes.config_of_start(overrides)):
        path, note = start, f"The run goes on with the config that its weights were trained by: {start}."
        overrides = ("model.weights_sha256=null", *overrides)
    experiment = configs.load(path, overrides)
    pictures = manifest.read(data)
    note = note or recipes.warning(experiment, len(pictures.split("train")))
    # torch takes seconds to import: after what can be wrong in a config or manifest.
    from training.data.workers import deaths_explained
    from training.learning.history import EpochLine
    from training.learning.optimizer import picture_size
    from training.learning.resume import manifest_of
    from training.learning.start import unseen_by_start
    from training.learning.train import train as run_training

    console = plain_console(quiet=os.environ.get("RANK", "0") != "0")  # of several processes the first one speaks
    if resume and (own := manifest_of(run, pictures, experiment)).sha256 != pictures.sha256:
        console.print(
            f"{run} goes on with the {len(own.pictures)} pictures that it was begun with; {data} has "
            f"{len(pictures.pictures)} now.",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
        pictures = own
    if unseen_only:
        pictures = unseen_by_start(experiment, pictures)
    with progress_bar(console) as progress, deaths_explained():
        task = progress.add_task("starting", total=None, rate="")
        told = 0

        def tell_note() -> None:
            nonlocal note
            if note and not console.quiet:
                click.echo(note, err=True)
            note = ""

        def on_work(what: str, done: int, total: int) -> None:
            nonlocal told
            tell_note()
            progress.update(task, description=what, completed=done, total=total, rate="")
            tenth = 10 * done // total
            if not console.is_terminal and (tenth > told or done == total) and done:
                console.print(f"{what}: {done} of {total}", highlight=False)
            told = 0 if done == total else tenth

        def say(sentence: str) -> None:
            console.print(sentence, highlight=False, soft_wrap=True)

        if measure:
            from training.learning.throughput import measure as run_measurement
            from training.learning.throughput import slowdown_of_all

            rows = run_measurement(experiment, pictures, cache or data / "views", on_work=on_work, say=say)
            table = Table("size", "step alone", "with its loader", "slower by", title="pictures/s")
            for row in rows:
                table.add_row(f"{row.size} px", f"{row.alone:.0f}", f"{row.fed:.0f}", f"{100 * row.slowdown:.1f} %")
            if len(rows) > 1:
                table.add_row("the run", "", "", f"{100 * slowdown_of_all(rows):.1f} %")
            progress.console.print(table)
            return

        def on_step(epoch: int, step: int, steps: int, rate: float) -> None:
            progress.update(
                task, description=f"epoch {epoch + 1}", completed=step, total=steps, rate=f"{rate:.0f} pictures/s"
            )

        def on_epoch(line: EpochLine) -> None:
            tell_note()
            coming = range(line.epoch, experiment.train.epochs)
            # A step costs as much as its pictures have pixels.
            costs = (picture_size(experiment.train, epoch) ** 2 / line.size**2 for epoch in coming)
            left = line.seconds * (len(coming) if experiment.model.freeze_backbone else sum(costs))
            progress.console.print(
                f"epoch {line.epoch:3}/{experiment.train.epochs}  {line.size:3} px  "
                f"train loss {line.train_loss:.4f}  val loss {line.val_loss:.4f}  "
                f"val accuracy {100 * line.val_accuracy:.2f} %  {line.pictures_per_s:.0f} pictures/s  "
                f"{line.seconds:.0f} s, about {left / 60:.0f} min left",
                highlight=False,
                soft_wrap=True,
            )

        try:
            best = run_training(
                experiment, pictures, run, resume, cache or data / "views", on_work, on_step, on_epoch, say
            )
        except KeyboardInterrupt:
            again = f"catsdogs train --data {data} --run {run}" + (f" --cache {cache}" if cache else "") + " --resume"
            raise UserError(f"Stopped. Go on by: {again}") from None
    if os.environ.get("RANK", "0") == "0":
        click.echo(f"best checkpoint: {best}, curves in {run}/curves.png")


@click.command()
@click.option("--data", default="data", show_default=True, type=FOLDER, help="Folder that `prepare` wrote.")
@click.option("--run", default="runs/first", show_default=True, type=FOLDER, help="Folder that `train` wrote.")
@click.option("--checkpoint", type=FOLDER, help="Another checkpoint than RUN/best.pt.")
@click.option("--split", default="test", show_default=True, type=click.Choice(["train", "val", "test"]))
@click.option("--out", type=FOLDER, help="Folder for the report, by default RUN/evaluation.")
@click.option("--size", type=click.IntRange(32, 1024), help="Side of the input, by default the run's.")
@click.option("--resize", type=click.Choice(["squeeze", "crop"]), help="Its rule, by default the run's.")
@click.option("--compare-rules", is_flag=True, help="Instead: which resize rule is better, measured on the val split.")
@click.option("--sizes", metavar="N,N,...", help="Instead: accuracy and cost by input size, on the val split.")
@click.option("--limit", type=click.IntRange(min=1), help="Pictures for --compare-rules and --sizes, evenly spread.")
@click.option("--unseen-only", is_flag=True, help="Leave out val and test pictures that the checkpoint was trained on.")
def evaluate(
    data: Path,
    run: Path,
    checkpoint: Path | None,
    split: str,
    out: Path | None,
    size: int | None,
    resize: "Resize | None",
    compare_rules: bool,
    sizes: str | None,
    limit: int | None,
    unseen_only: bool,
) -> None:
    """Measure a checkpoint's accuracy and calibration, and show its worst mistakes.

    Pictures of different top folders are reported apart, each with its 95 % interval.
    """
    try:
        sides = [int(side) for side in sizes.split(",")] if sizes is not None else []
    except ValueError:
        raise click.BadParameter("whole numbers, for example 112,128,160", param_hint="--sizes") from None
    if any(not 32 <= side <= 1024 for side in sides):
        raise click.BadParameter("from 32 to 1024 pixels", param_hint="--sizes")
    if (size or resize) and (compare_rules or sides):
        raise click.UsageError("--size and --resize are for a report; --compare-rules and --sizes measure several.")
    if limit and not (compare_rules or sides):
        raise click.UsageError("--limit goes with --compare-rules or --sizes: a report is of all pictures.")
    from training.data import manifest
    from training.data.summary import few_pictures
    from training.data.workers import deaths_explained
    from training.evaluation.evaluate import evaluate as run_evaluation
    from training.evaluation.evaluate import unseen_by
    from training.evaluation.input_size import measure_sizes
    from training.evaluation.resize_rule import compare_rules as run_comparison

    pictures = manifest.read(data)
    checkpoint, out = checkpoint or run / "best.pt", out or run / "evaluation"
    if unseen_only:
        whole, pictures = pictures, unseen_by(checkpoint, pictures)
        left_out = len(whole.pictures) - len(pictures.pictures)
        click.echo(f"{left_out} val and test pictures that {checkpoint} was trained on are left out.", err=True)
    console, tables, lines = plain_console(stderr=True), list[Table](), list[str]()
    with progress_bar(console) as progress, deaths_explained():
        task = progress.add_task("predicting", total=None, rate="")

        def on_progress(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        if compare_rules:
            rules = run_comparison(checkpoint, pictures, out, limit, on_progress)
            tables.append(_rules_table(rules))
            lines += [rules["sentence"], f"{out}/rules.json"]
        if sides:
            measured = measure_sizes(checkpoint, pictures, sides, out, limit, on_progress)
            tables.append(_sizes_table(measured))
            lines += [measured["sentence"], f"{out}/sizes.json and sizes.png"]
        if not tables:
            report = run_evaluation(checkpoint, pictures, out, split, on_progress, size, resize)
            tables.append(_report_table(report))
            lines += few_pictures(manifest.few_pictures(pictures.pictures, split), split)
            lines += [*_report_lines(report), f"{out}/report.json, and beside it {', '.join(report['pictures'])}"]
    for table in tables:
        plain_console().print(table)
    click.echo("\n".join(lines))


def _rules_table(rules: dict[str, Any]) -> Table:
    table = Table("rule", "accuracy", "95 % interval", "n", title="val split, at usual aspects")
    for name, figures in rules["rules"].items():
        table.add_row(name, *_percents(figures["share"], figures), str(figures["count"]))
    return table


def _sizes_table(measured: dict[str, Any]) -> Table:
    table = Table("size", "accuracy", "95 % interval", "ms per picture", title="val split")
    for row in measured["sizes"]:
        figures = row["accuracy"]
        table.add_row(str(row["size"]), *_percents(figures["share"], figures), f"{row['milliseconds']:.2f}")
    return table


def _report_table(report: dict[str, Any]) -> Table:
    table = Table("slice", "accuracy", "95 % interval", "n", "balanced", "ECE", title=f"{report['split']} split")
    for name, figures in report["slices"].items():
        shares = (f"{100 * figures[key]:.2f} %" for key in ("balanced_accuracy", "ece"))
        table.add_row(name, *_percents(figures["accuracy"], figures), str(figures["count"]), *shares)
    return table


def _report_lines(report: dict[str, Any]) -> list[str]:
    lines = [
        f"{name}: {pair['truth']} taken for {pair['verdict']}, {pair['count']} of {pair['of']} times"
        for name, figures in report["slices"].items()
        for pair in figures.get("worst_pairs", [])[:3]
    ]
    if few := report["not_judged"]:
        names = ", ".join(f"{name} ({count})" for name, count in few.items())
        lines.append(f"cannot be judged, with fewer than 10 pictures in {report['split']}: {names}")
    temperature = report["temperature"]
    errors = ", ".join(f"{name} {100 * row['ece_scaled']:.2f} %" for name, row in report["slices"].items())
    same = ", the split under test itself" * temperature["fitted_on_the_split_under_test"]
    fitted = f"{temperature['fitted_on']}{same} ({temperature['count']} pictures, shrunk towards 1)"
    return [*lines, f"temperature {temperature['value']:.3f}, fitted on {fitted}: ECE {errors}"]


def _percents(share: float, figures: dict[str, Any]) -> tuple[str, str]:
    return f"{100 * share:.2f} %", f"{100 * figures['low']:.2f} % to {100 * figures['high']:.2f} %"


@click.command()
@click.option("--data", default="data", show_default=True, type=FOLDER, help="Folder that `prepare` wrote.")
@click.option("--run", default="runs/first", show_default=True, type=FOLDER, help="Folder that `train` wrote.")
@click.option("--out", type=FOLDER, help="Folder of the release, by default model-store/NAME.")
@click.option("--version", "release_version", required=True, help="Of the release, for example 0.2.0.")
@click.option("--name", help="The model's, as clients address it; by default OUT's, and catsdogs for cats and dogs.")
@click.option("--size", type=click.IntRange(32), help="Side of the input; by default what was evaluated.")
@click.option("--resize", type=click.Choice(["squeeze", "crop"]), help="Its rule; by default what was evaluated.")
@click.option(
    "--allow-poor",
    is_flag=True,
    help="Also export a model that was not evaluated, or is not better than the most common class.",
)
@click.option("--replace", is_flag=True, help="Replace a release of the same version that has other weights.")
@click.option(
    "--keep",
    default=5,
    show_default=True,
    type=click.IntRange(min=0),
    help="Number of earlier releases that stay in the folder releases beside OUT.",
)
def export(
    data: Path,
    run: Path,
    out: Path | None,
    release_version: str,
    name: str | None,
    size: int | None,
    resize: str | None,
    allow_poor: bool,
    replace: bool,
    keep: int,
) -> None:
    """Export a checkpoint as a release: safetensors, ONNX and release.json.

    ONNX Runtime and MNN must answer as torch and as the checkpoint does, or nothing is written. What `evaluate`
    measured of this checkpoint goes into the release. A model that it does not show to be better than always answering
    the most common class is refused.

    A release of another version in OUT is kept as
    releases/NAME-VERSION beside OUT; one of the same version with other weights is an error.
    """
    from handler.files import UserError, sha256_file
    from training.data import manifest
    from training.learning.checkpoint import load_checkpoint
    from training.release.export import export as run_export
    from training.release.export import read_evaluation
    from training.release.naming import place

    pictures, checkpoint = manifest.read(data), load_checkpoint(run / "best.pt")
    name, out = place(name, out, checkpoint.classes)
    report, decisions = read_evaluation(run / "evaluation", run / "best.pt")
    if report is None:
        if not allow_poor:
            raise UserError(
                f"There are no figures on {run / 'best.pt'}: run catsdogs evaluate first; to export it without: "
                "--allow-poor"
            )
        click.echo("No figures go into the release: this checkpoint was not evaluated.", err=True)
    with plain_console(stderr=True).status("") as status:
        release = run_export(
            checkpoint,
            pictures,
            out,
            release_version,
            report,
            lambda stage: status.update(Text(stage)),
            name=name,
            size=size,
            resize=resize,
            decisions=decisions,
            allow_poor=allow_poor,
            checkpoint_sha256=sha256_file(run / "best.pt"),
            replace=replace,
            keep=keep,
        )
    parity = release["parity"]
    if release["kernels"]["stored"] == "fp32":
        click.echo("Kernels are stored as fp32: rounded to fp16 they would move a probability by too much.", err=True)
    click.echo(f"{out}: torch and ONNX agree within {parity['max_difference']} on {parity['pictures']} pictures")
    click.echo(f"next: catsdogs package {out}")


@click.command()
@click.argument("release", default="model-store/catsdogs", type=FOLDER)
@click.option("--out", type=FOLDER, help="The archive, by default RELEASE.mar.")
@RUNTIME
@click.option("--replace", is_flag=True, help="Replace an archive of the same version that has other weights.")
def package(release: Path, out: Path | None, runtime: str, replace: bool) -> None:
    """Package a release as a .mar archive for TorchServe.

    RELEASE is a folder that `export` wrote. The same release gives the same archive, byte for byte. An archive of the
    same name and version with other weights is not replaced without --replace.
    """
    from training.release.package import package as run_package

    out = out or Path(f"{release.absolute() if not release.name else release}.mar")
    with plain_console(stderr=True).status(Text(f"packing {release} for {runtime}")):
        digest = run_package(release, out, runtime, replace)
    click.echo(f"{out}  sha256 {digest}")
