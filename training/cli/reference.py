"""The verb reference: the distribution of pictures that drift is measured against."""

from pathlib import Path

import click
from rich.text import Text

from training.cli.options import DATA, RELEASE
from training.console import plain_console


@click.command()
@RELEASE
@DATA
@click.option(
    "--pictures",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of pictures as users send them, to measure instead of the val split. Labels are not needed.",
)
def reference(release: Path, data: Path, pictures: Path | None) -> None:
    """Measure the reference for drift, and write it into a release.

    `export` does this for a new release. This verb does it for an existing release, from the val split of the manifest
    that it was trained on, or from pictures of your own. The network and its version do not change.
    """
    from handler.features import FEATURES
    from handler.files import UserError
    from handler.sniff import PICTURES, is_picture
    from training.data import manifest
    from training.data.even import evenly
    from training.release.add_reference import add_reference
    from training.release.reference import MAX_PICTURES

    if pictures is None:
        source: manifest.Manifest | list[Path] = manifest.read(data)
    else:
        files = sorted(path for path in pictures.rglob("*") if path.is_file() and not path.name.startswith("."))
        source = evenly([path for path in files if is_picture(path.read_bytes())], MAX_PICTURES)
        if not source:
            raise UserError(f"{pictures} holds no pictures ({PICTURES}).")
    with plain_console(stderr=True).status("") as status:
        made = add_reference(release, source, lambda stage: status.update(Text(stage)))
    click.echo(f"{release}: reference of {made['pictures']} pictures, by {', '.join(made['features'])}")
    if missing := [name for name in FEATURES if name not in made["features"]]:
        click.echo(f"left out, because they depend on how these pictures were prepared: {', '.join(missing)}")
    click.echo(f"next: catsdogs package {release}")
