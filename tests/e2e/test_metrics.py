"""One scrape of a real server after traffic of every kind, compared with its contract, monitoring/metrics.yaml."""

import os
import secrets
import shutil
import signal
import subprocess
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import yaml
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from serving.client.check import check
from serving.client.golden import golden_pictures
from serving.client.target import Target
from serving.health.heartbeats import live_workers
from serving.server.launch import Server
from tests import zoo
from tests.e2e.support import PATH, start, wait_for
from tests.runtimes import chosen_for

CONTRACT: list[dict[str, Any]] = yaml.safe_load((zoo.ROOT / "monitoring" / "metrics.yaml").read_text())["metrics"]
KEY = secrets.token_urlsafe(32)
BEARER = {"Authorization": f"Bearer {KEY}"}
PROBE = {"x-catsdogs-probe": "1"}
WORKERS = 2
# Where a scrape may begin before the heartbeat that writes what was answered just now.
BEATS_S = 2.0

Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture(scope="module")
def watched(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that asks for a key, so that the edge has something to refuse."""
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text(f"{KEY}\n")
    with start(archive, keys=keys, stats=True, workers=WORKERS) as running:
        yield running


@pytest.fixture
def user(watched: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=watched.options.url, headers=BEARER, timeout=30, trust_env=False) as made:
        yield made


def scrape(server: Server, path: str = "/metrics") -> httpx.Response:
    response = httpx.get(f"http://127.0.0.1:{server.options.ports.metrics}{path}", trust_env=False)
    assert response.status_code == 200
    return response


def families(text: str) -> dict[str, Metric]:
    return {
        family.name: family for family in text_string_to_metric_families(text) if family.name.startswith("catsdogs_")
    }


def counters(server: Server) -> Series:
    """Return every series of a counter, and of a histogram's buckets, counts and sums."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families(scrape(server).text).values()
        if family.type in ("counter", "histogram")
        for sample in family.samples
    }


def total(series: Series, name: str, **labels: str) -> float:
    """Return the sum of the series that have these labels; `class` is written `class_`."""
    wanted = {(key.rstrip("_"), value) for key, value in labels.items()}
    return sum(value for (its, its_labels), value in series.items() if its == name and wanted <= set(its_labels))


def grew(server: Server, before: Series, name: str, amount: float, **labels: str) -> None:
    """Wait until a number has grown by exactly this, as a heartbeat tells of it."""
    old = total(before, name, **labels)
    wait_for(
        lambda: total(counters(server), name, **labels) - old >= amount, BEATS_S, f"{name} {labels} grows by {amount}"
    )
    assert total(counters(server), name, **labels) - old == amount


def call(server: Server, stubs: Any, body: bytes, *metadata: tuple[str, str]) -> grpc.StatusCode | None:
    messages, services = stubs
    with grpc.insecure_channel(f"127.0.0.1:{server.options.ports.grpc}") as channel:
        try:
            services.InferenceAPIsServiceStub(channel).Predictions(
                messages.PredictionsRequest(model_name="catsdogs", input={"data": body}), timeout=30, metadata=metadata
            )
        except grpc.RpcError as error:
            return error.code()
    return None


def instances(body: bytes) -> dict[str, Any]:
    return {"instances": [{"b64": b64encode(body).decode()}] * 2}


@pytest.fixture(scope="module")
def before(watched: Server) -> Series:
    return counters(watched)


@pytest.fixture(scope="module")
def after(watched: Server, before: Series, stubs: Any) -> Series:
    """Ask by every protocol, with pictures, with what is none, and with what the edge refuses."""
    cat, dog, bad = zoo.CAT.read_bytes(), zoo.DOG.read_bytes(), b"no picture"
    with httpx.Client(base_url=watched.options.url, timeout=30, trust_env=False) as stranger:
        for content, status in ((cat, 200), (dog, 200), (bad, 415), (b"", 400)):
            assert stranger.post(PATH, content=content, headers=BEARER).status_code == status
        assert stranger.post(PATH, content=cat, headers={**BEARER, **PROBE}).status_code == 200
        assert stranger.post(PATH, content=bad, headers={**BEARER, **PROBE}).status_code == 415
        assert stranger.post(PATH, files={"image": cat}, headers=BEARER).status_code == 200
        assert stranger.post(PATH, files={"image": bad}, headers=BEARER).status_code == 415
        v1 = "/v1/models/catsdogs:predict"
        assert stranger.post(v1, json=instances(cat), headers=BEARER).status_code == 200
        assert stranger.post(v1, content=b"{}", headers=BEARER).status_code == 400
        # At the edge.
        assert stranger.post(PATH, content=cat).status_code == 401
        assert stranger.post(v1, json={}).status_code == 401
        assert stranger.post(PATH, files={"image": cat}, headers=PROBE).status_code == 401
        assert stranger.get(PATH, headers=BEARER).status_code == 405
        assert stranger.post("/predictions/horses", content=cat, headers=BEARER).status_code == 404
        assert stranger.post(PATH, content=cat, headers={**BEARER, "Content-Encoding": "gzip"}).status_code == 415
        # No predictions.
        for path in ("/readyz", "/livez", "/", "/nowhere", "/v1/models/catsdogs"):
            stranger.get(path, headers=BEARER)
    authorized = ("authorization", BEARER["Authorization"])
    assert call(watched, stubs, cat, authorized) is None
    assert call(watched, stubs, cat, authorized, ("x-catsdogs-probe", "1")) is None
    assert call(watched, stubs, bad, authorized) == grpc.StatusCode.INVALID_ARGUMENT
    assert call(watched, stubs, cat) == grpc.StatusCode.UNAUTHENTICATED
    # One worker may have answered all pictures, and the other what is none: the heartbeats of both are waited for.
    grew(watched, before, "catsdogs_predictions_total", 8)
    grew(watched, before, "catsdogs_stage_duration_seconds_count", 13, stage="queue")
    return counters(watched)


@pytest.mark.parametrize(
    ("protocol", "traffic", "codes"),
    [
        ("rest", "user", {"200": 2, "400": 1, "401": 1, "404": 1, "405": 1, "415": 2}),
        ("rest", "probe", {"200": 1, "415": 1}),
        ("multipart", "user", {"200": 1, "415": 1}),
        ("multipart", "probe", {"401": 1}),
        ("kserve", "user", {"200": 1, "400": 1, "401": 1}),
        ("grpc", "user", {"200": 1, "401": 1, "415": 1}),
        ("grpc", "probe", {"200": 1}),
    ],
)
def test_each_request_is_counted_once_by_protocol_code_and_traffic(
    before: Series, after: Series, protocol: str, traffic: str, codes: dict[str, int]
) -> None:
    name = "catsdogs_request_duration_seconds_count"
    seen = {
        dict(labels)["code"]: value - before.get((its, labels), 0)
        for (its, labels), value in after.items()
        if its == name and {("protocol", protocol), ("traffic", traffic)} <= set(labels)
    }
    assert {code: count for code, count in seen.items() if count} == codes


def test_problems_are_counted_by_their_code(before: Series, after: Series) -> None:
    name, seen = "catsdogs_problems_total", Counter[str]()
    for (its, labels), value in after.items():
        if its == name:
            seen[dict(labels)["code"]] += int(value - before.get((its, labels), 0))
    assert +seen == Counter(
        unsupported_image=4, no_image=1, bad_json=1, unauthorized=4, method=1, not_found=1, unsupported_encoding=1
    )


def test_predictions_are_counted_by_class_and_probes_apart(before: Series, after: Series) -> None:
    name = "catsdogs_predictions_total"
    for labels, count in (
        ({"class_": "cat", "traffic": "user"}, 5),
        ({"class_": "dog", "traffic": "user"}, 1),
        ({"class_": "cat", "traffic": "probe"}, 2),
    ):
        assert total(after, name, **labels) - total(before, name, **labels) == count
    uncertain = "catsdogs_prediction_uncertainty_ratio"
    assert total(after, f"{uncertain}_count") - total(before, f"{uncertain}_count") == 6
    assert 0 < total(after, f"{uncertain}_sum") - total(before, f"{uncertain}_sum") < 6


def test_each_of_the_users_pictures_is_in_one_bin_of_each_feature(before: Series, after: Series) -> None:
    features = next(metric for metric in CONTRACT if metric["name"] == "catsdogs_drift_bin_total")["labels"]["feature"]
    name = "catsdogs_drift_bin_total"
    assert {f: total(after, name, feature=f) - total(before, name, feature=f) for f in features} == dict.fromkeys(
        features, 6
    )


def test_stages_and_batches_are_counted(before: Series, after: Series) -> None:
    def grown(name: str, **labels: str) -> float:
        return total(after, name, **labels) - total(before, name, **labels)

    assert grown("catsdogs_stage_duration_seconds_count", stage="queue") == 13
    assert grown("catsdogs_stage_duration_seconds_count", stage="decode") == 13
    assert grown("catsdogs_batch_pictures_sum") == 8
    assert (
        grown("catsdogs_batch_pictures_count") == grown("catsdogs_stage_duration_seconds_count", stage="network") == 7
    )
    stages = sum(grown("catsdogs_stage_duration_seconds_sum", stage=stage) for stage in ("decode", "network"))
    assert 0 < stages <= grown("catsdogs_worker_busy_seconds_total")


@pytest.mark.usefixtures("after")
def test_the_scrape_is_what_the_contract_says(watched: Server) -> None:
    scraped = families(scrape(watched).text)
    wanted = {metric["name"].removesuffix("_total"): metric for metric in CONTRACT}
    assert scraped.keys() <= wanted.keys()
    assert {name for name, metric in wanted.items() if not metric.get("optional")} <= scraped.keys()
    for name, family in scraped.items():
        metric = wanted[name]
        assert family.type == metric["type"], name
        assert (family.type == "counter") == metric["name"].endswith("_total"), name
        assert family.samples, name
        for sample in family.samples:
            labels = {key: value for key, value in sample.labels.items() if key != "le"}
            assert labels.keys() == metric["labels"].keys(), sample
            for key, values in metric["labels"].items():
                assert values is None or labels[key] in values, sample
        if family.type == "histogram":
            edges = {sample.labels["le"] for sample in family.samples if "le" in sample.labels}
            assert edges == {repr(float(edge)) for edge in metric["buckets"]} | {"+Inf"}, name


@pytest.mark.usefixtures("after")
def test_the_gauges_say_what_the_server_is(watched: Server) -> None:
    samples = {name: family.samples for name, family in families(scrape(watched).text).items()}
    assert samples["catsdogs_workers_wanted"][0].value == samples["catsdogs_workers_ready"][0].value == WORKERS
    ages = samples["catsdogs_worker_heartbeat_age_seconds"]
    assert [sample.labels["worker"] for sample in ages] == ["0", "1"]
    assert all(0 <= sample.value < BEATS_S for sample in ages)
    assert samples["catsdogs_queue_limit_requests"][0].value == watched.options.limits.queue
    assert samples["catsdogs_torchserve_up"][0].value == 1
    (model,) = samples["catsdogs_model_info"]
    archive = watched.options.archive
    chosen = chosen_for(archive.path)
    assert model.labels == {
        "name": archive.name,
        "version": archive.version,
        "precision": chosen.precision,
        "sha256": archive.facts()["sha256"],
        "runtime": chosen.runtime.name,
    }


@pytest.mark.usefixtures("after")
def test_prometheus_reads_the_scrape_and_finds_no_fault(watched: Server) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        assert "CI" not in os.environ, "CI must install Debian's package prometheus, for promtool"
        pytest.skip("no promtool on the PATH")
    text = scrape(watched).text
    assert "caddy_http_request_duration_seconds_bucket" in text
    done = subprocess.run([promtool, "check", "metrics"], input=text, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.usefixtures("after")
def test_a_summary_for_people_is_on_the_metrics_port_and_where_wanted_on_rest(
    watched: Server, user: httpx.Client
) -> None:
    summary = scrape(watched, "/stats").json()
    assert summary.keys() == {"since", "requests", "answered", "probes", "latency_ms", "predictions"}
    assert (summary["answered"], summary["probes"]) == (5, 4)
    assert summary["requests"] == 16
    assert summary["predictions"] == {"cat": 5, "dog": 1}
    assert 0 < summary["latency_ms"]["mean"] <= summary["latency_ms"]["p99"]
    assert user.get("/stats").json() == summary
    assert httpx.get(f"{watched.options.url}/stats", trust_env=False).status_code == 401
    assert user.post("/stats").status_code == 405


def test_without_the_option_rest_has_no_summary(client: httpx.Client) -> None:
    assert client.get("/stats").status_code == 404


def test_what_the_check_asks_is_no_users(watched: Server) -> None:
    before = counters(watched)
    target = Target(watched.options.url, f"127.0.0.1:{watched.options.ports.grpc}", key=KEY)
    pictures = len(list(zoo.SAMPLES.glob("*/*.jpg")))
    assert not [finding for finding in check(target) if finding.problem]
    patterns = len(golden_pictures(1))
    grew(watched, before, "catsdogs_predictions_total", 4 * (pictures + patterns), traffic="probe")
    name = "catsdogs_request_duration_seconds_count"
    assert total(counters(watched), name, traffic="user") == total(before, name, traffic="user")


def test_no_counter_goes_down_when_a_worker_or_java_is_killed(watched: Server, user: httpx.Client) -> None:
    before = counters(watched)
    for _ in range(8):
        assert user.post(PATH, content=zoo.DOG.read_bytes()).status_code == 200
    # What a worker that is killed has not yet written cannot be counted.
    grew(watched, before, "catsdogs_predictions_total", 8)
    seen = [counters(watched)]

    def look() -> None:
        seen.append(counters(watched))

    def all_ready() -> bool:
        look()
        return len(live_workers(watched.run / "heartbeats", time.time())) == WORKERS

    def until_back() -> None:
        wait_for(lambda: not all_ready(), 10, "the end is noticed")
        wait_for(all_ready, 60, "all workers are back")

    os.kill(live_workers(watched.run / "heartbeats", time.time())[0], signal.SIGKILL)
    until_back()
    grew(watched, seen[0], "catsdogs_worker_restarts_total", 1)
    assert watched.torchserve is not None
    watched.torchserve.kill()
    until_back()
    wait_for(lambda: user.get("/readyz").status_code == 200, 30, "the server is ready")
    assert user.post(PATH, content=zoo.DOG.read_bytes()).status_code == 200
    grew(watched, seen[0], "catsdogs_predictions_total", 1)
    look()
    for earlier, later in pairwise(seen):
        assert {series for series, value in earlier.items() if later.get(series, -1) < value} == set()
    assert total(seen[-1], "catsdogs_torchserve_restarts_total") == 1
