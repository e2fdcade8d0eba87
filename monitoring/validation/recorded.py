"""Answers to labelled pictures that were recorded when a release was made, to compare a server's answers with.

They are the output of `catsdogs predict --json FOLDER`, one JSON document a line; or those of an archive, asked now.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from handler.files import UserError
from monitoring.validation.labelled import Picture, Prediction, read_prediction
from serving.client.answers import Contradiction
from serving.client.predict import predict_offline


def read_recorded(path: Path) -> dict[str, Prediction]:
    """Return the recorded answers by the key of their picture.

    Raises:
        UserError: the file cannot be read, or is not the output of `catsdogs predict --json`.
    """
    answers: dict[str, Prediction] = {}
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise UserError(f"{path} cannot be read: {reason}.") from error
    for number, line in enumerate(lines, 1):
        try:
            document = json.loads(line)
            picture = Path(document["path"])
            key = Picture(picture, picture.parent.name.lower()).key
            if key in answers:
                raise UserError(f"{path} has two answers to {key}: give each picture of a class a name of its own.")
            answers[key] = read_prediction(document)
        except UserError:
            raise
        except (ValueError, LookupError, TypeError, AttributeError, Contradiction) as error:
            raise UserError(
                f"Line {number} of {path} is no prediction: make the file by `catsdogs predict --json FOLDER`."
            ) from error
    if not answers:
        raise UserError(f"{path} holds no prediction: make the file by `catsdogs predict --json FOLDER`.")
    return answers


def ask_archive(archive: Path, pictures: Sequence[Picture]) -> dict[str, Prediction]:
    """Return an archive's answers to the pictures it can read, by their keys."""
    predictions = predict_offline([picture.path for picture in pictures], archive)
    return {
        picture.key: read_prediction(prediction.answer)
        for picture, prediction in zip(pictures, predictions, strict=True)
        if prediction.answer is not None
    }


def distance(one: Prediction, other: Prediction) -> float:
    """Return how far apart two answers are: the largest difference of a probability of either's label."""
    labels = (one.label, other.label)
    return max(abs(one.probabilities.get(label, 0.0) - other.probabilities.get(label, 0.0)) for label in labels)


def differing(
    predictions: Mapping[str, Prediction], recorded: Mapping[str, Prediction], max_difference: float
) -> list[str]:
    """Return the keys of the pictures whose two answers differ by more than `max_difference`."""
    return [key for key, given in predictions.items() if distance(given, recorded[key]) > max_difference]
