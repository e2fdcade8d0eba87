"""One entry of the store: what somebody says of a prediction, as it is written."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime

from handler.sniff import picture_start
from serving.feedback.token import Prediction

# Whatever is neither of the model's classes.
NEITHER = "other"
EXTENSIONS = (
    (b"\xff\xd8\xff", "jpg"),
    (b"\x89PNG", "png"),
    (b"RIFF", "webp"),
    (b"GIF8", "gif"),
    (b"II*\0", "tif"),
    (b"MM\0*", "tif"),
    (b"BM", "bmp"),
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A label that was given to a prediction, with the picture where it may be stored."""

    prediction: Prediction
    label: str
    given_at: float
    picture: bytes | None = None

    @property
    def day(self) -> str:
        """The day of the prediction in UTC, by which entries are stored."""
        return datetime.fromtimestamp(self.prediction.time, UTC).strftime("%Y-%m-%d")

    @property
    def file(self) -> str:
        return f"{self.prediction.id}.json"

    @property
    def picture_file(self) -> str | None:
        return None if self.picture is None else f"{self.prediction.id}.{extension(self.picture)}"

    def document(self) -> bytes:
        """Return the content of the file. Nothing of the client is in it but the label."""
        content = {
            "id": self.prediction.id,
            "predicted_at": rfc3339(self.prediction.time),
            "given_at": rfc3339(self.given_at),
            "sha256": self.prediction.sha256,
            "label": self.label,
            "predicted": self.prediction.label,
            "probability": self.prediction.probability,
            "model": self.prediction.model,
            "picture": self.picture_file,
        }
        return json.dumps(content, indent=1).encode() + b"\n"


def rfc3339(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def extension(picture: bytes) -> str:
    """Return the file name extension of a picture's format, or `bin` for one that its first bytes do not tell."""
    start = picture[picture_start(picture) :][:8]
    return next((name for magic, name in EXTENSIONS if start.startswith(magic)), "bin")
