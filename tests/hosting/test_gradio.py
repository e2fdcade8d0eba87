"""The Gradio app, run from the folder that becomes a Space, in its own environment: `make test-gradio`."""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from common.ports import free_ports
from handler.predictor import Predictor
from serving.hosting.spaces import main as make_space
from tests.e2e.support import wait_for
from tests.zoo import CAT, DOG, ROOT

pytestmark = pytest.mark.slow
PYTHON = ROOT / ".venv-gradio" / "bin" / "python"


@dataclass
class App:
    """The running app, asked by its API over HTTP."""

    client: httpx.Client

    def classify(self, picture: bytes) -> tuple[str, Any]:
        """Return the event that ends a call, and its data."""
        (path,) = self.client.post("/gradio_api/upload", files={"files": ("photo.jpg", picture)}).json()
        file = {"path": path, "meta": {"_type": "gradio.FileData"}}
        call = self.client.post("/gradio_api/call/classify", json={"data": [file]}).json()
        lines = self.client.get(f"/gradio_api/call/classify/{call['event_id']}").text.splitlines()
        events = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
        data = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
        return events[-1], data[-1]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    assert PYTHON.exists(), "There is no environment for Gradio: run this by `make test-gradio`."
    folder = tmp_path_factory.mktemp("space") / "gradio"
    assert make_space(["gradio", str(folder)]) == 0
    (port,) = free_ports(1)
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder.parent), "GRADIO_ANALYTICS_ENABLED": "False"}
    own = {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(port), "NO_PROXY": "*"}
    log = folder.parent / "log"
    with log.open("wb") as output:
        child = subprocess.Popen(
            [PYTHON, "app.py"], cwd=folder, env={**environment, **own}, stdout=output, stderr=output
        )
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:

        def answers() -> bool:
            assert child.poll() is None, log.read_text()
            try:
                return client.get("/gradio_api/info").status_code == 200
            except httpx.TransportError:
                return False

        try:
            wait_for(answers, 120, "the app answers")
            yield App(client)
        finally:
            child.terminate()
            child.wait(30)


@pytest.mark.parametrize(("picture", "label"), [(CAT, "cat"), (DOG, "dog")])
def test_a_photo_gets_the_answer_of_the_released_model(app: App, picture: Path, label: str) -> None:
    event, (answer,) = app.classify(picture.read_bytes())
    assert event == "complete"
    assert answer["label"] == label
    predictor = Predictor(ROOT / "model-store" / "catsdogs")
    expected = predictor.answers(predictor.decode(picture.read_bytes())[None])[0]
    confidences = {entry["label"]: entry["confidence"] for entry in answer["confidences"]}
    assert confidences == pytest.approx(expected["probabilities"], abs=1e-6)


def test_what_is_not_a_picture_is_an_error_in_words(app: App) -> None:
    event, data = app.classify(CAT.read_bytes()[:3000])
    assert event == "error"
    assert "Traceback" not in json.dumps(data)
