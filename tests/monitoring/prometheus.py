"""A real Prometheus on the loopback that scrapes simulated pods, and is asked by its API."""

import contextlib
import http.server
import json
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.monitoring.fleet import PROTOCOLS, Pod

GPU = """\
DCGM_FI_PROF_SM_ACTIVE{gpu="0",Hostname="node"} 0.4
DCGM_FI_DEV_FB_USED{gpu="0",Hostname="node"} 9000
DCGM_FI_DEV_FB_FREE{gpu="0",Hostname="node"} 15000
DCGM_FI_DEV_XID_ERRORS{gpu="0",Hostname="node"} 0
DCGM_FI_DEV_THERMAL_VIOLATION{gpu="0",Hostname="node"} 0
"""
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def served(pods: list[Pod]) -> Iterator[str]:
    """Serve the pods' metrics at /0, /1, ...; each answers more requests before it is read."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            pod = pods[int(self.path.strip("/"))]
            for protocol in PROTOCOLS:
                pod.ask(40, protocol)
                pod.ask(1, protocol, code="499", seconds=0.2)
                pod.ask(1, protocol, code="415", seconds=0.001)
            # One pod writes whole numbers as Caddy does, le="1", the other as Prometheus' client for Python does.
            text = pod.exposition() if pod.name == "a" else pod.exposition().replace('.0"}', '"}')
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write((text + GPU).encode())

        def log_message(self, format: str, *values: Any) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Prometheus:
    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def query(self, expr: str) -> list[dict[str, Any]]:
        """Return the samples of an instant query, or raise an AssertionError that says why there are none."""
        url = f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': expr})}"
        try:
            with OPENER.open(url, timeout=30) as response:
                answer = json.load(response)
        except urllib.error.HTTPError as error:
            if error.code == 503:
                raise ConnectionError("Prometheus is starting") from None
            raise AssertionError(f"{error.read().decode()}: {expr}") from None
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def has(self, expr: str, seconds: float = 20) -> bool:
        """Return whether a query returns a sample in time: a busy machine misses a scrape now and then."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                if self.query(expr):
                    return True
            time.sleep(0.1)
        return False


@contextlib.contextmanager
def running(binary: str, folder: Path, rules: dict[str, Any], target: str, pods: list[Pod]) -> Iterator[Prometheus]:
    """Run this Prometheus on the rules, with short intervals, and with labels as the chart's monitors set them."""
    for group in rules["groups"]:
        group.pop("interval", None)
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules))
    job = {
        "job_name": "catsdogs",
        "static_configs": [
            {"targets": [target], "labels": {"namespace": "pets", "pod": pod.name, "__metrics_path__": f"/{number}"}}
            for number, pod in enumerate(pods)
        ],
        "relabel_configs": [
            {"target_label": "metrics_path", "replacement": "/metrics"},
            {"source_labels": ["pod"], "target_label": "instance"},
        ],
    }
    configuration = {
        "global": {"scrape_interval": "3s", "scrape_timeout": "3s", "evaluation_interval": "3s"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [job],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    port = free_port()
    options = [
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([binary, *options], cwd=folder, stdout=log, stderr=log)
    try:
        yield Prometheus(port)
    finally:
        process.terminate()
        process.wait(30)
