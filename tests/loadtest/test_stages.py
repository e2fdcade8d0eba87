"""Tests of the cost by stage: which process is which part, the arithmetic, the report, and a run on the real server."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from handler.files import UserError
from loadtest.judge.server import read
from loadtest.rivals.closed import Loop
from loadtest.stages import report
from loadtest.stages.__main__ import named
from loadtest.stages.measure import CLIENTS, CPU_STAGES, WALL_STAGES, Cost, cost
from loadtest.stages.processes import PARTS, part_of, process_seconds

ROOT = Path(__file__).parents[2]
SETTING = report.Setting("Xeon", ["AVX2"], cores=2, stolen=0.0, python="3.12", git="4d34f992b5c5", tiny=False)


@pytest.mark.parametrize(
    ("command", "part"),
    [
        ("/venv/bin/caddy run --config Caddyfile", "gateway"),
        ("/usr/bin/java -Xmx256m -cp x org.pytorch.serve.ModelServer --python p", "java"),
        ("python /site-packages/ts/model_service_worker.py --sock-type unix", "worker"),
        ("python -I -S serving/server/worker.py ended.jsonl 7 python /ts/model_service_worker.py", "launcher"),
        ("python -P -m catsdogs gateway --run=/tmp/x", "relay"),
        ("python .venv/bin/catsdogs serve", "launcher"),
        ("", "launcher"),
    ],
)
def test_a_process_is_a_part_by_its_command_line(command: str, part: str) -> None:
    assert part_of(command.split()) == part
    assert part in PARTS


def test_the_cpu_time_of_a_process_is_what_it_says_itself() -> None:
    code = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\ninput()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        seconds = process_seconds(child.pid)
        child.communicate(b"\n")
    # The kernel counts in ticks of 10 ms.
    assert 0.28 <= seconds < 1.0
    assert seconds <= resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime + 1


def counters(requests: int) -> str:
    """Return metrics as they are after so many requests in batches of 2."""
    runs = requests / 2
    values = {
        'catsdogs_request_duration_seconds_count{protocol="rest"}': requests,
        'catsdogs_request_duration_seconds_sum{protocol="rest"}': requests * 0.080,
        'caddy_http_request_duration_seconds_count{server="rest",method="POST"}': requests,
        'caddy_http_request_duration_seconds_sum{server="rest",method="POST"}': requests * 0.085,
        "catsdogs_batch_pictures_count": runs,
        "catsdogs_batch_pictures_sum": requests,
        "catsdogs_worker_busy_seconds_total": runs * 0.050,
    }
    for stage, mean_s, count in (("decode", 0.004, requests), ("network", 0.030, runs), ("queue", 0.020, requests)):
        values[f'catsdogs_stage_duration_seconds_count{{stage="{stage}"}}'] = count
        values[f'catsdogs_stage_duration_seconds_sum{{stage="{stage}"}}'] = count * mean_s
    for stage, each_s in (("decode", 0.003), ("network", 0.010), ("other", 0.0001)):
        values[f'catsdogs_worker_cpu_seconds_total{{stage="{stage}"}}'] = requests * each_s
    return "".join(f"{name} {value}\n" for name, value in values.items())


def a_cost(clients: int = 8) -> Cost:
    spent = {"gateway": 0.04, "relay": 0.03, "java": 0.05, "worker": 1.33, "launcher": 0.0}
    loop = Loop(clients, rate=clients / 0.1, p50=0.1, p99=0.2, answers=100, right=100)
    return cost(loop, read(counters(20)), read(counters(120)), spent, client_s=0.02)


def test_the_cpu_time_of_a_request_is_split_over_the_stages() -> None:
    means = a_cost()
    expected = {"network": 10, "decode": 3, "answer": 0.1, "worker protocol": 0.2, "java": 0.5, "relay": 0.3}
    expected |= {"gateway": 0.4, "launcher": 0, "load generator": 0.2}
    assert means.cpu_ms == pytest.approx(expected)
    assert means.requests == 100
    assert means.batch == 2
    assert means.server_cpu_ms == pytest.approx(1.5)
    assert means.share == pytest.approx(13 / 14.5)


def test_the_wall_time_of_a_request_is_split_so_that_its_parts_add_up_to_what_the_client_waits() -> None:
    means = a_cost()
    expected = {"network": 30, "decode": 8, "rest of the worker": 12, "queue": 20, "java and relay": 10}
    expected |= {"gateway": 5, "connection": 15}
    assert means.wall_ms == pytest.approx(expected)
    assert sum(means.wall_ms.values()) == pytest.approx(100)


def test_the_report_shows_servers_side_by_side(tmp_path: Path) -> None:
    costs = [a_cost(clients) for clients in CLIENTS]
    report.write({"before": costs, "after": costs}, tmp_path, SETTING)
    text = (tmp_path / "stages.md").read_text()
    assert "| CPU ms per request | 1 client, before | 1 client, after | 8 clients, before |" in text
    assert "| pipeline's share of the server | 0.90 |" in text
    measured = json.loads((tmp_path / "stages.json").read_text())["measured"]
    assert measured["after"][0]["cpu_ms"]["network"] == pytest.approx(10)
    assert (tmp_path / "stages.png").read_bytes().startswith(b"\x89PNG")


def test_a_server_without_a_name_is_a_mistake() -> None:
    assert named("after=.venv/bin/catsdogs") == ("after", Path(".venv/bin/catsdogs"))
    with pytest.raises(UserError, match="name a server and its program"):
        named(".venv/bin/catsdogs")


def test_the_real_server_is_measured(tmp_path: Path) -> None:
    options = ["--rounds", "1", "--seconds", "1", "--warmup", "0.2", "--warmup-requests", "1", "--out", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "loadtest.stages", *options], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (costs,) = json.loads((tmp_path / "stages.json").read_text())["measured"].values()
    assert [each["clients"] for each in costs] == list(CLIENTS)
    for each in costs:
        assert each["cpu_ms"].keys() == set(CPU_STAGES)
        assert each["wall_ms"].keys() == set(WALL_STAGES)
        # The network is most of a request.
        assert each["cpu_ms"]["network"] > each["cpu_ms"]["worker protocol"]
    # With one client for a second, a process may use less than one of the kernel's ticks.
    busiest = costs[-1]["cpu_ms"]
    assert all(busiest[part] > 0 for part in ("decode", "worker protocol", "java", "relay", "gateway"))
