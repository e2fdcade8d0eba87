"""The machine: its images, and the container of one service of one compose.yaml."""

import json
import os
import subprocess
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# As common/verdicts.py has them, which is not on the machine.
CODES = {"BREACH": 10, "NOT_READY": 13}
# What compose.yaml takes the image's name from.
VARIABLE = "CATSDOGS_IMAGE"
COMMAND_S = 120.0


class Ended(Exception):
    """The end of a deployment that did not pass: its verdict, and a sentence that says what the state is now."""

    def __init__(self, verdict: str, sentence: str) -> None:
        super().__init__(sentence)
        self.verdict = verdict

    @property
    def code(self) -> int:
        return CODES[self.verdict]


@dataclass(frozen=True)
class Image:
    """An image on this machine: the name to start it by, with its digest if it has one, and Docker's id."""

    name: str
    id: str


@dataclass(frozen=True)
class Machine:
    """Docker on this machine, and the service that is deployed."""

    directory: Path
    file: str | None
    """Compose file; None lets Compose look for compose.yaml and compose.override.yaml."""
    service: str
    pull_s: float

    @property
    def kept(self) -> str:
        """The tag by which the image that serves is kept from `docker image prune`; another one for each directory."""
        return f"catsdogs-deployed:{zlib.crc32(bytes(self.directory)):08x}"

    def docker(self, *arguments: str, image: str = "", timeout_s: float = COMMAND_S) -> str:
        """Run docker and return its output.

        Raises:
            Ended: docker is missing, failed, or took too long.
        """
        command = ["docker", *arguments]
        environment = {**os.environ, **({VARIABLE: image} if image else {})}
        try:
            done = subprocess.run(
                command,
                cwd=self.directory,
                env=environment,
                timeout=timeout_s,
                capture_output=True,
                # A container may have written anything.
                encoding="utf-8",
                errors="replace",
                # Ctrl-C in a terminal is for this program alone, which decides what follows.
                start_new_session=True,
            )
        except FileNotFoundError:
            raise Ended("NOT_READY", "There is no docker on this machine: install Docker with Compose 2.") from None
        except OSError as error:
            raise Ended("NOT_READY", f"docker cannot be run: {error.strerror}.") from None
        except subprocess.TimeoutExpired:
            raise Ended("NOT_READY", f"`{' '.join(command)}` did not end within {timeout_s:.0f} s.") from None
        if done.returncode != 0:
            raise Ended("NOT_READY", f"`{' '.join(command)}` failed: {last_line(done.stderr)}")
        return done.stdout

    def compose(self, *arguments: str, image: str = "") -> str:
        return self.docker("compose", *([] if self.file is None else ["--file", self.file]), *arguments, image=image)

    def pull(self, reference: str) -> None:
        # Not by `docker compose pull`, which exits with 0 if a service that could also be built cannot be pulled.
        self.docker("pull", "--quiet", reference, timeout_s=self.pull_s)

    def image(self, reference: str) -> Image:
        """Return an image that is on this machine, by its digest in the registry that it came from."""
        (facts,) = json.loads(self.docker("image", "inspect", reference))
        digests = facts.get("RepoDigests") or []
        same = [digest for digest in digests if digest.partition("@")[0] == repository(reference)]
        return Image((same or digests or [reference])[0], facts["Id"])

    def container(self) -> dict[str, Any] | None:
        """Return what Docker knows of the service's container, or None if there is none."""
        ids = self.compose("ps", "--all", "--quiet", self.service).split()
        if not ids:
            return None
        (facts,) = json.loads(self.docker("inspect", ids[0]))
        return dict(facts)

    def start(self, image: Image) -> None:
        """Have the service run an image; a container of another image is stopped and removed first."""
        self.compose("up", "--detach", "--no-build", "--no-deps", self.service, image=image.name)

    def remove(self) -> None:
        """Stop and remove the service's container."""
        self.compose("rm", "--stop", "--force", self.service)

    def logs(self) -> str:
        """Return the container's last lines, or why they cannot be read."""
        try:
            return self.compose("logs", "--no-color", "--tail", "20", self.service)
        except Ended as error:
            return str(error)


def repository(reference: str) -> str:
    """Return an image's name without digest and tag; a colon before a slash belongs to a port."""
    name = reference.partition("@")[0]
    before, colon, tag = name.rpartition(":")
    return before if colon and "/" not in tag else name


def last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it said nothing.")


def say(text: str) -> None:
    """Print a line. Once nobody reads them, as when a connection broke, further lines go nowhere."""
    try:
        print(text, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
