"""The files beside compose.yaml: deployed.json remembers what was deployed, .env has the image's name for Compose."""

import json
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .machine import VARIABLE, Ended, Image

FILE = "deployed.json"
MOST_RECORDS = 50


@dataclass
class State:
    """The image that serves, the one that is being tried, and the records of all attempts, the newest last."""

    path: Path
    good: Image | None = None
    trying: Image | None = None
    """Still set where a deployment was cut off, as by a power failure: what runs then is not known to be good."""
    history: list[dict[str, str]] = field(default_factory=list)

    def save(self) -> None:
        document = {
            "good": None if self.good is None else asdict(self.good),
            "trying": None if self.trying is None else asdict(self.trying),
            "history": self.history[-MOST_RECORDS:],
        }
        write(self.path, json.dumps(document, indent=2) + "\n")

    def record(self, image: Image, verdict: str, reason: str = "") -> None:
        """Add an attempt to the history."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self.history.append({"time": moment, **asdict(image), "verdict": verdict, "reason": reason})


def read_state(directory: Path) -> State:
    """
    Raises:
        Ended: the file cannot be read.
    """
    path = directory / FILE
    try:
        document = json.loads(path.read_text())
        good, trying = (Image(**document[name]) if document[name] else None for name in ("good", "trying"))
        return State(path, good, trying, list(document["history"]))
    except FileNotFoundError:
        return State(path)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise Ended(
            "NOT_READY", f"{path} cannot be read ({error!r}): repair or remove it. Nothing was changed."
        ) from None


def set_image(directory: Path, name: str) -> None:
    """Set the image in .env, so that a later `docker compose up` starts the same; other lines stay as they are."""
    path = directory / ".env"
    lines = path.read_text().splitlines() if path.exists() else []
    kept = [line for line in lines if not line.startswith(f"{VARIABLE}=")]
    write(path, "\n".join([*kept, f"{VARIABLE}={name}", ""]))


def write(path: Path, text: str) -> None:
    """Replace a file as a whole, with the mode that it had."""
    half = path.with_name(f"{path.name}.half")
    with half.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    if path.exists():
        half.chmod(path.stat().st_mode & 0o777)
    half.replace(path)
