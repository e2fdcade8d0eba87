"""Image operations of a real server: its answers, its refusals, and that predictions come to no harm."""

import io
import json
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from PIL import Image
from playwright.sync_api import Browser

from handler.predictor import Predictor
from serving.gateway.openapi.problems import IMAGE_PROBLEMS
from serving.images.operations import OPERATIONS, apply
from serving.images.parameters import FORMATS, read_parameters
from serving.server.launch import Server
from tests import zoo
from tests.bombs import BOMBS
from tests.documentation import run_by
from tests.e2e.support import PATH, start, wait_for
from tests.e2e.test_metrics import CONTRACT, families, scrape
from tests.e2e.test_openapi import check, follow

CAT = zoo.CAT.read_bytes()
KEY = secrets.token_urlsafe(32)
BEARER = {"Authorization": f"Bearer {KEY}"}
SHOW = "/images/show-input"
GIVEN: dict[str, dict[str, str]] = {"resize": {"width": "90"}, "crop": {"left": "3", "top": "4", "width": "99"}}


@pytest.fixture(scope="module")
def operating(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text(f"{KEY}\n")
    with start(archive, workers=1, keys=keys, image_operations=True) as running:
        yield running


@pytest.fixture
def user(operating: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=operating.options.url, headers=BEARER, timeout=60, trust_env=False) as made:
        yield made


def is_refused(response: httpx.Response, status: int, code: str) -> None:
    assert (response.status_code, response.json()["code"]) == (status, code), response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["request_id"] == response.headers["x-request-id"]
    assert code in IMAGE_PROBLEMS[status][1]


def test_off_there_is_no_path_no_description_and_no_metric(client: httpx.Client, server: Server) -> None:
    for operation in OPERATIONS:
        refused = client.post(f"/images/{operation}", content=CAT)
        assert (refused.status_code, refused.json()["code"]) == (404, "not_found")
    assert "/images" not in client.get("/openapi.json").text
    assert "catsdogs_image" not in scrape(server).text
    assert not (server.run / "images.sock").exists()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_answer_is_the_commands_result(user: httpx.Client, operation: str, operating: Server) -> None:
    for form in FORMATS.get(operation, ("",)):
        given = GIVEN.get(operation, {}) | ({"format": form} if form else {})
        answer = user.post(f"/images/{operation}", params=given, content=CAT)
        wanted = apply(operation, CAT, read_parameters(operation, given.items()), operating.options.archive.input)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == wanted.content_type
        assert answer.content == wanted.data


def test_what_is_shown_is_what_the_network_is_given(user: httpx.Client, unpacked: Path) -> None:
    pixels = Predictor(unpacked).decode(CAT)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(user.post(SHOW, content=CAT).content))), pixels)
    tensor = np.load(io.BytesIO(user.post(SHOW, params={"format": "npy"}, content=CAT).content))
    np.testing.assert_array_equal(tensor, pixels[np.newaxis])


def test_a_form_base64_and_put_are_taken_as_for_predictions(user: httpx.Client) -> None:
    plain = user.post(SHOW, content=CAT).content
    assert user.post(SHOW, files={"file": CAT}).content == plain
    assert user.put(f"{SHOW}/", content=CAT).content == plain
    is_refused(user.post(SHOW, files=[("a", CAT), ("b", CAT)]), 400, "no_image")


def test_what_is_wrong_is_refused_with_a_code_of_the_table(user: httpx.Client) -> None:
    is_refused(user.post(SHOW, content=CAT, headers={"Authorization": ""}), 401, "unauthorized")
    is_refused(user.post("/images/rotate", content=CAT), 404, "not_found")
    other = user.get(SHOW)
    is_refused(other, 405, "method")
    assert other.headers["allow"] == "POST, PUT"
    is_refused(user.post("/images/resize", content=CAT), 400, "bad_request")
    is_refused(user.post(SHOW, params={"top_k": "1"}, content=CAT), 400, "bad_request")
    is_refused(user.post(f"{SHOW}?format=%00", content=CAT), 400, "bad_request")
    is_refused(user.post(SHOW, content=b""), 400, "no_image")
    is_refused(user.post(SHOW, content=b"no picture"), 415, "unsupported_image")
    is_refused(user.post(SHOW, content=CAT, headers={"Content-Encoding": "gzip"}), 415, "unsupported_encoding")
    is_refused(user.post(SHOW, content=CAT[:3000]), 422, "corrupt_image")
    is_refused(user.post(SHOW, content=zoo.bomb()), 413, "too_many_pixels")
    is_refused(user.post(SHOW, content=bytes(16 * 2**20 + 1)), 413, "too_many_bytes")


def test_it_is_described_as_it_is(user: httpx.Client) -> None:
    api = user.get("/openapi.json").json()
    paths = {path: item for path, item in api["paths"].items() if path.startswith("/images/")}
    assert list(paths) == [f"/images/{operation}" for operation in OPERATIONS]
    for path, item in paths.items():
        given = GIVEN.get(path.removeprefix("/images/"), {})
        for method in ("post", "put"):
            answer = user.request(method, path, params=given, content=CAT)
            kind = answer.headers["content-type"]
            described = item[method]["responses"]["200"]["content"][kind]
            if kind == "application/json":
                check(api, described["schema"], answer.json())
            refused = user.request(method, path, params={"unknown": "1"}, content=CAT)
            problem = follow(api, item[method]["responses"]["400"])
            check(api, problem["content"]["application/problem+json"]["schema"], refused.json())
            assert set(given) <= {parameter["name"] for parameter in item[method]["parameters"]}


def test_operations_and_refusals_are_counted_apart_from_predictions(operating: Server, user: httpx.Client) -> None:
    def number(name: str, sample: str, **labels: str) -> float:
        samples = families(scrape(operating).text)[name].samples
        return sum(one.value for one in samples if one.name == sample and labels.items() <= one.labels.items())

    def counted() -> list[float]:
        duration, refused = "catsdogs_image_operation_duration_seconds", "catsdogs_image_operations_refused"
        return [
            number(duration, f"{duration}_count", operation="grayscale"),
            number(refused, f"{refused}_total", code="bad_request"),
            number(refused, f"{refused}_total", code="unauthorized"),
        ]

    def predictions() -> float:
        name = "catsdogs_request_duration_seconds"
        return number(name, f"{name}_count")

    before, asked = counted(), predictions()
    assert user.post("/images/grayscale", content=CAT).status_code == 200
    assert user.post("/images/grayscale?x=1", content=CAT).status_code == 400
    assert user.post("/images/grayscale", content=CAT, headers={"Authorization": ""}).status_code == 401
    wait_for(lambda: counted() == [value + 1 for value in before], 10, "each is counted once")
    assert predictions() == asked
    wanted = {metric["name"]: metric for metric in CONTRACT if "image_operation" in metric["name"]}
    for family in families(scrape(operating).text).values():
        if "image_operation" in family.name:
            metric = wanted.pop(family.name if family.type == "histogram" else f"{family.name}_total")
            assert family.type == metric["type"]
            for sample in family.samples:
                assert sample.labels.keys() - {"le"} == metric["labels"].keys()
                for key, values in metric["labels"].items():
                    assert sample.labels[key] in values, sample
    assert not wanted


def test_bombs_harm_no_prediction(operating: Server, user: httpx.Client) -> None:
    """Operations wait for them, more than may wait are refused at once, and predictions go on all the time."""
    before = workers(operating)
    body = BOMBS["jpeg of small scans"]()
    with ThreadPoolExecutor(12) as pool:
        spent = cpu_s(operating)
        bombs = [pool.submit(user.post, "/images/grayscale", content=body) for _ in range(2)]
        # Others that come first would have their turn first, and the bombs none.
        wait_for(lambda: cpu_s(operating) > spent + 0.2, 30, "a bomb is decoded")
        others = [pool.submit(user.post, SHOW, content=CAT) for _ in range(10)]
        answered = 0
        while not all(bomb.done() for bomb in bombs):
            assert user.post(PATH, content=CAT).json()["label"] == "cat"
            answered += 1
        assert answered > 5
        # The second one may have waited too long for its turn.
        assert 413 in {bomb.result().status_code for bomb in bombs} <= {413, 503}
        answers = [other.result() for other in others]
    assert 503 in {answer.status_code for answer in answers} <= {200, 503}
    assert {answer.headers.get("retry-after") for answer in answers if answer.status_code == 503} == {"1"}
    assert workers(operating) == before


def test_a_process_that_is_killed_harms_nothing_but_its_own_picture(operating: Server, user: httpx.Client) -> None:
    images = operating.images
    assert images is not None
    assert images.child is not None
    os.kill(images.child.pid, signal.SIGKILL)
    assert user.post(PATH, content=CAT).status_code == 200
    # Its successor is waited for.
    assert user.post(SHOW, content=CAT).status_code == 200


def test_the_docs_show_the_picture_that_is_answered(operating: Server, browser: Browser) -> None:
    page = browser.new_page()
    page.goto(f"{operating.options.url}/docs")
    page.fill("#key", KEY)
    card = page.locator("#imageShowInput")
    card.locator("input[type=file]").set_input_files(zoo.CAT)
    card.get_by_role("button", name="Send").click()
    picture = card.locator("pre img")
    picture.wait_for()
    size = operating.options.archive.input.size
    page.wait_for_function("size => document.querySelector('#imageShowInput img').naturalWidth === size", arg=size)
    page.close()


def cpu_s(server: Server) -> float:
    """Return the CPU time of the process that operates on images, in seconds."""
    assert server.images is not None
    assert server.images.child is not None
    return sum(psutil.Process(server.images.child.pid).cpu_times()[:2])


def workers(server: Server) -> set[int]:
    return {int(path.stem) for path in (server.run / "heartbeats").glob("*") if path.stem.isdecimal()}


def test_the_documented_commands_answer(archive: Path, tmp_path: Path) -> None:
    curl = tmp_path / "curl"
    curl.write_text(f'#!/bin/sh\nexec {shutil.which("curl")} --noproxy "*" "$@"\n')
    curl.chmod(0o755)
    blocks = [block for block in run_by(__file__) if block.language == "sh"]
    assert len(blocks) == 1
    with start(archive, workers=1, image_operations=True) as server:
        script = blocks[0].text.replace("127.0.0.1:8080", f"127.0.0.1:{server.options.ports.rest}")
        script = script.replace("photo.jpg", str(zoo.CAT))
        subprocess.run(
            ["sh", "-ec", script], cwd=tmp_path, env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}, check=True
        )
    size = server.options.archive.input.size
    assert Image.open(io.BytesIO((tmp_path / "seen.png").read_bytes())).size == (size, size)
    assert Image.open(io.BytesIO((tmp_path / "small.png").read_bytes())).width == 320
    assert np.load(tmp_path / "input.npy").shape == (1, size, size, 3)
    document: dict[str, Any] = json.loads((tmp_path / "normalized.json").read_text())
    assert document["shape"] == [3, size, size]
