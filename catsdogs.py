"""The command `catsdogs`. A verb's module is imported when the verb is called, so each needs only its own packages."""

import errno
import importlib
import signal
import sys
from types import FrameType
from typing import NoReturn

PROGRAM = __name__ == "__main__" or sys.argv[0].endswith("/catsdogs")
if PROGRAM and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # an interrupt of the imports below has nothing to undo

import click  # noqa: E402

from common.text import printable_lines  # noqa: E402
from handler.files import UserError  # noqa: E402

# Verb: module that defines it, requirements that it needs, help.
VERBS = {
    "prepare": (
        "training.cli.prepare",
        "serve",
        "Check pictures, find near-duplicates, and split them into train, val and test.",
    ),
    "audit": (
        "training.cli.audit",
        "train",
        "Find pictures of no class or of several, near-duplicates of two classes, and likely wrong labels.",
    ),
    "train": ("training.cli.train", "train", "Train a network on prepared pictures, and keep its best checkpoint."),
    "sweep": (
        "training.cli.sweep",
        "train",
        "Train a run for each combination of values, and list them by validation accuracy.",
    ),
    "cv": (
        "training.cli.cross_validate",
        "train",
        "Cross-validate a config: train a run on all folds but one, in turn, and measure it on that one.",
    ),
    "average": (
        "training.cli.average",
        "train",
        "Average the weights of several models, and measure their mean beside them.",
    ),
    "evaluate": (
        "training.cli.evaluate",
        "train",
        "Measure a checkpoint's accuracy and calibration, and show its worst mistakes.",
    ),
    "compare": ("training.cli.compare", "train", "Compare two models on pictures that neither was trained on."),
    "export": (
        "training.cli.release",
        "train",
        "Export a checkpoint as a release: safetensors, ONNX and release.json.",
    ),
    "quantise": (
        "training.cli.release",
        "train",
        "Add an int8 network for x86-64 CPUs to a release, or replace it.",
    ),
    "reference": (
        "training.cli.reference",
        "train",
        "Measure the reference for drift, and write it into a release.",
    ),
    "unsure": (
        "training.cli.unsure",
        "train",
        "Choose the threshold below which an answer is unsure, and write it into a release and its card.",
    ),
    "robustness": (
        "training.cli.robustness",
        "train",
        "Measure a release on dark, blurred, turned and other changed pictures, and write it into its card.",
    ),
    "sizes": (
        "training.cli.sizes",
        "train",
        "Measure a release at several input sizes, in each precision, and write the figures into its card.",
    ),
    "package": ("training.cli.release", "serve", "Package a release as a .mar archive for TorchServe."),
    "sign": ("serving.cli.sign", "serve", "Sign an archive or a release with a private key."),
    "verify": ("serving.cli.sign", "serve", "Verify the signature of an archive or a release."),
    "pipeline": (
        "training.cli.pipeline",
        "train",
        "Make an archive from pictures: prepare, train, evaluate, export, package.",
    ),
    "select": ("training.cli.select", "train", "Pick the run with the best validation accuracy."),
    "promote": ("training.cli.promote", "train", "Register a release, and make it the champion if it passes."),
    "rollback": ("training.cli.rollback", "train", "Make the previous champion the champion again."),
    "history": (
        "training.cli.history",
        "train",
        "Compare all registered versions of a model on the same pictures.",
    ),
    "predict": ("serving.cli.predict", "serve", "Classify pictures, offline or by a running server."),
    "explain": ("serving.cli.explain", "serve", "Show where in pictures the network saw a class."),
    "merge": (
        "serving.cli.merge",
        "serve",
        "Check that the shards of `catsdogs predict --out PLACE` are complete, and merge their parts.",
    ),
    "image": (
        "serving.cli.image",
        "serve",
        "Resize, crop or normalize pictures, or show what the network sees of them.",
    ),
    "serve": ("serving.cli.serve", "serve", "Serve an archive by TorchServe behind the gateway, until Ctrl-C."),
    "torchserve": (
        "serving.cli.torchserve",
        "serve",
        "Run TorchServe's half of the server, in its own container.",
    ),
    "gateway": ("serving.cli.gateway", "serve", "Run the gateway's half of the server, in its own container."),
    "probe": (
        "serving.cli.probe",
        "serve",
        "Ask whether the server is started, ready or alive. Exit status 0 means yes.",
    ),
    "fetch": ("serving.cli.fetch", "serve", "Fetch an archive from a web server or a bucket, and verify its SHA-256."),
    "check": (
        "serving.cli.check",
        "serve",
        "Check that a running server predicts known pictures correctly, by each protocol.",
    ),
    "runtimes": (
        "serving.cli.runtimes",
        "serve",
        "Measure which runtime is the fastest on this machine, in each precision.",
    ),
    "validate": (
        "monitoring.validation.cli",
        "serve",
        "Validate a running server with labelled pictures: its accuracy, and the answers recorded at the release.",
    ),
    "canary": (
        "monitoring.canary.cli",
        "serve",
        "Watch a candidate beside the stable track: errors, latency, accuracy and agreement.",
    ),
    "loadtest": ("loadtest.cli", "load", "Load a server, and judge whether it keeps its service level objectives."),
    "capacity": ("loadtest.cli", "load", "Search for the highest rate at which a server keeps its objectives."),
    "monitoring": ("monitoring.cli", "load", "Make the rules, alerts and board that watch a running server."),
    "drift": (
        "monitoring.drift.cli",
        "load",
        "Judge whether users' pictures differ from the reference of the release.",
    ),
    "feedback": (
        "monitoring.feedback.cli",
        "serve",
        "Review labels that users gave to predictions, and measure the accuracy from them.",
    ),
    "demo": ("serving.cli.demo", "serve", "Start a server, classify the sample photos, and stop it."),
}
# What Ctrl-C leaves of a verb that does not say so itself.
KEPT = {
    "prepare": "To resume, give the same command again.",
    "train": "Finished epochs are kept. To resume, add --resume.",
    "sweep": "Finished epochs of each run are kept. To resume, give the same command again.",
    "cv": "Finished epochs of each run are kept. To resume, give the same command again.",
    "average": "Nothing was written.",
    "evaluate": "To make the report, give the same command again.",
    "compare": "To make the report, give the same command again.",
    "export": "No release was replaced.",
    "quantise": "The release was not changed.",
    "package": "No archive was replaced.",
    "sign": "No signature was replaced.",
    "pipeline": "To resume, give the same command again.",
    "promote": "The champion is the old one or the new one: the record in --audit says which.",
    "rollback": "The champion is the old one or the new one: the record in --audit says which.",
    "history": "To make the report, give the same command again.",
    "fetch": "The downloaded part is kept. To resume, give the same command again.",
}
# A disk's limits and permissions are the user's to mend, as a wrong argument is.
FULL_OR_FORBIDDEN = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR}
OURS = ("handler", "training", "serving", "monitoring", "loadtest")


class Interrupted(Exception):
    """A KeyboardInterrupt on its way through click."""


class Verbs(click.Group):
    """Lists the verbs without importing them."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        return getattr(importlib.import_module(VERBS[name][0]), name)  # type: ignore[no-any-return]

    def invoke(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        except KeyboardInterrupt:
            raise Interrupted from None  # click would say no more than "Aborted!"

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl([(name, sentence) for name, (_, _, sentence) in VERBS.items()])


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="catsdogs")
def cli() -> None:
    """Image classification on TorchServe: from a folder of pictures to an answer from a real server."""


class Interrupts:
    """Ctrl-C and SIGTERM stop a verb by a KeyboardInterrupt, as long as it does not handle them itself.

    An interrupted import may end in any other error, so that they are noted here.
    """

    def __init__(self) -> None:
        self.number = 0
        for number in (signal.SIGINT, signal.SIGTERM):
            # A shell lets its background jobs ignore Ctrl-C. The first process of a container would ignore SIGTERM.
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self.stop)

    def stop(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        raise KeyboardInterrupt

    def end(self, error: BaseException) -> NoReturn:
        """Say what was kept, and exit with 128 and the signal's number, as a shell does."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        verb = verb_called()
        sentence = str(error) if isinstance(error, UserError) else f"Stopped. {KEPT.get(verb or '', '')}".strip()
        tell(sentence)
        sys.exit(128 + self.number)


def tell(sentence: str) -> None:
    """Print a sentence on standard error; the files that it names may have any name."""
    click.echo(f"catsdogs: {printable_lines(sentence)}", err=True)


def verb_called() -> str | None:
    return next((word for word in sys.argv[1:] if word in VERBS), None)


def main() -> None:
    interrupts = Interrupts()
    try:
        cli(prog_name="catsdogs")
    except SystemExit:
        raise
    except BaseException as error:
        if interrupts.number:
            interrupts.end(error)
        explain(error)


def explain(error: BaseException) -> NoReturn:
    """Say in a sentence what the user can mend, and exit with 2; raise all else."""
    if isinstance(error, UserError):
        tell(str(error))
        sys.exit(2)
    if isinstance(error, OSError) and error.errno in FULL_OR_FORBIDDEN:
        where = f" {error.filename}" if error.filename else ""
        tell(f"Cannot write{where}: {error.strerror}. Nothing was changed.")
        sys.exit(2)
    verb = verb_called()
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if verb is None or missing is None or missing.split(".")[0] in OURS:
        raise error
    requirements = f"requirements/{VERBS[verb][1]}.txt"
    click.echo(
        f"catsdogs: {verb} needs {missing}, which is not installed: pip install --require-hashes -r {requirements}",
        err=True,
    )
    sys.exit(2)


if __name__ == "__main__":
    main()
