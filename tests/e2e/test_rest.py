import json
import os
import re
import signal
import socket
import subprocess
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from serving.health.heartbeats import live_workers
from serving.server.launch import Server
from tests import zoo
from tests.e2e.support import start, wait_for, wait_for_all_workers

PATH = "/predictions/catsdogs"


def is_problem(response: httpx.Response, status: int, code: str) -> bool:
    document = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert document["request_id"] == response.headers["x-request-id"]
    assert document["detail"].endswith(".")
    return (response.status_code, document["status"], document["code"]) == (status, status, code)


def test_a_raw_body_is_answered(client: httpx.Client) -> None:
    response = client.post(PATH, content=zoo.CAT.read_bytes(), headers={"Content-Type": "image/jpeg"})
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    answer = response.json()
    assert set(answer["probabilities"]) == {"cat", "dog"}
    assert answer["label"] in answer["probabilities"]
    assert len(answer["model"]["sha256"]) == 64


def test_every_way_to_send_a_picture_gives_the_same_answer(client: httpx.Client) -> None:
    body = zoo.CAT.read_bytes()
    reference = client.post(PATH, content=body).json()
    assert client.post(PATH, files={"data": body}).json() == reference
    assert client.post(PATH, files={"any-name": ("cat.jpg", body, "image/jpeg")}).json() == reference
    assert client.put(PATH, content=body).json() == reference
    for content_type in ("application/x-www-form-urlencoded", "application/json", "text/plain", "image/png"):
        assert client.post(PATH, content=body, headers={"Content-Type": content_type}).json() == reference
    assert client.post(f"{PATH}?data=hello&x=1", content=body).json() == reference
    assert client.post(f"{PATH}/{reference['model']['version']}", content=body).json() == reference


def test_plain_curl_is_answered(server: Server) -> None:
    url = f"{server.options.url}{PATH}"
    for way in (["--data-binary", f"@{zoo.CAT}"], ["-F", f"file=@{zoo.CAT}"], ["-T", str(zoo.CAT)]):
        done = subprocess.run(["curl", "-sS", "--noproxy", "*", *way, url], capture_output=True, check=True)
        assert json.loads(done.stdout)["label"] in ("cat", "dog")


@pytest.mark.parametrize("kind", zoo.accepted())
def test_every_accepted_kind_is_answered(client: httpx.Client, kind: str) -> None:
    response = client.post(PATH, content=zoo.accepted()[kind])
    assert response.status_code == 200, response.text


@pytest.mark.parametrize("kind", zoo.refused())
def test_what_is_not_a_picture_gets_its_problem_document(client: httpx.Client, kind: str) -> None:
    body, status, code = zoo.refused()[kind]
    assert is_problem(client.post(PATH, content=body), status, code)


def test_bad_pictures_do_not_harm_their_neighbours(client: httpx.Client) -> None:
    """64 requests from 16 threads, every second one bad: the batches of two workers mix them."""
    bad = [body for body, _, _ in zoo.refused().values()]
    expected = [status for _, status, _ in zoo.refused().values()]
    good = zoo.CAT.read_bytes()
    reference = client.post(PATH, content=good).json()["probability"]

    def ask(number: int) -> httpx.Response:
        return client.post(PATH, content=bad[number // 2 % len(bad)] if number % 2 else good)

    with ThreadPoolExecutor(16) as pool:
        responses = list(pool.map(ask, range(64)))
    for number, response in enumerate(responses):
        if number % 2:
            assert response.status_code == expected[number // 2 % len(bad)]
        else:
            # Kernels for another batch size round otherwise.
            assert response.json()["probability"] == pytest.approx(reference, abs=2e-3)


def test_two_files_in_a_form_are_refused(client: httpx.Client) -> None:
    body = zoo.CAT.read_bytes()
    assert is_problem(client.post(PATH, files={"a": body, "b": body}), 400, "no_image")


@pytest.mark.parametrize(
    ("form", "status", "code"),
    [
        (b"no form", 400, "no_image"),
        (b"--x\r\n\r\nno picture", 400, "no_image"),
        (b"--x\r\n\r\nno picture\r\n--x--", 415, "unsupported_image"),
        (b'--x\r\nContent-Disposition: form-data; name=""\r\n\r\nno picture\r\n--x--', 415, "unsupported_image"),
        (b"--x\r\nContent-Transfer-Encoding: none\r\n\r\nno picture\r\n--x--", 415, "unsupported_image"),
    ],
    ids=range(5),
)
def test_a_form_that_is_none_is_the_clients_problem(client: httpx.Client, form: bytes, status: int, code: str) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    assert is_problem(client.post(PATH, content=form, headers=headers), status, code)


def test_a_body_over_the_limit_is_refused(client: httpx.Client) -> None:
    limit = 16 * 2**20
    assert client.post(PATH, content=zoo.CAT.read_bytes().ljust(limit, b"\0")).status_code == 200
    assert is_problem(client.post(PATH, content=bytes(limit + 1)), 413, "too_many_bytes")


def test_a_request_id_is_kept_where_it_is_one_and_made_where_not(client: httpx.Client) -> None:
    ids = {"my-request.0001": True, "a": True, "urn:a:1": True, "x" * 128: True, "x" * 129: False, '"<script>': False}
    for sent, kept in ids.items():
        response = client.post(PATH, content=b"no picture", headers={"X-Request-Id": sent})
        assert (response.headers["x-request-id"] == sent) is kept
        assert is_problem(response, 415, "unsupported_image")


def test_two_request_ids_are_none_and_reach_no_answer_unescaped(server: Server) -> None:
    """Joined by a comma, they would be outside of what one header may hold."""
    ids = 'X-Request-Id: abcdefgh\r\nX-Request-Id: "code":"injected"\r\n'
    for path in ("/nowhere", PATH):
        with socket.create_connection(("127.0.0.1", server.options.ports.rest), timeout=30) as connection:
            head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{ids}Content-Length: 1\r\nConnection: close\r\n\r\nx"
            connection.sendall(head.encode())
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        document = json.loads(answer.partition(b"\r\n\r\n")[2])
        assert b"injected" not in answer
        assert uuid.UUID(document["request_id"])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/models/other"),
        ("POST", "/workflows?url=http://127.0.0.1/x.war"),
        ("GET", "/metrics"),
        ("OPTIONS", "/"),
        ("GET", "/api-description"),
        ("POST", "/explanations/other"),
        ("POST", "/predictions/other"),
        ("POST", "/predictions/catsdogs/9.9.9"),
        ("POST", "/predictions/../workflows"),
        ("GET", "/page/../Caddyfile"),
    ],
)
def test_nothing_else_can_be_reached(client: httpx.Client, method: str, path: str) -> None:
    response = client.request(method, path, content=zoo.CAT.read_bytes() if method == "POST" else None)
    if (method, path) == ("OPTIONS", "/"):
        assert is_problem(response, 405, "method")
    else:
        assert is_problem(response, 404, "not_found")


@pytest.mark.parametrize("method", ["GET", "DELETE", "PATCH"])
def test_another_method_is_told_which_it_takes(client: httpx.Client, method: str) -> None:
    response = client.request(method, PATH)
    assert response.headers["allow"] == "POST, PUT"
    assert is_problem(response, 405, "method")


def test_the_server_is_ready_and_says_so_in_each_way(client: httpx.Client, server: Server) -> None:
    wait_for_all_workers(server)
    assert client.get("/ping").json() == {"status": "Healthy"}
    assert client.get("/livez").json() == {"live": True}


def test_torchserves_own_counters_are_on_the_metrics_port_alone(client: httpx.Client, server: Server) -> None:
    url = f"http://127.0.0.1:{server.options.ports.metrics}"

    def count() -> float:
        lines = httpx.get(f"{url}/torchserve/metrics", trust_env=False).text.splitlines()
        counters = [line for line in lines if line.startswith("ts_inference_requests_total{")]
        return sum(float(line.rsplit(" ", 1)[1]) for line in counters)

    client.post(PATH, content=zoo.CAT.read_bytes())
    before = count()
    client.post(PATH, content=zoo.CAT.read_bytes())
    assert count() == before + 1
    assert is_problem(client.get("/torchserve/metrics"), 404, "not_found")
    for path in ("/", "/torchserve", "/torchserve/models", "/torchserve/metrics/x", "/models"):
        assert httpx.get(f"{url}{path}", trust_env=False).status_code == 404


def test_a_request_whose_client_stopped_waiting_is_not_answered_late(archive: Path) -> None:
    with start(archive, workers=1) as started:
        (worker,) = live_workers(started.run / "heartbeats", time.time())
        url = f"{started.options.url}{PATH}"

        def ask(timeout_ms: str) -> httpx.Response:
            headers = {"X-Timeout-Ms": timeout_ms}
            return httpx.post(url, content=zoo.CAT.read_bytes(), headers=headers, trust_env=False, timeout=60)

        # Stopped, the worker has both before it and reads neither until their time is over for one.
        os.kill(worker, signal.SIGSTOP)
        with ThreadPoolExecutor(2) as pool:
            begun = time.monotonic()
            late, patient = pool.submit(ask, "1"), pool.submit(ask, "60000")
            metrics = f"http://127.0.0.1:{started.options.ports.metrics}/metrics"
            in_flight = re.compile(r'caddy_http_requests_in_flight\{.*server="rest".*\} 2')
            wait_for(lambda: bool(in_flight.search(httpx.get(metrics, trust_env=False).text)), 5, "both are in flight")
            wait_for(lambda: time.monotonic() - begun > 0.2, 5, "one's time is over")
            os.kill(worker, signal.SIGCONT)
            answers = late.result(), patient.result()
    assert is_problem(answers[0], 504, "deadline")
    assert answers[1].json()["label"] in ("cat", "dog")


def test_a_request_is_counted_once_in_the_latency_histogram(client: httpx.Client, server: Server) -> None:
    url = f"http://127.0.0.1:{server.options.ports.metrics}/metrics"

    def count() -> float:
        lines = httpx.get(url, trust_env=False).text.splitlines()
        counts = [line for line in lines if line.startswith("caddy_http_request_duration_seconds_count")]
        posts = [line for line in counts if 'method="POST"' in line and 'server="rest"' in line]
        return sum(float(line.rsplit(" ", 1)[1]) for line in posts)

    before = count()
    client.post(PATH, content=zoo.CAT.read_bytes())
    client.post(PATH, content=b"no picture")
    assert count() - before == 2


@pytest.mark.parametrize("path", ["/metrics", "/torchserve/metrics"])
def test_the_metrics_port_takes_questions_alone(server: Server, path: str) -> None:
    """A body would go to TorchServe past the relay, the keys and every limit."""
    url = f"http://127.0.0.1:{server.options.ports.metrics}{path}"
    assert httpx.get(url, trust_env=False).status_code == 200
    for method in ("POST", "PUT", "DELETE"):
        refused = httpx.request(method, url, content=bytes(100), trust_env=False)
        assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")


def test_a_question_about_torchserves_metrics_brings_no_body(server: Server) -> None:
    url = f"http://127.0.0.1:{server.options.ports.metrics}/torchserve/metrics"
    assert httpx.request("GET", url, content=bytes(100), trust_env=False).status_code == 400
