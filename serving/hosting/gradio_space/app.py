"""A Gradio app that classifies pictures by a release, without the server: python app.py

It listens on port 7860. $CATSDOGS_RELEASE names the release's folder; by default it is `release` beside this file.
"""

import os
import threading
from pathlib import Path

import gradio

from handler.predictor import Predictor
from handler.problem import Problem

RELEASE = Path(os.environ.get("CATSDOGS_RELEASE", Path(__file__).with_name("release")))
PORT = int(os.environ.get("GRADIO_SERVER_PORT", "7860"))


def make_app(release: Path) -> gradio.Interface:
    """Return the app of a release."""
    predictor = Predictor(release)
    predictor.warm_up(1)
    # A Predictor is used by one thread at a time, and Gradio has many.
    turn = threading.Lock()

    def classify(path: str | None) -> dict[str, float]:
        """Classify a photo: probabilities by class."""
        if path is None:
            raise gradio.Error("Choose a photo first.")
        try:
            with turn:
                answer = predictor.answers(predictor.decode(Path(path).read_bytes())[None])[0]
        except Problem as problem:
            raise gradio.Error(problem.detail) from None
        probabilities: dict[str, float] = answer["probabilities"]
        return probabilities

    names = ", ".join(predictor.release.classes)
    return gradio.Interface(
        classify,
        # The file as it was sent: the handler decodes it, within its own bounds, as the server does.
        gradio.Image(type="filepath", image_mode=None, sources=["upload", "clipboard"], label="Photo"),
        gradio.Label(label="Prediction"),
        title=predictor.release.name,
        description=f"Classes: {names}. Version {predictor.release.version}.",
        api_name="classify",
        flagging_mode="never",
        analytics_enabled=False,
    )


if __name__ == "__main__":
    make_app(RELEASE).launch(
        server_name=os.environ.get("GRADIO_SERVER_NAME", "0.0.0.0"), server_port=PORT, max_file_size="16mb"
    )
