"""Tests of CORS: the origins whose pages a browser lets read the answers."""

import secrets
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Error

from serving.feedback.settings import FeedbackSettings
from serving.server.launch import Server
from tests import zoo
from tests.e2e.support import PATH, start
from tests.e2e.test_rest import is_problem
from tests.e2e.test_start import refusal

HERE, THERE, STRANGE = "https://example.org", "http://localhost:3000", "https://example.com"
V1, V2 = "/v1/models/catsdogs:predict", "/v2/models/catsdogs/infer"
PREDICTIONS = ["/predictions", "/predict", PATH, f"{PATH}/0.0.1", V1, V2]
ASKS = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,x-timeout-ms"}


class Page(SimpleHTTPRequestHandler):
    """A page of another origin, with a picture beside it."""

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The origin of a page that has nothing to do with the server."""
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "index.html").write_text("<!doctype html><meta charset=utf-8><title>Elsewhere</title>")
    (folder / "cat.jpg").write_bytes(zoo.CAT.read_bytes())
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Page, directory=str(folder))) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{made.server_port}"
        made.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def key() -> str:
    return secrets.token_urlsafe(32)


@pytest.fixture(scope="module")
def shared(archive: Path, elsewhere: str, key: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for the pages of three origins that bring a key."""
    folder = tmp_path_factory.mktemp("cors")
    keys = folder / "keys"
    keys.write_text(key)
    feedback = FeedbackSettings(str(folder / "feedback"))
    with start(archive, workers=1, keys=keys, cors_origins=(HERE, THERE, elsewhere), feedback=feedback) as running:
        yield running


@pytest.fixture(scope="module")
def visitor(shared: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=shared.options.url, timeout=30, trust_env=False) as made:
        yield made


def cors(response: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name.startswith("access-control-")}


def readable_by(origin: str) -> dict[str, str]:
    return {"access-control-allow-origin": origin, "access-control-expose-headers": "X-Request-Id, Retry-After"}


def test_by_default_no_answer_says_a_word_of_it(client: httpx.Client) -> None:
    for origin in (HERE, str(client.base_url).rstrip("/"), "null", "*"):
        headers = {"Origin": origin}
        answers = [
            client.post(PATH, content=zoo.CAT.read_bytes(), headers=headers),
            client.post(PATH, content=b"no picture", headers=headers),
            *(client.options(path, headers=headers | ASKS) for path in (*PREDICTIONS, "/readyz", "/", "/none")),
            *(client.get(path, headers=headers) for path in ("/", "/docs", "/openapi.json", "/readyz", "/none")),
        ]
        assert [answer.status_code for answer in answers] == [200, 415, *[405] * 8, 404, *[200] * 4, 404]
        for answer in answers:
            assert cors(answer) == {}
            assert "Origin" not in answer.headers.get("vary", "")


@pytest.mark.parametrize("origin", [HERE, THERE])
@pytest.mark.parametrize("path", [*PREDICTIONS, "/readyz", "/health"])
def test_a_preflight_is_answered_without_a_key(visitor: httpx.Client, origin: str, path: str) -> None:
    response = visitor.options(path, headers={"Origin": origin} | ASKS)
    assert (response.status_code, response.content) == (204, b"")
    assert cors(response) == readable_by(origin) | {
        "access-control-allow-methods": "POST, PUT" if path in PREDICTIONS else "GET, HEAD",
        "access-control-allow-headers": "Authorization, Content-Type, X-Request-Id, X-Timeout-Ms",
        "access-control-max-age": "7200",
    }
    assert response.headers["vary"] == "Origin"


def test_an_answer_may_be_read_by_the_origins_of_the_list(visitor: httpx.Client, key: str) -> None:
    for origin in (HERE, THERE):
        headers = {"Origin": origin, "Authorization": f"Bearer {key}"}
        response = visitor.post(PATH, content=zoo.CAT.read_bytes(), headers=headers)
        assert response.status_code == 200
        assert cors(response) == readable_by(origin)
        assert response.headers["vary"] == "Origin"
        assert cors(visitor.get("/v2/models/catsdogs", headers=headers)) == readable_by(origin)


def test_a_problem_may_be_read_too(visitor: httpx.Client, key: str) -> None:
    stranger, with_key = {"Origin": HERE}, {"Origin": HERE, "Authorization": f"Bearer {key}"}
    for response, status, code in (
        (visitor.post(PATH, content=zoo.CAT.read_bytes(), headers=stranger), 401, "unauthorized"),
        (visitor.post(PATH, content=b"no picture", headers=with_key), 415, "unsupported_image"),
        (visitor.post(PATH, content=bytes(16 * 2**20 + 1), headers=with_key), 413, "too_many_bytes"),
        (visitor.post(f"{PATH}/9.9.9", content=zoo.CAT.read_bytes(), headers=with_key), 404, "not_found"),
        (visitor.get(PATH, headers=with_key), 405, "method"),
        (visitor.get("/none", headers=with_key), 404, "not_found"),
    ):
        assert is_problem(response, status, code)
        assert cors(response) == readable_by(HERE)
        assert response.headers["vary"] == "Origin"


@pytest.mark.parametrize(
    "origin",
    [
        *(STRANGE, "null", "*", "", f"{HERE}/", f"{HERE}:8443", "http://example.org", "https://sub.example.org"),
        *("https://example.org.example.com", f"{HERE} {THERE}", f"{HERE}, {THERE}", HERE.upper()),
    ],
)
def test_an_origin_that_is_not_of_the_list_gets_nothing(visitor: httpx.Client, key: str, origin: str) -> None:
    headers = {"Origin": origin, "Authorization": f"Bearer {key}"}
    for response, status in (
        (visitor.options(PATH, headers=headers | ASKS), 405),
        (visitor.post(PATH, content=zoo.CAT.read_bytes(), headers=headers), 200),
        (visitor.post(PATH, content=b"no picture", headers=headers), 415),
    ):
        assert response.status_code == status
        assert cors(response) == {}
        assert response.headers["vary"] == "Origin", "a cache must not give it to another origin"


def test_feedback_may_be_given_and_its_terms_read_by_the_origins_of_the_list(visitor: httpx.Client, key: str) -> None:
    listed, strange = ({"Origin": origin, "Authorization": f"Bearer {key}"} for origin in (HERE, STRANGE))
    token = visitor.post(PATH, content=zoo.CAT.read_bytes(), headers=listed).json()["feedback"]
    preflight = visitor.options("/feedback", headers={"Origin": HERE} | ASKS)
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-methods"] == "GET, HEAD, POST"
    for headers, allowed in ((listed, readable_by(HERE)), (strange, {})):
        answers = [
            visitor.get("/feedback", headers=headers),
            visitor.post("/feedback", json={"token": token, "label": "dog"}, headers=headers),
            visitor.post("/feedback", json={"token": "x", "label": "dog"}, headers=headers),
            visitor.post("/feedback", json={}, headers=headers | {"Authorization": ""}),
        ]
        assert [answer.status_code for answer in answers] == [200, 200, 403, 401]
        for answer in answers:
            assert cors(answer) == allowed
            assert answer.headers["vary"] == "Origin"


def test_options_that_are_no_preflight_are_answered_as_without_it(visitor: httpx.Client, key: str) -> None:
    for headers in ({"Origin": HERE}, ASKS):
        response = visitor.options(PATH, headers=headers | {"Authorization": f"Bearer {key}"})
        assert is_problem(response, 405, "method")
        assert is_problem(visitor.options(PATH, headers=headers), 401, "unauthorized")


def test_a_star_lets_all_pages_read(archive: Path) -> None:
    with start(archive, workers=1, cors_origins=("*",)) as server, httpx.Client(trust_env=False, timeout=30) as client:
        url = f"{server.options.url}{PATH}"
        for headers in ({"Origin": STRANGE}, {"Origin": "null"}, {}):
            good, bad = (client.post(url, content=body, headers=headers) for body in (zoo.CAT.read_bytes(), b"x"))
            assert (good.status_code, bad.status_code) == (200, 415)
            assert cors(good) == cors(bad) == readable_by("*")
        preflight = client.options(url, headers={"Origin": STRANGE} | ASKS)
        assert preflight.status_code == 204
        assert preflight.headers["access-control-allow-origin"] == "*"


SEND = """async ([url, key, file]) => {
    const body = await (await fetch(file)).blob();
    const headers = {"X-Request-Id": "from-elsewhere", "X-Timeout-Ms": "60000"};
    if (key) headers.Authorization = `Bearer ${key}`;
    const response = await fetch(url, {method: "POST", headers, body});
    return [response.status, response.headers.get("X-Request-Id"), await response.json()];
}"""


def test_a_page_of_another_origin_gets_its_prediction_and_reads_what_is_wrong(
    browser: Browser, shared: Server, elsewhere: str, key: str
) -> None:
    url = f"{shared.options.url}{PATH}"
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(elsewhere)
        status, request_id, answer = page.evaluate(SEND, [url, key, "cat.jpg"])
        assert (status, request_id, answer["label"]) == (200, "from-elsewhere", "cat")
        for sent, file, code in ((key, "index.html", "unsupported_image"), (None, "cat.jpg", "unauthorized")):
            status, request_id, problem = page.evaluate(SEND, [url, sent, file])
            assert (status, problem["code"], problem["request_id"]) == (problem["status"], code, request_id)


def test_a_page_of_an_origin_that_is_not_of_the_list_gets_nothing(
    browser: Browser, server: Server, shared: Server, elsewhere: str, key: str
) -> None:
    """The default of none, and the same page by another name, which is another origin."""
    strange = elsewhere.replace("127.0.0.1", "localhost")
    with browser.new_context() as context:
        page = context.new_page()
        for origin, target in ((elsewhere, server), (strange, shared)):
            page.goto(origin)
            with pytest.raises(Error, match="Failed to fetch"):
                page.evaluate(SEND, [f"{target.options.url}{PATH}", key, "cat.jpg"])


def test_what_is_no_origin_is_refused_before_anything_starts(archive: Path) -> None:
    for wrong in ("example.org", "https://example.org/", "null"):
        message = refusal(str(archive), "--cors-origin", "https://example.org", "--cors-origin", wrong)
        assert f"{wrong!r} is not an origin" in message
