"""Validation of a running server by labelled pictures: accuracy, recorded answers, and the candidate against stable.

The pictures are marked as probes, so that objectives, drift and the estimated accuracy leave them out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from common.verdicts import Verdict
from handler.files import UserError, first_line
from monitoring.validation import gates
from monitoring.validation.calibration import Estimate, estimate
from monitoring.validation.gates import Check
from monitoring.validation.labelled import Picture, Reply, ask_all, check_classes, labelled
from monitoring.validation.recorded import ask_archive, read_recorded
from serving.client.check import ready
from serving.client.protocols import Wrong
from serving.client.samples import SAMPLES
from serving.client.target import Target


@dataclass(frozen=True, slots=True)
class Settings:
    """The requirements of a validation."""

    min_accuracy: float
    confidence: float = 0.95
    pictures: Path | None = None
    """Folder with a subfolder for each class; None takes the sample pictures."""
    recorded: Path | None = None
    """File of recorded answers."""
    archive: Path | None = None
    """Archive whose answers count as the recorded ones."""
    max_difference: float = 0.01
    max_loss: float | None = None
    wait_s: float = 0


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of a validation."""

    checks: Sequence[Check]
    replies: Sequence[Reply] = ()
    stable: Sequence[Reply] = ()
    estimate: Estimate | None = None

    @property
    def verdict(self) -> Verdict:
        return gates.overall(self.checks)

    def by_class(self) -> dict[str, tuple[int, int]]:
        """Return the pictures that are right, and all pictures, by class."""
        counts: dict[str, tuple[int, int]] = {}
        for reply in self.replies:
            right, count = counts.get(reply.picture.truth, (0, 0))
            counts[reply.picture.truth] = (right + reply.right, count + 1)
        return counts

    def as_json(self) -> dict[str, Any]:
        model = next((reply.prediction.model for reply in self.replies if reply.prediction), None)
        return {
            "verdict": self.verdict.value,
            "exit_code": self.verdict.exit_code,
            "model": None if model is None else {name: getattr(model, name) for name in model.__slots__},
            "checks": [
                {"name": check.name, "verdict": check.verdict.value, "sentence": check.sentence}
                for check in self.checks
            ],
            "by_class": {name: {"right": right, "count": count} for name, (right, count) in self.by_class().items()},
            "estimated_accuracy": None if self.estimate is None else self.estimate.estimated,
            "calibration_holds": None if self.estimate is None else self.estimate.holds,
            "wrong": [
                {
                    "path": str(reply.picture.path),
                    "class": reply.picture.truth,
                    "predicted": reply.prediction.label if reply.prediction else None,
                    "problem": reply.problem or None,
                }
                for reply in self.replies
                if not reply.right
            ],
        }


def wait_until_ready(client: httpx.Client, seconds: float, what: str) -> Check | None:
    """Return a check that fails where a server is not ready in time.

    Raises:
        UserError: its URL is none.
    """
    try:
        ready(client, seconds)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise UserError(f"{client.base_url} is not the URL of a server: {error}") from error
    except (httpx.HTTPError, Wrong) as error:
        sentence = f"{what} at {client.base_url} is not ready: {first_line(error) or type(error).__name__}."
        return Check("ready", Verdict.NOT_READY, sentence)
    return None


def check_pictures(
    client: httpx.Client, pictures: Sequence[Picture], folder: Path, what: str, verdict: Verdict
) -> Check | None:
    """Return a check with this verdict where a server does not name its model.

    Raises:
        UserError: the pictures are of other classes than the model's.
    """
    try:
        check_classes(client, pictures, folder)
    except UserError:
        raise
    except (httpx.HTTPError, Wrong, ValueError, LookupError, TypeError) as error:
        return Check("model", verdict, f"{what} does not name its model: {first_line(error)}.")
    return None


def validate(target: Target, stable: Target | None, settings: Settings, say: Callable[[str], None]) -> Report:
    """Send the pictures to a server, and to stable where it is named, and judge the answers.

    Args:
        say: told in a sentence which files of the folder are skipped.

    Raises:
        UserError: the pictures or the recorded answers cannot be used, or the server wants a key.
    """
    folder = settings.pictures or SAMPLES
    pictures = labelled(folder, say if settings.pictures else lambda sentence: None)
    with target.client(base_url=target.url) as client:
        if check := wait_until_ready(client, settings.wait_s, "The server"):
            return Report([check])
        if check := check_pictures(client, pictures, folder, "The server", Verdict.BREACH):
            return Report([check])
        replies = ask_all(client, pictures)
    checks = measurable(replies, "The server")
    if gates.overall(checks) is not Verdict.PASS:
        return Report(checks, replies)
    checks.append(gates.accuracy(replies, settings.min_accuracy, settings.confidence))
    if settings.recorded or settings.archive:
        checks.append(compare_recorded(replies, pictures, settings))
    others: list[Reply] = []
    if stable is not None:
        others, compared = compare_stable(stable, replies, pictures, settings)
        checks += compared
    return Report(checks, replies, others, estimate(replies))


def measurable(replies: Sequence[Reply], what: str) -> list[Check]:
    """Return the checks without which no figure means anything."""
    checks = [gates.answered(replies)]
    if gates.models(replies):
        checks.append(gates.one_model(replies, what))
    return checks


def compare_recorded(replies: Sequence[Reply], pictures: Sequence[Picture], settings: Settings) -> Check:
    """Judge the answers against the recorded ones.

    Raises:
        UserError: two pictures have one name, or the recorded answers cannot be read.
    """
    keys = {picture.key for picture in pictures}
    if len(keys) < len(pictures):
        raise UserError(
            "Two pictures of a class have the same file name, so that recorded answers fit both: rename one."
        )
    if settings.recorded:
        recorded = read_recorded(settings.recorded)
    else:
        assert settings.archive is not None
        recorded = ask_archive(settings.archive, pictures)
    return gates.same_as_recorded(replies, recorded, settings.max_difference)


def compare_stable(
    stable: Target, replies: Sequence[Reply], pictures: Sequence[Picture], settings: Settings
) -> tuple[list[Reply], list[Check]]:
    """Ask stable about the same pictures, and judge whether the candidate is worse."""
    with stable.client(base_url=stable.url) as client:
        if check := wait_until_ready(client, settings.wait_s, "Stable"):
            return [], [check]
        others = ask_all(client, pictures)
    checks = measurable(others, "Stable")
    if gates.overall(checks) is Verdict.PASS:
        return others, [checks[-1], gates.not_worse(others, replies, settings.max_loss)]
    # What stable does wrong is nothing that the candidate does.
    return others, [
        Check("stable", Verdict.INVALID, check.sentence) for check in checks if check.verdict != Verdict.PASS
    ]
