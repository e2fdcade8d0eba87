"""GET /drift of a real server: what it says of no pictures, of unchanged ones and of darkened ones."""

import io
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image, ImageEnhance

from common.psi import LARGE, LEAST_SHARE, SMOOTHING
from serving.server.launch import Server
from tests import zoo
from tests.documentation import run_by
from tests.e2e.support import start, wait_for

SAMPLES = [path.read_bytes() for path in sorted(zoo.SAMPLES.glob("*/*.jpg"))]
# A worker measures a hundred pictures at once, and a few a second after that.
WORKERS = 3
DARK = 280
PER_REQUEST = 14
PROBE = {"x-catsdogs-probe": "1"}
BEATS_S = 2.0


@pytest.fixture(scope="module")
def watched(archive: Path) -> Iterator[Server]:
    with start(archive, workers=WORKERS) as running:
        yield running


def drift(server: Server) -> dict[str, Any]:
    response = httpx.get(f"http://127.0.0.1:{server.options.ports.metrics}/drift", trust_env=False)
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    document: dict[str, Any] = response.json()
    return document


def send(server: Server, pictures: list[bytes], headers: dict[str, str] | None = None) -> None:
    with httpx.Client(base_url=server.options.url, headers=headers, timeout=60, trust_env=False) as client:
        for first in range(0, len(pictures), PER_REQUEST):
            instances = [{"b64": b64encode(data).decode()} for data in pictures[first : first + PER_REQUEST]]
            response = client.post("/v1/models/catsdogs:predict", json={"instances": instances})
            assert response.status_code == 200, response.text


def features(document: dict[str, Any], hours: int = 6) -> dict[str, dict[str, Any]]:
    (window,) = [window for window in document["windows"] if window["hours"] == hours]
    by_name: dict[str, dict[str, Any]] = window["features"]
    return by_name


def pictures(server: Server) -> int:
    return int(features(drift(server))["predicted_class"]["pictures"])


def darkened() -> list[bytes]:
    """Return different dark pictures, by darkening each sample more and more."""
    made = []
    for number in range(DARK):
        image = Image.open(io.BytesIO(SAMPLES[number % len(SAMPLES)])).convert("RGB")
        factor = 0.2 + 0.3 * number / DARK
        made.append(zoo.encode(ImageEnhance.Brightness(image).enhance(factor), "JPEG", quality=90))
    return made


@pytest.fixture(scope="module")
def answers(watched: Server) -> dict[str, dict[str, Any]]:
    """Return what /drift says before any picture, after probes, after unchanged pictures, and after dark ones."""
    made = {"none": drift(watched)}
    send(watched, SAMPLES, PROBE)
    send(watched, SAMPLES)
    wait_for(lambda: pictures(watched) >= len(SAMPLES), BEATS_S, "the pictures are counted")
    made["unchanged"] = drift(watched)
    send(watched, darkened())
    wait_for(lambda: pictures(watched) >= len(SAMPLES) + DARK, BEATS_S, "the dark pictures are counted")
    made["dark"] = drift(watched)
    return made


def test_no_pictures_are_no_verdict(answers: dict[str, dict[str, Any]]) -> None:
    document = answers["none"]
    assert document["verdict"] == "INCONCLUSIVE"
    assert document["reason"].startswith("There are 0 pictures since ")
    assert {feature["chance"] for feature in features(document).values()} == {None}


def test_it_says_what_it_rests_on(watched: Server, answers: dict[str, dict[str, Any]]) -> None:
    document, archive = answers["unchanged"], watched.options.archive
    assert document["model"] == {
        "name": archive.name,
        "version": archive.version,
        "sha256": archive.facts()["sha256"],
    }
    assert document["reference_pictures"] > 1000
    assert document["large"] == LARGE
    assert [window["hours"] for window in document["windows"]] == [6, 24]


def test_a_few_unchanged_pictures_are_no_verdict_and_probes_are_left_out(answers: dict[str, dict[str, Any]]) -> None:
    document = answers["unchanged"]
    assert document["verdict"] == "INCONCLUSIVE"
    assert {feature["pictures"] for feature in features(document).values()} == {len(SAMPLES)}
    assert {feature["verdict"] for feature in features(document).values()} == {"INCONCLUSIVE"}


def test_dark_pictures_are_a_drift_of_the_brightness(answers: dict[str, dict[str, Any]]) -> None:
    document = answers["dark"]
    assert document["verdict"] == "BREACH"
    assert "brightness" in document["reason"]
    brightness = features(document)["brightness"]
    assert brightness["psi"] > max(LARGE, brightness["chance"])
    assert features(document)["predicted_class"]["verdict"] != "BREACH"


def test_its_psi_is_numpys(answers: dict[str, dict[str, Any]]) -> None:
    for hours in (6, 24):
        for feature in features(answers["dark"], hours).values():
            counts, reference = np.array(feature["counts"]), np.array(feature["reference"])
            smoothed = (counts + SMOOTHING * reference) / (counts.sum() + SMOOTHING)
            share, expected = np.maximum(smoothed, LEAST_SHARE), np.maximum(reference, LEAST_SHARE)
            psi = float(((share - expected) * np.log(share / expected)).sum())
            assert feature["psi"] == pytest.approx(psi, abs=1e-6)
            assert feature["pictures"] == counts.sum()


@pytest.mark.usefixtures("answers")
def test_the_verb_judges_the_servers_counters(watched: Server) -> None:
    (example,) = run_by(__file__)
    command = example.text.replace("8082", str(watched.options.ports.metrics)).split()
    done = subprocess.run(command, cwd=zoo.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 10, done.stderr
    assert "BREACH: 1 of 1 servers answered." in done.stdout


def test_the_port_of_rest_does_not_answer_it(watched: Server) -> None:
    assert httpx.get(f"{watched.options.url}/drift", trust_env=False).status_code == 404
