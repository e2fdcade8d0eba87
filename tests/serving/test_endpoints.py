"""Answers about health and the model, by themselves; tests/e2e asks a real server."""

import json
import re
import subprocess
import sys
import time
from calendar import timegm
from pathlib import Path
from typing import Any

import pytest

from serving.health.endpoints import Answer, answer, registered
from serving.health.probe import Health

MODEL: dict[str, Any] = {
    "name": "pets",
    "version": "2.1.0",
    "classes": ["cat", "dog", "owl"],
    "size": 160,
    "sha256": "f" * 64,
    "server": "0.9.0",
    "openapi": {"openapi": "3.1.0"},
    "registered": {"modelUrl": "pets.mar", "runtime": "python", "minWorkers": 2, "maxWorkers": 2, "batchSize": 4},
}
READY = Health(True, 2)
NOT_READY = Health(False, 0, "no worker can answer")
ANSWERS: list[tuple[str, bool, int, dict[str, Any]]] = [
    ("/readyz", True, 200, {"ready": True, "workers": 2}),
    ("/readyz", False, 503, {"ready": False, "workers": 0, "reason": "no worker can answer"}),
    ("/health", True, 200, {"ready": True, "workers": 2}),
    ("/health", False, 503, {"ready": False, "workers": 0, "reason": "no worker can answer"}),
    ("/ping", True, 200, {"status": "Healthy"}),
    ("/ping", False, 500, {"status": "Unhealthy"}),
    ("/openapi.json", False, 200, {"openapi": "3.1.0"}),
    ("/models", False, 200, {"models": [{"modelName": "pets", "modelUrl": "pets.mar"}]}),
    ("/v1/models", False, 200, {"models": ["pets"]}),
    ("/v1/models/pets", True, 200, {"name": "pets", "ready": True}),
    ("/v1/models/pets", False, 503, {"name": "pets", "ready": False}),
    ("/v2", False, 200, {"name": "catsdogs", "version": "0.9.0", "extensions": []}),
    ("/livez", True, 200, {"live": True}),
    ("/livez", False, 503, {"live": False, "reason": "no worker can answer"}),
    ("/v2/health/live", True, 200, {"live": True}),
    ("/v2/health/live", False, 503, {"live": False, "reason": "no worker can answer"}),
    ("/v2/health/ready", True, 200, {"ready": True}),
    ("/v2/health/ready", False, 503, {"ready": False}),
    ("/v2/models/pets/ready", True, 200, {"name": "pets", "ready": True}),
    ("/v2/models/pets/ready", False, 503, {"name": "pets", "ready": False}),
    ("/v2/models/pets/versions/2.1.0/ready", True, 200, {"name": "pets", "ready": True}),
    ("/v2/models/pets/versions/2.1.0/ready", False, 503, {"name": "pets", "ready": False}),
]
STATIC = ["/models/pets", "/models/pets/2.1.0", "/v2/models/pets", "/v2/models/pets/versions/2.1.0"]


@pytest.mark.parametrize(("path", "ready", "status", "document"), ANSWERS)
def test_each_question_has_its_answer(path: str, ready: bool, status: int, document: dict[str, Any]) -> None:
    assert answer(path, READY if ready else NOT_READY, MODEL) == Answer(status, document)


@pytest.mark.parametrize("path", sorted({path for path, *_ in ANSWERS} | set(STATIC)))
def test_one_slash_at_the_end_changes_nothing(path: str) -> None:
    plain = answer(path, READY, MODEL)
    assert plain.status == 200
    assert answer(f"{path}/", READY, MODEL) == plain
    assert answer(f"{path}//", READY, MODEL).status == 404


@pytest.mark.parametrize("path", ["/v2/models/pets", "/v2/models/pets/versions/2.1.0"])
def test_the_metadata_says_what_goes_in_and_comes_out(path: str) -> None:
    made = answer(path, NOT_READY, MODEL)
    body = made.document
    assert made.status == 200
    assert (body["name"], body["versions"]) == ("pets", ["2.1.0"])
    assert [(tensor["datatype"], tensor["shape"]) for tensor in body["inputs"]] == [("BYTES", [-1])]
    assert {tensor["name"]: tensor["shape"] for tensor in body["outputs"]} == {
        "label": [-1],
        "probability": [-1],
        "probabilities": [-1, 3],
    }
    assert body["parameters"] == {"classes": "cat,dog,owl", "sha256": "f" * 64}


@pytest.mark.parametrize("path", ["/models/pets", "/models/pets/2.1.0"])
def test_a_model_is_described_as_torchserve_does(path: str) -> None:
    (described,) = answer(path, NOT_READY, MODEL).document
    assert described == {
        "modelName": "pets",
        "modelVersion": "2.1.0",
        "modelUrl": "pets.mar",
        "runtime": "python",
        "minWorkers": 2,
        "maxWorkers": 2,
        "batchSize": 4,
        "loadedAtStartup": True,
        "workers": [],
    }


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="this system does not tell when a process started")
def test_a_worker_that_can_answer_is_described_with_the_time_when_it_started() -> None:
    before = time.time()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        (described,) = answer("/models/pets", Health(True, 1, pids=(child.pid,)), MODEL).document
    finally:
        child.communicate(b"\n")
    (worker,) = described["workers"]
    started = worker.pop("startTime")
    assert worker == {"id": str(child.pid), "status": "READY", "pid": child.pid}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[.]\d{3}Z", started)
    # The machine's start is known to the second.
    assert abs(timegm(time.strptime(started[:19], "%Y-%m-%dT%H:%M:%S")) - before) < 3


def test_a_worker_that_has_ended_meanwhile_is_described_without_a_time() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    (described,) = answer("/models/pets", Health(True, 1, pids=(child.pid,)), MODEL).document
    assert described["workers"] == [{"id": str(child.pid), "status": "READY", "pid": child.pid}]


def test_the_settings_are_those_of_the_archive(archive: Path) -> None:
    settings = registered(archive, workers=3)
    assert (settings["minWorkers"], settings["maxWorkers"]) == (3, 3)
    assert settings["modelUrl"] == "catsdogs.mar"
    assert settings["batchSize"] >= 1
    assert settings["responseTimeout"] == 10
    json.dumps(settings)


@pytest.mark.parametrize(
    ("path", "detail"),
    [
        ("", "There is no such path: /openapi.json lists those that there are."),
        ("/", "There is no such path: /openapi.json lists those that there are."),
        ("/readyz//", "There is no such path: /openapi.json lists those that there are."),
        ("/v2/models/pets/infer", "This server has one model: pets, version 2.1.0."),
        ("/models/other", "This server has one model: pets, version 2.1.0."),
        ("/models/pets/9.9.9", "This server has one version of pets: 2.1.0."),
        ("/v1/models/other", "This server has one model: pets, version 2.1.0."),
        ("/v2/models/other", "This server has one model: pets, version 2.1.0."),
        ("/v2/models/other/ready", "This server has one model: pets, version 2.1.0."),
        ("/v2/models/pets/versions/9.9.9", "This server has one version of pets: 2.1.0."),
        ("/v2/models/pets/versions/9.9.9/ready", "This server has one version of pets: 2.1.0."),
        ("/v2/models/pets/versions/9.9.9/", "This server has one version of pets: 2.1.0."),
    ],
)
def test_what_is_not_served_is_not_found_and_the_answer_names_what_is(path: str, detail: str) -> None:
    made = answer(path, READY, MODEL)
    assert (made.status, made.content_type) == (404, "application/problem+json")
    kserve = {"error": detail} if path.startswith(("/v1/", "/v2/")) else {}
    assert made.document == {
        "type": "about:blank",
        "title": "not found",
        "status": 404,
        "code": "not_found",
        "detail": detail,
        **kserve,
    }


def test_nothing_that_a_client_sent_comes_back() -> None:
    for path in ("/v2/models/pets/versions/<script>", "/models/<script>", "/<script>"):
        assert "<script>" not in json.dumps(answer(path, READY, MODEL).document)
