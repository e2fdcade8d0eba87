"""The alert drill: a real server, Prometheus and Alertmanager, faults one after the other, and the pages that arrive.

    python -m tests.monitoring.drill --server .venv/bin/python --alertmanager /usr/bin/prometheus-alertmanager

Prints for each fault which alerts reached the webhook after how many seconds, and whether they were resolved once it
was over. Exit status 1 where a fault that hurts users paged nobody within 90 s, or one that does not paged somebody.
"""

import contextlib
import http.server
import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import psutil
import yaml

from monitoring.render import as_yaml
from monitoring.rules.files import rule_file
from monitoring.rules.model import Target
from monitoring.slo_file import read
from tests.monitoring.prometheus import OPENER, free_port
from tests.zoo import ROOT

WITHIN_S, WARM_S, RESOLVE_S = 90, 20, 150
SCRAPE_S = 5
# The budget that a fault burned stays burned: its alerts end minutes or hours after it.
LINGERING = "BudgetBurn"
PICTURE = ROOT / "docs" / "samples" / "cat" / "11.jpg"


@dataclass
class Hook:
    """Alerts that Alertmanager sent: the times of their first notification and of their end."""

    fired: dict[str, float] = field(default_factory=dict)
    resolved: dict[str, float] = field(default_factory=dict)

    def take(self, message: dict[str, Any]) -> None:
        for alert in message["alerts"]:
            name = f"{alert['labels']['severity']} {alert['labels']['alertname']}"
            into = self.fired if alert["status"] == "firing" else self.resolved
            into.setdefault(name, time.monotonic())

    def pages(self) -> set[str]:
        """Return the pages that end with their fault."""
        return {name for name in self.fired if name.startswith("page ") and LINGERING not in name}


@dataclass
class Load:
    """Clients that send a picture each, one after the other, until they are told to stop."""

    url: str
    body: bytes = PICTURE.read_bytes()
    ended: threading.Event = field(default_factory=threading.Event)

    def ask(self) -> None:
        while not self.ended.wait(0.2):
            request = urllib.request.Request(f"{self.url}predictions/catsdogs", self.body, method="POST")
            with contextlib.suppress(OSError), OPENER.open(request, timeout=5) as response:
                response.read()

    @contextlib.contextmanager
    def sent(self, clients: int) -> Iterator[None]:
        threads = [threading.Thread(target=self.ask) for _ in range(clients)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.ended.set()
            for thread in threads:
                thread.join()


@contextlib.contextmanager
def webhook(hook: Hook) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            hook.take(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *values: Any) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def process(*command: str | Path, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / f"{Path(command[0]).name}.log").open("wb") as log:
        started = subprocess.Popen([str(word) for word in command], cwd=folder, stdout=log, stderr=log)
    try:
        yield started
    finally:
        started.terminate()
        started.wait(60)


@contextlib.contextmanager
def watched(folder: Path, metrics: str, alertmanager: str) -> Iterator[Hook]:
    """Watch the server by a Prometheus and an Alertmanager that know nothing yet."""
    hook, web, am, cluster = Hook(), free_port(), free_port(), free_port()
    rules = as_yaml(rule_file(Target("catsdogs"), read(ROOT / "loadtest" / "slo.yaml", "shared").objectives))
    (folder / "rules.yaml").write_text(rules)
    reach(folder, metrics)
    fixed = {"target_label": "instance", "replacement": "server"}
    job = {"job_name": "catsdogs", "file_sd_configs": [{"files": ["target.json"]}], "relabel_configs": [fixed]}
    configuration = {
        "global": {"scrape_interval": f"{SCRAPE_S}s", "evaluation_interval": "15s"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [job],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{am}"]}]}]},
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    with webhook(hook) as url:
        receiver = {"name": "hook", "webhook_configs": [{"url": url, "send_resolved": True}]}
        route = {"receiver": "hook", "group_by": ["alertname"], "group_wait": "5s", "group_interval": "10s"}
        (folder / "alertmanager.yml").write_text(yaml.safe_dump({"route": route, "receivers": [receiver]}))
        manager = (alertmanager, "--config.file=alertmanager.yml", f"--web.listen-address=127.0.0.1:{am}")
        server = ("prometheus", "--config.file=prometheus.yml", f"--web.listen-address=127.0.0.1:{web}")
        with (
            process(*manager, f"--cluster.listen-address=127.0.0.1:{cluster}", folder=folder),
            process(*server, folder=folder),
        ):
            yield hook


def reach(folder: Path, address: str) -> None:
    """Let Prometheus read this address."""
    (folder / "new.json").write_text(json.dumps([{"targets": [address]}]))
    (folder / "new.json").rename(folder / "target.json")


@dataclass
class Server:
    """A running `catsdogs serve`."""

    pid: int
    url: str
    metrics: str

    def processes(self, what: str) -> list[psutil.Process]:
        children = psutil.Process(self.pid).children(recursive=True)
        named = []
        for one in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                named += [one] if what in " ".join(one.cmdline()[:6]) else []
        return named

    def signal(self, what: str, number: signal.Signals, most: int = 100) -> None:
        for one in self.processes(what)[:most]:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.send_signal(number)


@dataclass(frozen=True)
class Fault:
    name: str
    hurts: bool
    begin: Callable[[Server, Path], None]
    end: Callable[[Server, Path], None] = lambda server, folder: None
    body: bytes | None = None
    clients: int = 0
    again: bool = False
    """Begin again and again: TorchServe replaces a worker that hangs, and its successor hangs, too."""


def faults() -> list[Fault]:
    worker, java = "model_service_worker", "java"
    stop, go = signal.SIGSTOP, signal.SIGCONT

    def nothing(server: Server, folder: Path) -> None:
        """The fault is what clients send."""

    return [
        Fault("broken client inputs only", False, nothing, body=b"no picture", clients=4),
        Fault("one worker killed", False, lambda server, _: server.signal(worker, signal.SIGKILL, 1)),
        Fault(
            "all workers hung",
            True,
            lambda server, _: server.signal(worker, stop),
            lambda server, _: server.signal(worker, go),
            again=True,
        ),
        Fault(
            "Java stopped", True, lambda server, _: server.signal(java, stop), lambda server, _: server.signal(java, go)
        ),
        Fault("queue full (503)", True, nothing, body=PICTURE.read_bytes(), clients=300),
        # Prometheus cannot tell it from a gateway that is down, so it pages.
        Fault(
            "scrape cut off",
            True,
            lambda _, folder: reach(folder, "127.0.0.1:9"),
            lambda server, folder: reach(folder, server.metrics),
        ),
    ]


def waited(seconds: float, condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end and not condition():
        time.sleep(0.2)
    return condition()


def paged(hook: Hook, server: Server, fault: Fault, folder: Path) -> bool:
    if fault.again:
        fault.begin(server, folder)
    return bool(hook.pages())


def drill(server: Server, fault: Fault, alertmanager: str) -> bool:
    """Inject a fault, print what came of it, and return whether that is what should."""
    with tempfile.TemporaryDirectory() as name, Load(server.url).sent(3):
        folder = Path(name)
        with watched(folder, server.metrics, alertmanager) as hook:
            time.sleep(WARM_S)
            before = time.monotonic()
            extra = Load(server.url, fault.body) if fault.body else None
            fault.begin(server, folder)
            with extra.sent(fault.clients) if extra else contextlib.nullcontext():
                waited(WITHIN_S, lambda: paged(hook, server, fault, folder))
                reached = {alert: at - before for alert, at in sorted(hook.fired.items(), key=lambda item: item[1])}
            fault.end(server, folder)
            ending = hook.pages()
            resolved = waited(RESOLVE_S if ending else 0, lambda: ending <= hook.resolved.keys())
    told = ", ".join(f"{alert} after {seconds:.0f} s" for alert, seconds in reached.items()) or "no alert"
    print(f"{fault.name}: {told}{'; resolved' if ending and resolved else ''}", flush=True)
    return any(alert.startswith("page ") for alert in reached) == fault.hurts and resolved


@contextlib.contextmanager
def serving(python: Path, folder: Path) -> Iterator[Server]:
    out = folder / "server.log"
    with out.open("wb") as log:
        command = [str(python), "-m", "catsdogs", "serve", "--any-port"]
        started = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
    try:
        assert waited(120, lambda: "Ctrl-C" in out.read_text()), out.read_text()
        urls = [word for word in out.read_text().split() if word.startswith("http://")]
        metrics = next(url for url in urls if url.endswith("/metrics")).split("/")[2]
        yield Server(started.pid, urls[0], metrics)
    finally:
        started.terminate()
        started.wait(60)


@click.command()
@click.option(
    "--server", "python", type=click.Path(path_type=Path), default=Path(".venv/bin/python"), show_default=True
)
@click.option("--alertmanager", default="prometheus-alertmanager", show_default=True)
@click.option("--only", default="", help="Part of the names of the faults that are injected.")
def main(python: Path, alertmanager: str, only: str) -> None:
    """Inject each fault into a real server, and print which alert reached the webhook when."""
    with tempfile.TemporaryDirectory() as name, serving(python.absolute(), Path(name)) as server:
        kept = [drill(server, fault, alertmanager) for fault in faults() if only in fault.name]
    sys.exit(0 if all(kept) else 1)


if __name__ == "__main__":
    main()
