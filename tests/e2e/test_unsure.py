"""Unsure answers of a real server: by a request's parameter, or all of them by `serve --unsure`."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from playwright.sync_api import Browser, Route, expect

from serving.server.launch import Server
from tests import zoo
from tests.documentation import run_by
from tests.e2e.support import PATH, command, make_stubs, repack
from tests.e2e.test_kserve_grpc import ask as pictures
from tests.e2e.test_rest import is_problem

CAT = zoo.CAT.read_bytes()


def test_the_parameter_has_an_answer_say_whether_it_is_unsure(client: httpx.Client) -> None:
    asked = client.post(f"{PATH}?unsure=true", content=CAT).json()
    assert asked["unsure"] is False
    plain = client.post(PATH, content=CAT).json()
    assert plain == {key: value for key, value in asked.items() if key not in ("unsure", "uncalibrated_if")}
    assert client.post(f"{PATH}?unsure=false", content=CAT).json() == plain
    assert client.post("/explanations?unsure=true&format=json", content=CAT).json()["prediction"] == asked


@pytest.mark.parametrize("value", ["yes", "1", "TRUE", "%0d%0aX-Top-K:1", "true&unsure=false"])
def test_another_value_is_refused_in_a_sentence(client: httpx.Client, value: str) -> None:
    response = client.post(f"{PATH}?unsure={value}", content=CAT)
    assert is_problem(response, 400, "bad_request")
    assert response.json()["detail"] == "unsure must be true or false."


def test_the_answer_names_the_conditions_that_the_card_has_above_the_limit(client: httpx.Client) -> None:
    answer = client.post(f"{PATH}?unsure=true", content=CAT).json()
    card = read_card(zoo.ROOT / "model-store" / "catsdogs" / "MODEL_CARD.md", answer["model"]["precision"])
    assert answer["uncalibrated_if"] == [name for name, errors in card.items() if max(errors) > 0.03]
    assert "rotated by 90 degrees" in answer["uncalibrated_if"]
    assert "as it is" not in answer["uncalibrated_if"]


def read_card(path: Path, precision: str) -> dict[str, list[float]]:
    """Return the expected calibration errors of each condition, one for each source of pictures."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in path.read_text().splitlines() if "|" in line]
    (header,) = [row for row in rows if "mean probability" in row]
    errors: dict[str, list[float]] = {}
    for row in rows:
        if len(row) == len(header) and row[1] == precision:
            errors.setdefault(row[2], []).append(float(row[header.index("ECE")]))
    return errors


def test_a_clients_own_header_says_nothing(client: httpx.Client) -> None:
    assert "unsure" not in client.post(PATH, content=CAT, headers={"X-Catsdogs-Unsure": "true"}).json()


def test_the_document_describes_it(client: httpx.Client) -> None:
    api = client.get("/openapi.json").json()
    schema = api["components"]["schemas"]["Answer"]
    assert {"unsure", "uncalibrated_if"} <= schema["properties"].keys() - set(schema["required"])
    assert [p["name"] for p in api["paths"][PATH]["post"]["parameters"] if p["name"] == "unsure"] == ["unsure"]


def test_serve_unsure_has_every_answer_say_it(archive: Path, tmp_path: Path, stubs: Any) -> None:
    with command("--unsure", "--workers", "1") as (_, port, grpc_port):
        url = f"http://127.0.0.1:{port}"
        assert httpx.post(f"{url}{PATH}", content=CAT, trust_env=False).json()["unsure"] is False
        assert "unsure" not in httpx.post(f"{url}{PATH}?unsure=false", content=CAT, trust_env=False).json()
        with grpc.insecure_channel(f"127.0.0.1:{grpc_port}") as channel:
            request = stubs[0].PredictionsRequest(model_name="catsdogs", input={"data": CAT})
            answer = stubs[1].InferenceAPIsServiceStub(channel).Predictions(request, timeout=20)
            assert json.loads(answer.prediction)["unsure"] is False
            with make_stubs(tmp_path, "open_inference_grpc") as (messages, services):
                service = services.GRPCInferenceServiceStub(channel)
                answers = service.ModelInfer(pictures(messages, [CAT, CAT]), timeout=20)
            assert answers.parameters["unsure"].string_param == "false,false"
            conditions = answers.parameters["uncalibrated_if"].string_param
            assert conditions.split(",") == json.loads(answer.prediction)["uncalibrated_if"]


def test_serve_unsure_refuses_an_archive_without_a_threshold(archive: Path, tmp_path: Path) -> None:
    def without(data: bytes) -> bytes:
        values = json.loads(data)
        del values["unsure"]
        return json.dumps(values).encode()

    old = repack(archive, tmp_path / "old.mar", "release.json", without)
    started = [sys.executable, "-m", "catsdogs", "serve", "--unsure", str(old)]
    done = subprocess.run(started, cwd=zoo.ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("catsdogs: The release has no threshold for unsure answers: make it by catsdogs unsure")


def test_the_documented_command_answers(server: Server, tmp_path: Path) -> None:
    (block,) = [block for block in run_by(__file__) if block.language == "sh"]
    (tmp_path / "photo.jpg").write_bytes(CAT)
    text = block.text.replace("http://127.0.0.1:8080", server.options.url).replace("curl", "curl -sS --noproxy '*'")
    done = subprocess.run(["sh", "-ec", text], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["unsure"] is False


def test_the_page_asks_for_it_and_says_it(browser: Browser, server: Server) -> None:
    page = browser.new_page()
    asked: list[str] = []

    def make_unsure(route: Route) -> None:
        asked.append(route.request.url)
        # Chromium does not tell playwright the bytes of a blob that is sent.
        answer = route.fetch(post_data=zoo.CAT.read_bytes()).json()
        route.fulfill(json={**answer, "unsure": True, "uncalibrated_if": ["small", "blurred", "turned"]})

    page.route("**/predictions*", make_unsure)
    page.goto(server.options.url)
    page.set_input_files("#file", zoo.CAT)
    sentence = "Not sure; more likely a cat. It may be something else."
    expect(page.locator("#verdict")).to_have_text(sentence, timeout=15_000)
    assert [url.rpartition("/")[2] for url in asked] == ["predictions?unsure=true"]
    expect(page.locator("#caution")).to_have_text(
        "Do not rely on the percentage if the picture is small, blurred or turned."
    )
    page.unroute("**/predictions*")
    page.set_input_files("#file", zoo.CAT)
    expect(page.locator("#verdict")).to_have_text("This is a cat.", timeout=15_000)
    page.close()
