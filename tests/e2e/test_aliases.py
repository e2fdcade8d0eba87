"""The names that clients of small projects know, /health, /predict and /metrics: the same as ours in every respect."""

import base64
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from serving.gateway.openapi.parts import EXPOSITION
from serving.server.launch import Server
from tests import zoo
from tests.e2e.support import PATH, start, wait_for_all_workers
from tests.e2e.test_metrics import counters, families, grew, scrape
from tests.e2e.test_rest import is_problem

KEY = secrets.token_urlsafe(32)
BEARER = {"Authorization": f"Bearer {KEY}"}
ORIGIN = "https://example.org"
CAT = zoo.CAT.read_bytes()
HEAVY = 16 * 2**20 + 1


@pytest.fixture(scope="module")
def open_server(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with keys, CORS and its metrics on the port of REST."""
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text(KEY)
    with start(archive, workers=1, keys=keys, cors_origins=(ORIGIN,), public_metrics=True) as running:
        yield running


@pytest.fixture
def user(open_server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=open_server.options.url, headers=BEARER, timeout=30, trust_env=False) as made:
        yield made


@pytest.fixture
def stranger(open_server: Server) -> Iterator[httpx.Client]:
    """A client without a key."""
    with httpx.Client(base_url=open_server.options.url, timeout=30, trust_env=False) as made:
        yield made


# GET /health


def test_health_says_what_readyz_says(client: httpx.Client, server: Server) -> None:
    wait_for_all_workers(server)
    for path in ("/health", "/health/"):
        response = client.get(path)
        assert (response.status_code, response.json()) == (200, {"ready": True, "workers": server.options.workers})
    assert client.get("/health").json() == client.get("/readyz").json()
    assert client.head("/health").status_code == 200


def test_health_needs_no_key_and_takes_questions_alone(stranger: httpx.Client) -> None:
    assert stranger.get("/health").status_code == 200
    refused = stranger.post("/health", content=b"x")
    assert is_problem(refused, 405, "method")
    assert refused.headers["allow"] == "GET, HEAD"
    assert is_problem(stranger.request("GET", "/health", content=b"x"), 400, "bad_request")
    assert is_problem(stranger.get("/healthz"), 404, "not_found")


# POST /predict


def test_predict_takes_a_picture_in_each_way_and_answers_the_same(client: httpx.Client) -> None:
    reference = client.post(PATH, content=CAT).json()
    assert reference["label"] == "cat"
    assert client.post("/predict", content=CAT).json() == reference
    assert client.put("/predict/", content=CAT).json() == reference
    assert client.post("/predict", files={"file": ("cat.jpg", CAT, "image/jpeg")}).json() == reference
    document = {"instances": [{"b64": base64.b64encode(CAT).decode()}]}
    answers = [client.post(path, json=document).json() for path in ("/predict", "/predictions")]
    assert answers[0] == answers[1] != reference
    assert set(client.post("/predict?top_k=1", content=CAT).json()["probabilities"]) == {"cat"}


@pytest.mark.parametrize("kind", ["text", "empty", "cut"])
def test_predict_refuses_what_predictions_refuses(client: httpx.Client, kind: str) -> None:
    body = {"text": b"no picture", "empty": b"", "cut": CAT[:3000]}[kind]
    ours, alias = client.post(PATH, content=body), client.post("/predict", content=body)
    assert alias.status_code == ours.status_code >= 400
    assert is_problem(alias, ours.status_code, ours.json()["code"])
    assert alias.json()["detail"] == ours.json()["detail"]


def test_predict_has_the_limits_and_the_methods_of_predictions(client: httpx.Client) -> None:
    assert is_problem(client.post("/predict", content=bytes(HEAVY)), 413, "too_many_bytes")
    assert is_problem(
        client.post("/predict", content=CAT, headers={"Content-Encoding": "gzip"}), 415, "unsupported_encoding"
    )
    refused = client.get("/predict")
    assert is_problem(refused, 405, "method")
    assert refused.headers["allow"] == "POST, PUT"
    for path in ("/predict/catsdogs", "/predict/horses", "/predicts", "/predict.json"):
        assert is_problem(client.post(path, content=CAT), 404, "not_found")


def test_predict_is_counted_in_the_objectives_as_predictions_is(
    open_server: Server, user: httpx.Client, stranger: httpx.Client
) -> None:
    before, name = counters(open_server), "catsdogs_request_duration_seconds_count"
    assert user.post("/predict", content=CAT).status_code == 200
    assert user.post("/predict", files={"file": CAT}).status_code == 200
    assert stranger.post("/predict", content=CAT).status_code == 401
    assert stranger.post("/predict", files={"file": CAT}).status_code == 401
    assert user.post("/predict/horses", content=CAT).status_code == 404
    for protocol, code in (
        ("rest", "200"),
        ("multipart", "200"),
        ("rest", "401"),
        ("multipart", "401"),
        ("rest", "404"),
    ):
        grew(open_server, before, name, 1, protocol=protocol, code=code)
    grew(open_server, before, "catsdogs_predictions_total", 2, class_="cat")
    grew(open_server, before, "catsdogs_problems_total", 2, code="unauthorized")


@pytest.mark.parametrize(("path", "methods"), [("/predict", "POST, PUT"), ("/health", "GET, HEAD")])
def test_pages_of_other_origins_may_ask_by_both_names(stranger: httpx.Client, path: str, methods: str) -> None:
    preflight = stranger.options(path, headers={"Origin": ORIGIN, "Access-Control-Request-Method": "POST"})
    assert (preflight.status_code, preflight.headers["access-control-allow-methods"]) == (204, methods)
    assert preflight.headers["access-control-allow-origin"] == ORIGIN


# GET /metrics on the port of REST


def test_metrics_are_on_the_port_of_rest_for_those_who_have_a_key(
    open_server: Server, user: httpx.Client, stranger: httpx.Client
) -> None:
    for path in ("/metrics", "/metrics/"):
        response, own = user.get(path), scrape(open_server)
        assert response.status_code == 200
        assert response.headers["content-type"] == own.headers["content-type"] == EXPOSITION
        assert families(response.text).keys() == families(own.text).keys()
        assert is_problem(stranger.get(path), 401, "unauthorized")
    assert user.head("/metrics").status_code == 200


def test_strangers_who_scrape_often_cost_a_scrape_a_second(archive: Path) -> None:
    with start(archive, workers=1, public_metrics=True) as server, httpx.Client(trust_env=False) as client:
        url, begun = f"{server.options.url}/metrics", time.monotonic()
        seen = {client.get(url).text for _ in range(30)}
        # Each of its own would say of the process that it has used more time.
        assert 1 <= len(seen) <= 2 + (time.monotonic() - begun)


def test_metrics_take_questions_alone(user: httpx.Client) -> None:
    refused = user.post("/metrics", content=b"x")
    assert is_problem(refused, 405, "method")
    assert refused.headers["allow"] == "GET, HEAD"
    assert is_problem(user.request("GET", "/metrics", content=b"x"), 400, "bad_request")
    assert is_problem(user.get("/torchserve/metrics"), 404, "not_found")


def test_metrics_may_be_read_by_the_origins_of_the_list(user: httpx.Client, stranger: httpx.Client) -> None:
    for origin, allowed in ((ORIGIN, ORIGIN), ("https://example.com", None)):
        response = user.get("/metrics", headers={"Origin": origin})
        assert (response.status_code, response.headers.get("access-control-allow-origin")) == (200, allowed)
    preflight = stranger.options("/metrics", headers={"Origin": ORIGIN, "Access-Control-Request-Method": "GET"})
    assert (preflight.status_code, preflight.headers["access-control-allow-methods"]) == (204, "GET, HEAD")


def test_without_keys_everybody_may_scrape(archive: Path) -> None:
    with start(archive, workers=1, public_metrics=True) as server:
        response = httpx.get(f"{server.options.url}/metrics", trust_env=False)
        assert response.status_code == 200
        assert families(response.text).keys() == families(scrape(server).text).keys()
        assert httpx.get(f"{server.options.url}/stats", trust_env=False).status_code == 404


def test_without_the_option_the_port_of_rest_has_no_metrics(client: httpx.Client) -> None:
    assert is_problem(client.get("/metrics"), 404, "not_found")
    assert "/metrics" not in client.get("/openapi.json").json()["paths"]


def test_the_description_has_all_three_names(user: httpx.Client) -> None:
    paths = user.get("/openapi.json").json()["paths"]
    assert {"/health", "/predict", "/metrics"} <= paths.keys()
    described = paths["/metrics"]["get"]["responses"]
    assert list(described["200"]["content"]) == [EXPOSITION]
    assert "401" in described
