"""The command `catsdogs`. A verb's module is imported when the verb is called, so each needs only its own packages."""

import errno
import importlib
import signal
import sys

import click

from handler.files import UserError

# Verb: module that defines it, requirements that it needs, help.
VERBS = {
    "prepare": ("training.cli", "serve", "Pictures in class folders -> manifest, split, quarantine."),
    "train": ("training.cli", "train", "Manifest -> checkpoint."),
    "evaluate": ("training.cli", "train", "Checkpoint -> accuracy, calibration, slices, worst mistakes."),
    "compare": ("training.compare", "train", "Two models -> is the new one better, or not worse by a margin?"),
    "export": ("training.cli", "train", "Checkpoint -> release: safetensors, ONNX, release.json."),
    "package": ("training.cli", "serve", "Release -> .mar archive for TorchServe."),
    "pipeline": ("training.pipeline", "train", "Pictures -> archive: all of the above, one after the other."),
    "predict": ("serving.cli", "serve", "Pictures -> predictions, offline or by a server."),
    "serve": ("serving.cli", "serve", "Archive -> TorchServe behind the gateway, until Ctrl-C."),
    "torchserve": ("serving.pod_cli", "serve", "TorchServe's half of the server, for a container of its own."),
    "gateway": ("serving.pod_cli", "serve", "The gateway's half of the server, for a container of its own."),
    "probe": ("serving.pod_cli", "serve", "Is the server started, ready, alive? Exit status 0 says yes."),
    "fetch": ("serving.pod_cli", "serve", "An archive from a web server or a bucket -> OUT, or nothing."),
    "check": ("serving.pod_cli", "serve", "Ask a running server for known predictions by every protocol."),
    "runtimes": ("serving.cli", "serve", "Which runtime is the fastest on this machine?"),
    "loadtest": ("loadtest.cli", "load", "A server -> does it keep its service level?"),
    "capacity": ("loadtest.cli", "load", "A server -> the highest rate that keeps its service level."),
    "demo": ("serving.cli", "serve", "Serve, classify the sample photos, stop."),
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
        click.echo(f"catsdogs: Cannot write{where}: {error.strerror}. What was there is as it was.", err=True)
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
