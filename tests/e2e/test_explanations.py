"""Explanations of a real server: on TorchServe's own path, with keys, limits and problem documents of predictions."""

import json
import secrets
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from serving.gateway.openapi.problems import EXPLANATION_PROBLEMS
from serving.server.launch import Server
from tests import zoo
from tests.documentation import run_by
from tests.e2e.support import PATH as PREDICTIONS
from tests.e2e.support import start
from tests.e2e.test_metrics import counters, total
from tests.e2e.test_rest import is_problem

PATH = "/explanations/catsdogs"
CAT, DOG = zoo.CAT.read_bytes(), zoo.DOG.read_bytes()
KEY = secrets.token_urlsafe(32)


def opened(path: Path) -> Image.Image:
    return Image.open(BytesIO(path.read_bytes()))


def picture_of(response: httpx.Response) -> Image.Image:
    assert response.headers["content-type"] == "image/png"
    return Image.open(BytesIO(response.content))


def test_a_picture_is_explained_by_the_map_of_its_class(client: httpx.Client) -> None:
    response = client.post(PATH, content=CAT)
    document = response.json()
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    assert document["class"] == document["prediction"]["label"] == "cat"
    assert document["prediction"] == client.post(PREDICTIONS, content=CAT).json()
    assert np.array(document["map"]).shape == (6, 6)
    assert np.mean(document["map"]) == pytest.approx(document["logit"] - document["bias"], abs=1e-4)
    assert document["area"] == {"left": 0, "top": 0, **document["picture"]}


def test_every_way_to_ask_gives_the_same_explanation(client: httpx.Client) -> None:
    reference = client.post(PATH, content=CAT).json()
    version = reference["prediction"]["model"]["version"]
    assert client.put(PATH, content=CAT).json() == reference
    assert client.post(PATH, files={"file": CAT}).json() == reference
    for path in ("/explanations", f"{PATH}/", f"{PATH}/{version}", f"{PATH}?class=cat", f"{PATH}?format=json"):
        assert client.post(path, content=CAT).json() == reference


def test_another_class_has_another_map(client: httpx.Client) -> None:
    cat, dog = (client.post(PATH, params={"class": name}, content=CAT).json() for name in ("cat", "dog"))
    assert (cat["class"], dog["class"]) == ("cat", "dog")
    assert cat["prediction"] == dog["prediction"]
    assert cat["logit"] > dog["logit"]


@pytest.mark.parametrize(
    ("query", "accept", "kind"),
    [
        ("?format=png", "application/json", "image/png"),
        ("?format=json", "image/png", "application/json"),
        ("", "image/png", "image/png"),
        ("", "image/*, application/json;q=0.5", "image/png"),
        ("", "application/json, image/png", "application/json"),
        ("", "image/avif,*/*;q=0.8", "application/json"),
        ("", "text/html", "application/json"),
        ("", "image/png;q=nonsense, ;;,", "application/json"),
    ],
)
def test_the_query_or_else_accept_says_whether_it_is_a_picture(
    client: httpx.Client, query: str, accept: str, kind: str
) -> None:
    response = client.post(f"{PATH}{query}", content=CAT, headers={"Accept": accept})
    assert (response.status_code, response.headers["content-type"]) == (200, kind)
    assert "Accept" in response.headers["vary"]


def test_the_picture_has_the_map_over_it(client: httpx.Client) -> None:
    cat, dog = (
        np.asarray(picture_of(client.post(f"{PATH}?format=png&class={name}", content=CAT))) for name in ("cat", "dog")
    )
    assert cat.shape == (256, 512, 3)
    assert np.abs(cat.astype(int) - dog).max() > 50


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("?class=horse", "class must be one of the model's: cat, dog."),
        ("?class=%0d%0aX-Timeout-Ms:0", "class must be one of the model's: cat, dog."),
        ("?class=%ff%fe", "class must be one of the model's: cat, dog."),
        ("?class=" + "a" * 5000, "class must be one of the model's, and none has so long a name."),
        ("?format=gif", "format must be json or png."),
        ("?klass=cat", "There is no parameter 'klass': an explanation takes class, format, top_k, unsure."),
        ("?top_k=many", "top_k must be a whole number from 1 to 9999."),
    ],
)
def test_a_wrong_parameter_is_refused_in_a_sentence(client: httpx.Client, query: str, detail: str) -> None:
    response = client.post(f"{PATH}{query}", content=CAT)
    assert is_problem(response, 400, "bad_request")
    assert response.json()["detail"] == detail


@pytest.mark.parametrize(("status", "code", "body"), [
    (400, "no_image", b""),
    (413, "too_many_pixels", zoo.bomb()),
    (413, "too_many_bytes", bytes(16 * 2**20 + 1)),
    (415, "unsupported_image", b"no picture"),
    (422, "corrupt_image", CAT[:3000]),
])  # fmt: skip
def test_a_bad_picture_is_refused_as_a_prediction_refuses_it(
    client: httpx.Client, status: int, code: str, body: bytes
) -> None:
    explained, predicted = (client.post(path, content=body) for path in (PATH, PREDICTIONS))
    assert is_problem(explained, status, code)
    assert code in EXPLANATION_PROBLEMS[status][1]
    assert explained.json()["detail"] == predicted.json()["detail"]


def test_other_methods_paths_and_versions_are_refused(client: httpx.Client) -> None:
    response = client.get(PATH)
    assert response.headers["allow"] == "POST, PUT"
    assert is_problem(response, 405, "method")
    for path in ("/explanations/other", f"{PATH}/9.9.9", f"{PATH}/1/2"):
        assert is_problem(client.post(path, content=CAT), 404, "not_found")


def test_explanations_among_predictions_harm_no_neighbour(client: httpx.Client) -> None:
    """Rows of all kinds at once, which workers are given in batches."""
    wanted = client.post(PREDICTIONS, content=CAT).json()["probability"]

    def ask(number: int) -> tuple[int, str, Any]:
        path = (PREDICTIONS, PATH, f"{PATH}?format=png", f"{PATH}?class=horse")[number % 4]
        response = client.post(path, content=CAT)
        while response.status_code == 503 and path != PREDICTIONS:  # few are computed at once
            assert response.json()["detail"].startswith("The server computes as many explanations")
            response = client.post(path, content=CAT)
        kind = response.headers["content-type"]
        return response.status_code, kind, None if kind == "image/png" else response.json()

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(64)))
    assert [status for status, _, _ in answers] == [200, 200, 200, 400] * 16
    assert {kind for _, kind, _ in answers[2::4]} == {"image/png"}
    for (_, _, predicted), (_, _, explained) in zip(answers[::4], answers[1::4], strict=True):
        assert predicted["probability"] == pytest.approx(wanted, abs=2e-3)
        assert explained["prediction"]["label"] == explained["class"] == "cat"


def test_they_are_counted_apart_from_predictions(client: httpx.Client, server: Server) -> None:
    before = counters(server)
    client.post(PATH, content=CAT)
    client.post(PATH, content=b"no picture")
    client.get(PATH)
    client.post(PREDICTIONS, content=DOG)
    after = counters(server)

    def grown(name: str, **labels: str) -> float:
        return total(after, name, **labels) - total(before, name, **labels)

    duration = "catsdogs_request_duration_seconds_count"
    for code in ("200", "415", "405"):
        assert grown(duration, traffic="explanation", code=code) == 1
    assert grown(duration, traffic="user") == 1
    assert grown("catsdogs_problems_total", traffic="explanation") == 2
    assert grown("catsdogs_problems_total", traffic="user") == 0


@pytest.fixture(scope="module")
def guarded(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a server that asks for a key, without one."""
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text(KEY)
    with (
        start(archive, workers=1, keys=keys) as running,
        httpx.Client(base_url=running.options.url, timeout=30, trust_env=False) as stranger,
    ):
        yield stranger


@pytest.mark.parametrize("path", [PATH, "/explanations", f"{PATH}/0.0.1"])
def test_where_keys_are_asked_for_an_explanation_takes_one(guarded: httpx.Client, path: str) -> None:
    refused = guarded.post(path, content=CAT)
    assert is_problem(refused, 401, "unauthorized")
    assert refused.headers["www-authenticate"] == "Bearer"
    answered = guarded.post(path, content=CAT, headers={"Authorization": f"Bearer {KEY}"})
    assert answered.status_code == (404 if path.endswith("0.0.1") else 200)


def test_the_documented_commands_answer(server: Server, tmp_path: Path) -> None:
    (block,) = [block for block in run_by(__file__) if block.language == "sh"]
    (tmp_path / "photo.jpg").write_bytes(CAT)
    text = block.text.replace("http://127.0.0.1:8080", server.options.url).replace("curl", "curl -sS --noproxy '*'")
    done = subprocess.run(["sh", "-ec", text], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["class"] == "dog"
    assert opened(tmp_path / "why.png").size == (512, 256)
