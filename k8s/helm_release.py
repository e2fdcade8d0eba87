"""A release of the chart: its history, and Helm's commands, which a signal ends in order."""

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from common.verdicts import WRONG_USAGE, Verdict


class Ended(Exception):
    """The end of a deployment that did not pass: its exit code, and a sentence that says what the state is now."""

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


class Interrupted(Exception):
    """A signal that asks this program to end."""

    def __init__(self, number: int) -> None:
        super().__init__(f"Interrupted by {signal.Signals(number).name}.")
        self.number = number


@contextmanager
def deferred_signals() -> Iterator[None]:
    """SIGINT and SIGTERM are handled after the block, not within."""
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda number, frame: came.append(number)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for signalled in came:
        signal.raise_signal(signalled)


@dataclass(frozen=True, slots=True)
class Revision:
    """A line of `helm history`."""

    number: int
    status: str
    description: str

    @property
    def is_rollback(self) -> bool:
        return self.status == "deployed" and self.description.startswith("Rollback to")


@dataclass(frozen=True, slots=True)
class Release:
    """A release of the chart, and how it is deployed."""

    helm: str
    name: str
    namespace: str
    timeout: str
    values: list[str] = field(default_factory=list)
    """Options for its values, as Helm takes them."""

    def run(self, *arguments: str, warnings: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run helm in the release's namespace, and return what it says.

        Args:
            warnings: whether that includes warnings, such as that others may read the kubeconfig.

        Raises:
            Ended: there is no helm.
            Interrupted: helm was told to end, and has ended.
        """
        command = [self.helm, *arguments, f"--namespace={self.namespace}"]
        try:
            with deferred_signals():  # or helm would go on by itself where one comes as it starts
                try:
                    # In a session of its own: a signal reaches it once, by this program.
                    child = subprocess.Popen(
                        command,
                        stdout=subprocess.PIPE,
                        stderr=subprocess.STDOUT if warnings else subprocess.PIPE,
                        # A pod may have logged anything.
                        encoding="utf-8",
                        errors="replace",
                        start_new_session=True,
                    )
                except OSError as error:
                    raise Ended(WRONG_USAGE, f"{self.helm} cannot be run: {error.strerror}.") from None
            output, errors = child.communicate()
        except Interrupted:
            # It rolls an upgrade back; killed, it would leave the release pending.
            child.terminate()
            child.communicate()
            raise
        return subprocess.CompletedProcess(command, child.returncode, output, errors)

    def history(self) -> list[Revision]:
        """Return all revisions, oldest first.

        Raises:
            Ended: the cluster does not answer.
        """
        done = self.run("history", self.name, "--output=json", warnings=False)
        if done.returncode != 0:
            if "release: not found" in done.stderr:
                return []
            raise Ended(Verdict.NOT_READY.exit_code, f"The cluster does not answer: {last_line(done.stderr)}")
        entries = json.loads(done.stdout)
        return [Revision(int(entry["revision"]), entry["status"], entry["description"]) for entry in entries]

    def atomic(self) -> str:
        """Return the option by which helm rolls a failed upgrade back; Helm 4 has another name for it."""
        done = self.run("version", "--short")
        match = re.search(r"v(\d+)\.", done.stdout)
        if done.returncode != 0 or match is None:
            raise Ended(WRONG_USAGE, f"{self.helm} is no helm: {last_line(done.stdout)}")
        return "--atomic" if int(match[1]) < 4 else "--rollback-on-failure"


def last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it said nothing.")
