"""The command `catsdogs`. A verb's module is imported when the verb is called, so each needs only its own packages."""

import errno
import importlib
import signal
import sys

import click

from handler.files import UserError

# Verb: module that defines it, requirements that it needs, help.
VERBS = {
    "prepare": (
        "training.cli",
        "serve",
        "Check pictures, find near-duplicates, and split them into train, val and test.",
    ),
    "train": ("training.cli", "train", "Train a network on prepared pictures, and keep its best checkpoint."),
    "evaluate": (
        "training.cli",
        "train",
        "Measure a checkpoint's accuracy and calibration, and show its worst mistakes.",
    ),
    "export": ("training.cli", "train", "Export a checkpoint as a release: safetensors, ONNX and release.json."),
    "package": ("training.cli", "serve", "Package a release as a .mar archive for TorchServe."),
    "pipeline": ("training.pipeline", "train", "Pictures -> archive: all of the above, one after the other."),
    "predict": ("serving.cli", "serve", "Classify pictures, offline or by a running server."),
    "serve": ("serving.cli", "serve", "Serve an archive by TorchServe behind the gateway, until Ctrl-C."),
    "torchserve": ("serving.pod_cli", "serve", "Run TorchServe's half of the server, in a container of its own."),
    "gateway": ("serving.pod_cli", "serve", "Run the gateway's half of the server, in a container of its own."),
    "probe": (
        "serving.pod_cli",
        "serve",
        "Ask whether the server is started, ready or alive. Exit status 0 means yes.",
    ),
    "fetch": ("serving.pod_cli", "serve", "Fetch an archive from a web server or a bucket, and verify its SHA-256."),
    "check": (
        "serving.pod_cli",
        "serve",
        "Check that a running server predicts known pictures right, by each protocol.",
    ),
    "runtimes": ("serving.cli", "serve", "Measure which runtime is the fastest on this machine."),
    "loadtest": ("loadtest.cli", "load", "Load a server, and judge whether it keeps its service level objectives."),
    "capacity": ("loadtest.cli", "load", "Search for the highest rate at which a server keeps its objectives."),
    "demo": ("serving.cli", "serve", "Start a server, classify the sample photos, and stop it."),
}
# A disk's limits and permissions are the user's to mend, as a wrong argument is.
FULL_OR_FORBIDDEN = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR}
OURS = ("handler", "training", "serving", "loadtest")


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
            formatter.write_dl([(name, sentence) for name, (_, _, sentence) in VERBS.items()])


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="catsdogs")
def cli() -> None:
    """Image classification on TorchServe: from a folder of pictures to an answer from a real server."""


def main() -> None:
    # As Ctrl-C does: the first process of a container would ignore it otherwise. Verbs that know better set their own.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        cli(prog_name="catsdogs")
    except UserError as error:
        click.echo(f"catsdogs: {error}", err=True)
        sys.exit(2)
    except OSError as error:
        if error.errno not in FULL_OR_FORBIDDEN:
            raise
        where = f" {error.filename}" if error.filename else ""
        click.echo(f"catsdogs: Cannot write{where}: {error.strerror}. Nothing was changed.", err=True)
        sys.exit(2)
    except ModuleNotFoundError as error:
        verb = next((word for word in sys.argv[1:] if word in VERBS), None)
        if verb is None or error.name is None or error.name.split(".")[0] in OURS:
            raise
        requirements = f"requirements/{VERBS[verb][1]}.txt"
        click.echo(
            f"catsdogs: {verb} needs {error.name}, which is not installed: "
            f"pip install --require-hashes -r {requirements}",
            err=True,
        )
        sys.exit(2)


if __name__ == "__main__":
    main()
