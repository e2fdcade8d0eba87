"""catsdogs explain: where in pictures the network saw a class, in words, as JSON or as PNG."""

import json
import sys
from pathlib import Path

import click

from handler.files import UserError
from serving.cli.options import ARCHIVE, PATH, PRECISION
from serving.terminal import say


@click.command()
@click.argument("paths", nargs=-1, required=True, type=PATH)
@click.option(
    "--model", default=ARCHIVE, show_default=True, type=PATH, help="Archive (.mar) of the network that is explained."
)
@PRECISION
@click.option("--class", "label", metavar="NAME", help="Class that is explained. Default: the predicted one.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document per line: the numbers of the map.")
@click.option(
    "--out",
    type=PATH,
    help="PNG file to write, the picture with the map over it, or - for standard output. For several pictures: a "
    "folder, which is made if needed.",
)
@click.option("--force", is_flag=True, help="Replace files that exist.")
def explain(
    paths: tuple[Path, ...], model: Path, label: str | None, as_json: bool, out: Path | None, force: bool
) -> None:
    """Show where in pictures the network saw a class.

    The class activation map divides a picture into parts, and says of each how much it adds to the logit of the class,
    or takes from it. Their mean is the logit less the network's bias, so that the map is exact.

    PATHS are pictures or folders of them. The exit status is 1 if a picture gets no explanation.
    """
    from serving.client.explain import explain_offline, in_words
    from serving.client.pictures import find_pictures
    from serving.images.local import STANDARD, find_targets, write_result

    if as_json and out is not None:
        raise UserError("--json prints numbers, and --out writes pictures: give one of them.")
    if force and out is None:
        raise UserError("--force replaces files that --out names: give --out.")
    if STANDARD in paths:
        raise UserError("A picture is explained by its file: standard input is not read here.")
    if out is None:
        sources, targets = find_pictures(paths, say), {}
    else:
        targets = dict(find_targets(paths, out, ".png", force, say))
        sources = list(targets)
    complete = True
    for explained in explain_offline(sources, model, label, png=out is not None):
        if explained.problem is not None:
            complete = False
        if as_json:
            print(json.dumps(explained.as_json()), flush=True)
        elif explained.problem is not None:
            say(f"{explained.path}: {explained.problem}")
        elif explained.path in targets:
            write_result(targets[explained.path], explained.png())
        else:
            print(in_words(explained), flush=True)
    sys.exit(not complete)
