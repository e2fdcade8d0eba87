"""The verb unsure: the threshold below which an answer is unsure, and what it does on pictures of other things."""

from pathlib import Path

import click
from rich.text import Text

from training.cli.options import FOLDER, RELEASE
from training.console import plain_console


@click.command()
@RELEASE
@click.option(
    "--data",
    type=FOLDER,
    help="Folder that `prepare` wrote, with the manifest that the release was trained on: choose the threshold.",
)
@click.option(
    "--others",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder with a folder of pictures for each kind of other things, such as cars: count those called unsure.",
)
def unsure(release: Path, data: Path | None, others: Path | None) -> None:
    """Choose the threshold below which an answer is unsure, and write it into a release and its card.

    `export` does this for a new release. This verb does it for an existing release, on the val split: the threshold is
    the smallest probability at which at most 1 % of the answers are wrong. With --others, it measures what the
    threshold does on pictures that show none of the classes. The networks and their version do not change.
    """
    from handler.files import UserError
    from handler.sniff import PICTURES
    from training.data import manifest
    from training.release.add_unsure import add_unsure, measure_others

    if data is None and others is None:
        raise UserError("Name the release's prepared pictures by --data, or a folder of other pictures by --others.")
    with plain_console(stderr=True).status("") as status:
        if data is not None:
            made = add_unsure(release, manifest.read(data), lambda stage: status.update(Text(stage)))
            for precision, facts in made["precisions"].items():
                val, threshold = facts["val"], facts["threshold"]
                click.echo(
                    f"{precision}: unsure below {threshold}: {val['sure']} of {val['count']} val answers are not, "
                    f"{val['wrong']} of these are wrong"
                    if threshold is not None
                    else f"{precision}: no threshold makes so few answers wrong"
                )
        if others is not None:
            kinds = {
                folder.name: [path for path in sorted(folder.rglob("*")) if path.is_file() and is_one(path)]
                for folder in sorted(others.iterdir())
                if folder.is_dir()
            }
            kinds = {kind: paths for kind, paths in kinds.items() if paths}
            if not kinds:
                raise UserError(f"{others} holds no folders of pictures ({PICTURES}).")
            measured = measure_others(release, kinds, lambda stage: status.update(Text(stage)))
            for kind, by_precision in measured.items():
                counts = [f"{row['unsure']} in {name}" for name, row in by_precision.items() if name != "count"]
                click.echo(f"{kind}: of {by_precision['count']} pictures, unsure: {', '.join(counts)}")
    click.echo(f"next: catsdogs package {release}")


def is_one(path: Path) -> bool:
    from handler.sniff import is_picture

    with path.open("rb") as file:
        return is_picture(file.read(4096))
