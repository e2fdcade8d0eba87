"""catsdogs validate and canary on the real server: the pages' commands, and whose requests they count as."""

import subprocess
from pathlib import Path

import httpx
import pytest

from serving.server.launch import Server
from tests.documentation import run_by
from tests.e2e.test_docs import here
from tests.zoo import ROOT


def probes(server: Server) -> dict[str, float]:
    """Return the predictions of users and of probes."""
    text = httpx.get(f"http://127.0.0.1:{server.options.ports.metrics}/metrics", trust_env=False).text
    lines = [line for line in text.splitlines() if line.startswith("catsdogs_request_duration_seconds_count")]
    return {
        traffic: sum(float(line.rpartition(" ")[2]) for line in lines if f'traffic="{traffic}"' in line)
        for traffic in ("user", "probe")
    }


@pytest.mark.parametrize("block", [block.text for block in run_by(__file__)])
def test_the_pages_commands_pass(server: Server, block: str, tmp_path: Path) -> None:
    before = probes(server)
    for name in ("answers.jsonl", "report.json"):
        block = block.replace(name, str(tmp_path / name))
    lines = here(block, server).splitlines()
    for line in lines:
        done = subprocess.run(["sh", "-c", line], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    after = probes(server)
    assert after["user"] == before["user"]
    assert after["probe"] - before["probe"] == 16 * sum(" validate " in line for line in lines)


def test_a_server_beside_itself_is_a_good_candidate(server: Server) -> None:
    url = server.options.url
    command = [".venv/bin/catsdogs", "canary", "--stable", url, "--candidate", url]
    options = ["--duration", "1", "--interval", "1", "--min-requests", "16"]
    done = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "PASS"
