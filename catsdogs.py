"""The command `catsdogs`. A verb's module is imported when the verb is called, so each needs only its own packages."""

import importlib
import sys

import click

from handler.files import UserError

VERBS = {
    "prepare": ("training.cli", "Pictures in class folders -> manifest, split, quarantine."),
    "train": ("training.cli", "Manifest -> checkpoint."),
    "evaluate": ("training.cli", "Checkpoint -> accuracy, confusion matrix, worst mistakes."),
    "export": ("training.cli", "Checkpoint -> release: safetensors, ONNX, release.json."),
    "package": ("training.cli", "Release -> .mar archive for TorchServe."),
    "predict": ("training.cli", "Pictures -> verdicts, offline or by a server."),
    "serve": ("serving.cli", "Archive -> TorchServe behind the gateway, until Ctrl-C."),
    "probe": ("serving.cli", "Can the server answer? startup | ready | live."),
}
EXTRAS = {"training.cli": "train", "serving.cli": "serve"}


class Verbs(click.Group):
    """Lists the verbs without importing them."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        return getattr(importlib.import_module(VERBS[name][0]), name)  # type: ignore[no-any-return]

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl([(name, sentence) for name, (_, sentence) in VERBS.items()])


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="catsdogs")
def cli() -> None:
    """Image classification on TorchServe: from a folder of pictures to an answer from a real server."""


def main() -> None:
    try:
        cli(prog_name="catsdogs")
    except UserError as error:
        click.echo(f"catsdogs: {error}", err=True)
        sys.exit(2)
    except ModuleNotFoundError as error:
        room = next((room for room in EXTRAS if room.split(".")[0] in sys.argv[0:1]), None)
        click.echo(f"catsdogs: {error} {room}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
