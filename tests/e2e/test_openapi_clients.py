"""A Python client that openapi-python-client makes by the documented commands, and what it does at the real server."""

import importlib
import io
import json
import os
import re
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.server.launch import Server
from tests import zoo
from tests.documentation import run_by
from tests.zoo import ROOT

# Not in the environment of the other tests: requirements/generators.in says why.
GENERATORS = Path(os.environ.get("CATSDOGS_GENERATORS", ROOT / ".venv-generators" / "bin"))
PACKAGE = "catsdogs_client"


ADDRESS = "http://127.0.0.1:8080"


def example(language: str, server: Server) -> str:
    """Return the documentation's block of a language, for this server."""
    (block,) = [block for block in run_by(__file__) if block.language == language]
    return block.text.replace(ADDRESS, server.options.url)


@pytest.fixture(scope="module")
def made(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a client, made by the documented commands; any warning fails it."""
    command = GENERATORS / "openapi-python-client"
    assert command.exists(), f"{command} is missing: make .venv-generators/.installed"
    folder = tmp_path_factory.mktemp("generated")
    done = subprocess.run(
        ["sh", "-ec", example("sh", server)],
        cwd=folder,
        env={**os.environ, "PATH": f"{GENERATORS}:{os.environ['PATH']}", "no_proxy": "127.0.0.1"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, "WARNING" in done.stdout + done.stderr) == (0, False), done.stdout + done.stderr
    return folder / "client"


@pytest.fixture(scope="module")
def generated(made: Path) -> Iterator[None]:
    """The client's package can be imported."""
    sys.path.insert(0, str(made))
    yield
    sys.path.remove(str(made))


@pytest.fixture
def api(server: Server, generated: None) -> Iterator[Any]:
    """Calls that a program makes with the client: `api.call("predictions.predict", body=...)`, and `api.models`."""

    class Api:
        models = importlib.import_module(f"{PACKAGE}.models")
        types = importlib.import_module(f"{PACKAGE}.types")

        def call(self, name: str, **arguments: Any) -> Any:
            return importlib.import_module(f"{PACKAGE}.api.{name}").sync(client=client, **arguments)

    kind = importlib.import_module(PACKAGE).Client
    with kind(
        base_url=server.options.url,
        raise_on_unexpected_status=True,
        timeout=httpx.Timeout(30),
        httpx_args={"trust_env": False},
    ) as client:
        yield Api()


def base64(picture: Path) -> str:
    return b64encode(picture.read_bytes()).decode()


def test_the_documented_program_classifies_a_picture(server: Server, made: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(made), "no_proxy": "127.0.0.1"}
    command = [sys.executable, "-c", example("python", server)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout.startswith("dog 0."), done.stdout + done.stderr


def test_the_documented_version_is_the_one_that_is_tested() -> None:
    page = (ROOT / "docs" / "how-to" / "call-the-server.md").read_text()
    (version,) = re.findall(r"openapi-python-client==(\S+)", page)
    done = subprocess.run([GENERATORS / "openapi-python-client", "--version"], capture_output=True, text=True)
    assert done.stdout.split()[-1] == version


def test_its_name_is_the_models_without_a_version(generated: None) -> None:
    assert importlib.import_module(PACKAGE).__name__ == "catsdogs_client"


def test_it_classifies_the_bytes_of_a_picture(api: Any) -> None:
    picture = api.types.File(io.BytesIO(zoo.CAT.read_bytes()))
    answer = api.call("predictions.predict", body=picture, top_k=1, x_request_id="generated-1")
    assert isinstance(answer, api.models.Answer)
    assert answer.label == api.models.Label.CAT
    assert answer.probabilities.additional_properties == {"cat": answer.probability}
    assert (answer.model.name, len(answer.model.sha256)) == ("catsdogs", 64)


def test_it_classifies_a_form_with_a_file(api: Any) -> None:
    picture = api.types.File(io.BytesIO(zoo.DOG.read_bytes()), "dog.jpg", "image/jpeg")
    answer = api.call("predictions.predict_default", body=api.models.Form(file=picture))
    assert answer.label == api.models.Label.DOG


def test_it_classifies_by_kserve_v1(api: Any) -> None:
    picture = api.models.V1Picture(b64=base64(zoo.CAT))
    answer = api.call("kserve.predict_v1", body=api.models.V1Request(instances=[picture, base64(zoo.DOG)]))
    assert isinstance(answer, api.models.V1Answer)
    assert [prediction.label.value for prediction in answer.predictions] == ["cat", "dog"]


def test_it_classifies_by_kserve_v2(api: Any) -> None:
    tensor = api.models.V2Input(name="image", datatype="BYTES", shape=[1], data=[base64(zoo.CAT)])
    answer = api.call("kserve.infer_v2", body=api.models.V2Request(inputs=[tensor], id="mine"))
    assert isinstance(answer, api.models.V2Answer)
    assert answer.id == "mine"
    assert {output.name: output.data for output in answer.outputs}["label"] == ["cat"]


def test_a_refused_picture_is_a_typed_problem(api: Any) -> None:
    problem = api.call("predictions.predict", body=api.types.File(io.BytesIO(b"no picture")))
    assert isinstance(problem, api.models.Problem)
    assert (problem.status, problem.code) == (415, api.models.Code.UNSUPPORTED_IMAGE)


def test_a_wrong_version_is_a_typed_problem(api: Any) -> None:
    picture = api.types.File(io.BytesIO(zoo.CAT.read_bytes()))
    problem = api.call("predictions.predict_version", version="9.9.9", body=picture)
    assert isinstance(problem, api.models.Problem)
    assert problem.code == api.models.Code.NOT_FOUND


def test_a_problem_of_kserve_has_its_error(api: Any) -> None:
    problem = api.call("kserve.predict_v1", body=api.models.V1Request(instances=["bm8gcGljdHVyZQ=="]))
    assert isinstance(problem, api.models.KServeProblem)
    assert (problem.code, problem.error) == (api.models.Code.UNSUPPORTED_IMAGE, problem.detail)


def test_it_asks_whether_the_server_is_ready(api: Any) -> None:
    answer = api.call("health.ready")
    assert isinstance(answer, api.models.WorkersReady)
    assert answer.ready


def test_every_answer_of_the_document_has_a_type(generated: None, client: httpx.Client) -> None:
    document = json.dumps(client.get("/openapi.json").json())
    models = importlib.import_module(f"{PACKAGE}.models")
    for name in json.loads(document)["components"]["schemas"]:
        assert hasattr(models, name), name
