"""The settings of feedback, as both `catsdogs serve` and `catsdogs gateway` take them."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from handler.files import UserError
from serving.gateway.keys import check_keys

if TYPE_CHECKING:
    from serving.feedback.place import Place

MAX_AGE_HOURS = 24.0
MAX_RATE = 10.0
MAX_FILES = 10_000
MAX_MIB = 1024


@dataclass(frozen=True, slots=True)
class FeedbackSettings:
    """Where feedback is stored, by which keys tokens are signed, and the bounds."""

    place: str
    """A folder, or s3://BUCKET/PREFIX."""
    key: Path | None = None
    """File with a key per line; the first signs. None is a key of this process alone."""
    pictures: bool = False
    """Whether pictures may be stored."""
    max_age_hours: float = MAX_AGE_HOURS
    max_rate: float = MAX_RATE
    """Requests per second."""
    max_files: int = MAX_FILES
    max_mib: int = MAX_MIB
    endpoint: str | None = None
    """URL of an S3 service other than AWS."""

    @property
    def in_bucket(self) -> bool:
        return self.place.startswith("s3://")

    def check(self) -> None:
        """Refuse what could never work.

        Raises:
            UserError: says what is wrong.
        """
        if self.key is not None:
            check_keys(self.key)
        if self.in_bucket:
            from serving.feedback.bucket import BucketPlace

            BucketPlace(self.place, self.endpoint).close()
        elif "://" in self.place:
            raise UserError(f"{self.place} is not a place for feedback: name a folder, or s3://BUCKET/PREFIX.")
        else:
            make_folder(Path(self.place))

    def check_writable(self) -> None:
        """Refuse a folder that nothing can be written to. Not for pods, which answer all the same.

        Raises:
            UserError: names the folder.
        """
        if not self.in_bucket and not os.access(self.place, os.W_OK | os.X_OK):
            raise UserError(f"Feedback cannot be stored in {self.place}: Permission denied.")

    def open_place(self) -> "Place":
        """Open the place."""
        if self.in_bucket:
            from serving.feedback.bucket import BucketPlace

            return BucketPlace(self.place, self.endpoint)
        from serving.feedback.folder import FolderPlace

        return FolderPlace(self.place)

    def options(self) -> list[str]:
        """Return them as options of `catsdogs gateway`, whose working directory is another."""
        place = self.place if self.in_bucket else str(Path(self.place).absolute())
        named: dict[str, object] = {
            "--feedback": place,
            "--feedback-key": None if self.key is None else self.key.absolute(),
            "--feedback-endpoint-url": self.endpoint,
            "--max-feedback-age": self.max_age_hours,
            "--max-feedback-rate": self.max_rate,
            "--max-feedback-files": self.max_files,
            "--max-feedback-mib": self.max_mib,
        }
        given = [f"{name}={value}" for name, value in named.items() if value is not None]
        return [*given, "--feedback-pictures"] if self.pictures else given


def make_folder(path: Path) -> None:
    """Make the folder, where it is missing, for its owner and group alone.

    Raises:
        UserError: it cannot be made.
    """
    try:
        path.mkdir(mode=0o770, parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Feedback cannot be stored in {path}: {error.strerror}.") from error
