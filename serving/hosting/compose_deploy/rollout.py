"""The deployment: pull, start, ask; and back to the previous image if it does not serve, or this is interrupted."""

import contextlib
import fcntl
import signal
from collections.abc import Iterator
from pathlib import Path

from .machine import Ended, Image, Machine, say
from .smoke import Question, smoke
from .state import State, read_state, set_image

LOCK = ".deploy.lock"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(Exception):
    """A signal that asks this program to end."""

    def __init__(self, number: int) -> None:
        super().__init__(f"Interrupted by {signal.Signals(number).name}.")
        self.number = number


def deploy(machine: Machine, question: Question, reference: str, pull: bool) -> str:
    """Deploy an image and return a sentence about it.

    Raises:
        Ended: it was refused, or nothing could be done.
        Interrupted: the previous image serves again.
    """
    state = read_state(machine.directory)
    previous = previous_image(machine, state)
    try:
        if pull:
            say(f"Pulling {reference}.")
            machine.pull(reference)
        new = machine.image(reference)
    except Ended as error:
        raise Ended(error.verdict, f"{error} Nothing was changed.") from None
    state.good, state.trying = previous, new
    state.save()
    try:
        say(f"Starting {new.name}.")
        problem = serve(machine, question, new)
        if problem is None:
            accept(machine, state, new)
            return f"{new.name} serves at {question.url}."
    except Interrupted as error:
        with shielded():
            state.record(new, "INTERRUPTED")
            say(f"{error} {go_back(machine, question, state)}")
        raise
    with shielded():
        state.record(new, "BREACH", problem)
        say(f"It does not serve. {problem} Its last lines:\n{machine.logs()}")
        raise Ended("BREACH", f"{new.name} was refused. {problem} {go_back(machine, question, state)}")


def previous_image(machine: Machine, state: State) -> Image | None:
    """Return the image to go back to: what runs now, unless a deployment that was cut off has started it."""
    container = None if state.trying else machine.container()
    if container is None:
        return state.good
    image = machine.image(container["Image"])
    if "@" in image.name:
        return image
    # It came from no registry: the tag that it has may be another image's tomorrow.
    machine.docker("tag", image.id, machine.kept)
    return Image(machine.kept, image.id)


def serve(machine: Machine, question: Question, image: Image) -> str | None:
    """Start an image, and return why it does not serve, or None."""
    try:
        machine.start(image)
        return smoke(machine, image, question)
    except Ended as error:
        return str(error)


def accept(machine: Machine, state: State, image: Image) -> None:
    """Remember an image as the one that serves."""
    with shielded():
        machine.docker("tag", image.id, machine.kept)
        lasting = image if "@" in image.name else Image(machine.kept, image.id)
        set_image(machine.directory, lasting.name)
        state.record(image, "PASS")
        state.good, state.trying = lasting, None
        state.save()


def go_back(machine: Machine, question: Question, state: State) -> str:
    """Have the previous image serve again, or nothing if there is none, and return a sentence about it.

    Raises:
        Ended: the previous image does not serve either.
    """
    # On a disk that is full, going back matters more than the record of it.
    with contextlib.suppress(OSError):
        state.save()
    if state.good is None:
        machine.remove()
        sentence = "There was no image before it, so its container was removed."
    else:
        say(f"Going back to {state.good.name}.")
        problem = serve(machine, question, state.good)
        if problem is not None:
            raise Ended("NOT_READY", f"The previous image {state.good.name} does not serve either: {problem}")
        sentence = f"The previous image {state.good.name} serves again."
    state.trying = None
    state.save()
    return sentence


@contextlib.contextmanager
def shielded() -> Iterator[None]:
    """Ignore signals: what was begun must be finished, or nothing would serve."""
    handlers = [signal.signal(number, signal.SIG_IGN) for number in SIGNALS]
    try:
        yield
    finally:
        for number, handler in zip(SIGNALS, handlers, strict=True):
            signal.signal(number, handler)


@contextlib.contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Keep other deployments of the same directory out.

    Raises:
        Ended: one is running, or the directory cannot be written to.
    """
    try:
        file = (directory / LOCK).open("w")
    except OSError as error:
        raise Ended("NOT_READY", f"{directory} cannot be written to: {error.strerror}. Nothing was changed.") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Ended("NOT_READY", f"Another deployment is running in {directory}. Nothing was changed.") from None
        yield
