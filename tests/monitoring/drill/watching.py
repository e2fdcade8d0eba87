"""A Prometheus and an Alertmanager that know nothing yet, and the webhook that their alerts reach."""

import contextlib
import http.server
import json
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from monitoring.objectives import Objectives
from monitoring.render import as_yaml
from monitoring.rules.files import rule_file
from monitoring.rules.model import Target
from tests.monitoring.drill.processes import process
from tests.monitoring.prometheus import Prometheus, free_port

SCRAPE_S, EVALUATE_S = 5, 15
# Alerts of a budget are left out. This Prometheus knows a minute, in which any fault has burned a great share of the
# budget; one that knows a quiet hour would take longer.
BUDGETS = "BudgetBurn"
UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
# In brackets as a range, or alone as `for`.
DURATION = re.compile(r"(?<=\[)(\d+)([smhd])(?=\])|^(\d+)([smhd])$")


@dataclass
class Hook:
    """Alerts that Alertmanager sent, but those of a budget: the times of their first notification and of their end."""

    fired: dict[str, float] = field(default_factory=dict)
    resolved: dict[str, float] = field(default_factory=dict)

    def take(self, message: dict[str, Any]) -> None:
        for alert in message["alerts"]:
            name = f"{alert['labels']['severity']} {alert['labels']['alertname']}"
            if BUDGETS in name:
                continue
            into = self.fired if alert["status"] == "firing" else self.resolved
            into.setdefault(name, time.monotonic())


def scaled(text: str, divisor: int) -> str:
    """Return an expression or a duration with each of its durations divided."""

    def shorter(match: re.Match[str]) -> str:
        number, unit = (match[1], match[2]) if match[1] else (match[3], match[4])
        return f"{max(1, int(number) * UNITS_S[unit] // divisor)}s"

    return DURATION.sub(shorter, text)


def rules_of(objectives: Objectives, ticket: str, divisor: int) -> dict[str, Any]:
    """Return the rules, with the durations of a ticket's divided, and of the series that are recorded for it."""
    rules = rule_file(Target("catsdogs"), objectives)
    for group in rules["groups"]:
        own = [rule for rule in group["rules"] if rule.get("alert") == ticket]
        if divisor == 1 or not own:
            continue
        group["interval"] = f"{SCRAPE_S}s"
        for rule in [*own, *(rule for rule in group["rules"] if "record" in rule)]:
            rule["expr"] = scaled(rule["expr"], divisor)
            if "for" in rule:
                rule["for"] = scaled(rule["for"], divisor)
    return rules


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
def watched(folder: Path, rules: dict[str, Any], alertmanager: str) -> Iterator[tuple[Hook, Prometheus]]:
    """Watch what target.json in the folder names."""
    hook, web, am = Hook(), free_port(), free_port()
    (folder / "rules.yaml").write_text(as_yaml(rules))
    job = {
        "job_name": "catsdogs",
        "file_sd_configs": [{"files": ["target.json"]}],
        "relabel_configs": [{"source_labels": ["pod"], "target_label": "instance"}],
    }
    configuration = {
        "global": {"scrape_interval": f"{SCRAPE_S}s", "evaluation_interval": f"{EVALUATE_S}s"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [job],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{am}"]}]}]},
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    with webhook(hook) as url:
        receiver = {"name": "hook", "webhook_configs": [{"url": url, "send_resolved": True}]}
        route = {"receiver": "hook", "group_by": ["alertname"], "group_wait": "5s", "group_interval": "10s"}
        (folder / "alertmanager.yml").write_text(yaml.safe_dump({"route": route, "receivers": [receiver]}))
        # Without the folders, Debian's keep what they knew in /var/lib: an alert of the last drill is not sent again.
        own = (f"--web.listen-address=127.0.0.1:{am}", "--storage.path=alertmanager")
        manager = (alertmanager, "--config.file=alertmanager.yml", *own)
        own = (f"--web.listen-address=127.0.0.1:{web}", "--storage.tsdb.path=data")
        server = ("prometheus", "--config.file=prometheus.yml", *own)
        with (
            # Without a cluster: one Alertmanager is all there is.
            process(*manager, "--cluster.listen-address=", folder=folder),
            process(*server, folder=folder),
        ):
            yield hook, Prometheus(web)
