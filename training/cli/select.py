"""The verb select: the best of the tracked runs."""

from pathlib import Path

import click
from rich import box
from rich.table import Table
from rich.text import Text

from training.cli.options import DATA, FOLDER, options
from training.console import plain_console

SHOWN = 10
OPTIONS = [
    DATA,
    click.option("--folder-only", is_flag=True, help="Print only the folder of the best run, for scripts."),
    click.option("--link", type=FOLDER, help="Make this path a link to the folder of the best run."),
]


@click.command()
@options(OPTIONS)
def select(data: Path, folder_only: bool, link: Path | None) -> None:
    """Pick the run with the best validation accuracy.

    Compares the finished runs of the MLflow experiment that were trained on the pictures of DATA: accuracies on two val
    splits cannot be compared. The test split is not used. Between equal accuracies the lower validation loss decides.
    """
    from handler.files import UserError
    from training.data import manifest
    from training.registry.open_registry import check_installed

    pictures = manifest.read(data)
    check_installed()
    from training.registry.select import Run
    from training.registry.select import select as run_select

    chosen = run_select(pictures.sha256)
    best = chosen.best
    if not (Path(best.folder) / "best.pt").exists():
        raise UserError(
            f"The best run is {best.name} ({best.id}), and its checkpoint {best.folder}/best.pt is not here. Run this "
            "command in the folder where it was trained."
        )
    if link is not None:
        _link(link, Path(best.folder))
    if folder_only:
        click.echo(best.folder)
        return

    def row(run: Run) -> list[str]:
        bounds = f"{100 * run.bounds[0]:.2f} to {100 * run.bounds[1]:.2f}" if run.bounds else ""
        return [f"{100 * run.accuracy:.2f}", bounds, f"{run.loss:.4f}", run.id, run.folder]

    table = Table(title=f"validation accuracy in %, n = {best.pictures}", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for header in ("accuracy", "95 % interval", "loss", "run", "folder"):
        table.add_column(header, overflow="fold")
    for run in chosen.runs[:SHOWN]:
        table.add_row(*map(Text, row(run)))
    plain_console().print(table)
    if len(chosen.runs) > SHOWN:
        click.echo(f"{len(chosen.runs) - SHOWN} more runs.")
    if chosen.other_data or chosen.unfinished:
        click.echo(f"Not compared: {chosen.other_data} runs on other pictures, {chosen.unfinished} unfinished runs.")
    click.echo(f"Best run: {best.name}, id {best.id}, in {best.folder}")
    click.echo(
        f"The best of {len(chosen.runs)} accuracies is too high, because it was selected. Measure it on the test "
        f"split: catsdogs evaluate --data {data} --run {best.folder}"
    )


def _link(link: Path, folder: Path) -> None:
    from handler.files import UserError

    if link.exists() and not link.is_symlink():
        raise UserError(f"{link} is there and is not a link. Name another path by --link.")
    beside = link.with_name(f".{link.name}.new")
    beside.unlink(missing_ok=True)
    link.parent.mkdir(parents=True, exist_ok=True)
    beside.symlink_to(folder.absolute())
    beside.replace(link)
