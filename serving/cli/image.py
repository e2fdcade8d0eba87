"""catsdogs image: operations on pictures, without a server."""

import functools
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from handler.files import UserError
from serving.cli.options import ARCHIVE, PATH
from serving.terminal import say

SIDE = click.IntRange(1, 65_535)
OFFSET = click.IntRange(0, 65_535)
COLOURS = "Three numbers with commas between them, for red, green and blue.  [default: ImageNet's, {}]"
MODEL = click.option(
    "--model", default=ARCHIVE, show_default=True, type=PATH, help="Archive (.mar) or release folder of the network."
)


@click.group()
def image() -> None:
    """Resize, crop or normalize pictures, or show what the network sees of them."""


def operation(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command its pictures, `--out` and `--force`."""

    @functools.wraps(command)
    def checked(*, paths: tuple[Path, ...], out: Path, force: bool, **others: Any) -> None:
        command(Files(paths, out, force), **others)

    for option in (
        click.option("--force", is_flag=True, help="Replace files that exist."),
        click.option(
            "--out",
            required=True,
            type=PATH,
            help="File to write, or - for standard output. For several pictures: a folder, which is made if needed.",
        ),
        click.argument("paths", nargs=-1, required=True, type=PATH),
    ):
        checked = option(checked)
    return checked


class Files:
    """The pictures of a command, and where the results go."""

    def __init__(self, paths: tuple[Path, ...], out: Path, force: bool) -> None:
        self.paths, self.out, self.force = paths, out, force

    def run(self, name: str, parameters: Mapping[str, object], model: Path | None = None) -> None:
        """Carry out an operation on each picture, and exit with 1 where one was refused."""
        from serving.images.local import run

        given = [(key, str(value)) for key, value in parameters.items() if value is not None]
        if not run(name, self.paths, self.out, self.force, given, model, say):
            sys.exit(1)


@image.command()
@operation
@click.option("--width", type=SIDE, help="Width of the result in pixels.")
@click.option("--height", type=SIDE, help="Height of the result. With only one of the two, the aspect is kept.")
def resize(files: Files, width: int | None, height: int | None) -> None:
    """Scale pictures, as PNG; sides of at most 4096 pixels.

    PATHS are pictures or folders of them, or - for standard input.
    """
    if width is None and height is None:
        raise UserError("resize needs --width or --height: give one of them, or both.")
    files.run("resize", {"width": width, "height": height})


@image.command()
@operation
@click.option("--width", type=SIDE, help="Width of the rectangle in pixels. Default: the largest square.")
@click.option("--height", type=SIDE, help="Height of the rectangle in pixels. Default: the width.")
@click.option("--left", type=OFFSET, help="Columns to the left of it. Default: it is in the middle.")
@click.option("--top", type=OFFSET, help="Rows above it. Default: it is in the middle.")
def crop(files: Files, **rectangle: int | None) -> None:
    """Cut a rectangle out of pictures, as PNG.

    PATHS are pictures or folders of them, or - for standard input.
    """
    files.run("crop", rectangle)


@image.command()
@operation
def grayscale(files: Files) -> None:
    """Take the colours out of pictures, as PNG.

    PATHS are pictures or folders of them, or - for standard input.
    """
    files.run("grayscale", {})


@image.command()
@operation
@MODEL
@click.option("--mean", metavar="R,G,B", help=COLOURS.format("0.485,0.456,0.406"))
@click.option("--std", metavar="R,G,B", help=COLOURS.format("0.229,0.224,0.225"))
@click.option(
    "--format", type=click.Choice(["npy", "json"]), default="npy", show_default=True, help="Format of the result."
)
def normalize(files: Files, model: Path, **parameters: str | None) -> None:
    """Write pictures as normalized numbers, which the network computes with.

    A picture is scaled to the network's size and divided by 255; the mean is subtracted, and the rest divided by the
    standard deviation. The result is float32 of shape (3, size, size).

    PATHS are pictures or folders of them, or - for standard input.
    """
    files.run("normalize", parameters, model)


@image.command("show-input")
@operation
@MODEL
@click.option("--npy", is_flag=True, help="Write the tensor, uint8 of shape (1, size, size, 3), as a NumPy file.")
def show_input(files: Files, model: Path, npy: bool) -> None:
    """Show exactly what the network sees of pictures, as PNG of the network's size.

    PATHS are pictures or folders of them, or - for standard input.
    """
    files.run("show-input", {"format": "npy" if npy else "png"}, model)
