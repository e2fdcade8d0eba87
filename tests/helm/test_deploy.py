"""Steps of k8s.deploy after each answer of helm, which is a stand-in here.

tests/cluster/test_deploy.py deploys by the real one.
"""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from common.verdicts import WRONG_USAGE, Verdict
from k8s.deploy import on_signal
from k8s.helm_release import Interrupted, Release
from tests.e2e.support import wait_for
from tests.zoo import ROOT

PASS, BREACH, NOT_READY = Verdict.PASS.exit_code, Verdict.BREACH.exit_code, Verdict.NOT_READY.exit_code
# Writes down how it is called, and answers as the file `answers` says: exit status and output by command. What it does
# to the history is `then`, the entries after the command.
STANDIN = """
import json, signal, sys, time
from pathlib import Path
folder = Path({folder!r})
answers = json.loads((folder / "answers").read_text())
command = sys.argv[1]
with (folder / "calls").open("a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
history = folder / "history"
if command == "history":
    entries = json.loads(history.read_text())
    print("WARNING: Kubernetes configuration file is group-readable.", file=sys.stderr)
    print(json.dumps(entries) if entries else "Error: release: not found", file=sys.stdout if entries else sys.stderr)
    sys.exit(0 if entries else 1)
answer = answers.get(command, {{}})
ended = []
signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
while answer.get("hangs") and not ended:
    time.sleep(0.01)
if "then" in answer:
    history.write_text(json.dumps(answer["then"]))
# As a pod may have logged.
sys.stdout.buffer.write(b"\\xff\\n")
print(answer.get("output", ""))
sys.exit(answer.get("status", 0))
"""


def revision(number: int, status: str, description: str = "Upgrade complete") -> dict[str, Any]:
    return {"revision": number, "status": status, "description": description}


FIRST = [revision(1, "deployed", "Install complete")]
UPGRADED = [revision(1, "superseded"), revision(2, "deployed")]
BACK = [revision(1, "superseded"), revision(2, "failed"), revision(3, "deployed", "Rollback to 1")]


@dataclass
class Standin:
    """A folder with a stand-in for helm."""

    folder: Path

    def __post_init__(self) -> None:
        script = self.folder / "script.py"
        script.write_text(STANDIN.format(folder=str(self.folder)))
        self.helm = self.folder / "helm"
        self.helm.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "$@"\n')
        self.helm.chmod(0o755)

    def prepare(self, history: list[dict[str, Any]], version: str, answers: dict[str, Any]) -> None:
        (self.folder / "history").write_text(json.dumps(history))
        (self.folder / "answers").write_text(json.dumps({"version": {"output": version}, **answers}))

    def command(self, *options: str) -> list[str]:
        own = ["--namespace", "cats", "--helm", str(self.helm), *options]
        return [sys.executable, "-m", "k8s.deploy", *own]

    def deploy(
        self, history: list[dict[str, Any]], *options: str, version: str = "v3.22.1+g0", **answers: Any
    ) -> "subprocess.CompletedProcess[str]":
        self.prepare(history, version, answers)
        return subprocess.run(self.command(*options), cwd=ROOT, capture_output=True, text=True)

    def calls(self) -> list[list[str]]:
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [call for call in map(json.loads, lines) if call[0] not in ("history", "version")]


@pytest.fixture
def standin(tmp_path: Path) -> Standin:
    return Standin(tmp_path)


def test_a_good_release_is_upgraded_and_tested(standin: Standin) -> None:
    done = standin.deploy(FIRST, "--tag", "next", upgrade={"then": UPGRADED})
    assert done.returncode == PASS, done.stdout
    upgrade, test = standin.calls()
    assert upgrade[:3] == ["upgrade", "--install", "catsdogs"]
    assert {"--atomic", "--wait", "--set=validation.enabled=true", "--set-string=image.tag=next"} <= set(upgrade)
    assert test[:2] == ["test", "catsdogs"]
    assert upgrade[-1] == test[-1] == "--namespace=cats"


def test_kept_values_come_before_those_that_are_given(standin: Standin) -> None:
    given = ("--keep-values", "--values", "champion.yaml")
    assert standin.deploy(FIRST, *given, upgrade={"then": UPGRADED}).returncode == PASS
    upgrade = standin.calls()[0]
    assert upgrade.index("--reset-then-reuse-values") < upgrade.index("--values=champion.yaml")
    assert not any("image." in option for option in upgrade)


def test_helm_4_is_told_to_roll_back_by_its_own_name_for_it(standin: Standin) -> None:
    assert standin.deploy(FIRST, version="v4.1.0", upgrade={"then": UPGRADED}).returncode == PASS
    assert "--rollback-on-failure" in standin.calls()[0]
    assert "--atomic" not in standin.calls()[0]


def test_an_upgrade_that_helm_has_rolled_back_is_not_rolled_back_again(standin: Standin) -> None:
    said = "Error: UPGRADE FAILED: release catsdogs failed, and has been rolled back due to atomic being set: x"
    done = standin.deploy(FIRST, upgrade={"status": 1, "output": said, "then": BACK})
    assert done.returncode == BREACH
    assert "revision 1 is back" in done.stdout
    assert [call[0] for call in standin.calls()] == ["upgrade"]


def test_an_upgrade_that_failed_without_going_back_is_rolled_back(standin: Standin) -> None:
    left = [revision(1, "superseded"), revision(2, "failed")]
    done = standin.deploy(FIRST, upgrade={"status": 1, "output": "Error: x", "then": left}, rollback={"then": BACK})
    assert done.returncode == BREACH
    assert standin.calls()[-1][:3] == ["rollback", "catsdogs", "1"]


def test_a_first_install_that_failed_is_no_wrong_usage(standin: Standin) -> None:
    said = "Error: release catsdogs failed, and has been uninstalled due to atomic being set: x"
    done = standin.deploy([], upgrade={"status": 1, "output": said})
    assert done.returncode == BREACH
    assert "there was none before" in done.stdout


def test_a_release_that_fails_its_test_is_rolled_back_and_a_first_one_removed(standin: Standin) -> None:
    done = standin.deploy(FIRST, upgrade={"then": UPGRADED}, test={"status": 1}, rollback={"then": BACK})
    assert done.returncode == BREACH
    assert standin.calls()[-1][:3] == ["rollback", "catsdogs", "1"]
    done = standin.deploy([], upgrade={"then": FIRST}, test={"status": 1}, uninstall={"then": []})
    assert done.returncode == BREACH
    assert standin.calls()[-1][:2] == ["uninstall", "catsdogs"]


def test_a_release_that_does_not_answer_from_outside_is_rolled_back(standin: Standin) -> None:
    # Nothing listens there.
    url = ["--url", "http://127.0.0.1:9"]
    done = standin.deploy(FIRST, *url, upgrade={"then": UPGRADED}, rollback={"then": BACK})
    assert done.returncode == NOT_READY
    assert "`catsdogs validate` did not pass, and revision 1 is back." in done.stdout
    assert standin.calls()[-1][0] == "rollback"


def test_a_rollback_that_fails_is_said(standin: Standin) -> None:
    failed = {"status": 1, "output": "Error: no"}
    done = standin.deploy(FIRST, upgrade={"then": UPGRADED}, test={"status": 1}, rollback=failed)
    assert done.returncode == NOT_READY
    assert "Going back failed: Error: no" in done.stdout


def test_values_that_the_chart_refuses_are_wrong_usage(standin: Standin) -> None:
    done = standin.deploy(FIRST, upgrade={"status": 1, "output": "Error: values don't meet the specifications"})
    assert done.returncode == WRONG_USAGE
    assert "nothing was changed" in done.stdout
    assert [call[0] for call in standin.calls()] == ["upgrade"]


def test_a_tag_cannot_smuggle_another_value_in(standin: Standin) -> None:
    done = standin.deploy(FIRST, "--tag", "next,image.repository=evil")
    assert done.returncode == WRONG_USAGE
    assert standin.calls() == []


@pytest.mark.parametrize(
    "options",
    [("--url", "cats.example.org"), ("--url", "https://"), ("--min-accuracy", "1"), ("--min-accuracy", "high")],
    ids=" ".join,
)
def test_what_the_validation_would_refuse_is_refused_before_the_upgrade(
    standin: Standin, options: tuple[str, str]
) -> None:
    done = standin.deploy(FIRST, *options)
    assert done.returncode == WRONG_USAGE
    assert f"argument {options[0]}: " in done.stderr
    assert standin.calls() == []


def test_a_release_that_is_pending_is_left_alone(standin: Standin) -> None:
    done = standin.deploy([*FIRST, revision(2, "pending-upgrade")])
    assert done.returncode == NOT_READY
    assert "helm rollback catsdogs --namespace cats --wait" in done.stdout
    assert standin.calls() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_upgrade_is_given_back_by_helm_itself(standin: Standin, number: signal.Signals) -> None:
    standin.prepare(FIRST, "v3.22.1", {"upgrade": {"hangs": True, "status": 1, "then": BACK}})
    running = subprocess.Popen(standin.command(), cwd=ROOT, stdout=subprocess.PIPE, text=True)
    wait_for(lambda: bool(standin.calls()), 20, "helm upgrades")
    running.send_signal(number)
    running.communicate(timeout=30)
    assert running.returncode == 128 + number
    assert [call[0] for call in standin.calls()] == ["upgrade"]


def test_an_interrupted_test_is_rolled_back(standin: Standin) -> None:
    answers = {"upgrade": {"then": UPGRADED}, "test": {"hangs": True, "status": 1}, "rollback": {"then": BACK}}
    standin.prepare(FIRST, "v3.22.1", answers)
    running = subprocess.Popen(standin.command(), cwd=ROOT, stdout=subprocess.PIPE, text=True)
    wait_for(lambda: [call[0] for call in standin.calls()] == ["upgrade", "test"], 20, "helm tests")
    running.terminate()
    running.communicate(timeout=30)
    assert running.returncode == 128 + signal.SIGTERM
    assert standin.calls()[-1][:3] == ["rollback", "catsdogs", "1"]


def test_a_signal_as_helm_starts_ends_helm_too(standin: Standin, monkeypatch: pytest.MonkeyPatch) -> None:
    standin.prepare(FIRST, "v3.22.1", {"test": {"hangs": True}})
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: Any, **options: Any) -> "subprocess.Popen[str]":
        started.append(popen(*arguments, **options))
        wait_for(lambda: bool(standin.calls()), 20, "helm tests")
        signal.raise_signal(signal.SIGTERM)
        return started[-1]

    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", start)
    before = signal.signal(signal.SIGTERM, on_signal)
    try:
        with pytest.raises(Interrupted):
            Release(str(standin.helm), "catsdogs", "cats", "10m").run("test", "catsdogs")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert [child.poll() is None for child in started] == [False]


def test_without_helm_or_a_cluster_the_exit_code_says_so(tmp_path: Path, standin: Standin) -> None:
    command = [sys.executable, "-m", "k8s.deploy", "--helm", str(tmp_path / "none")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == WRONG_USAGE
    assert "No such file" in done.stdout
    helm = os.environ.get("HELM", str(ROOT / ".venv" / "bin" / "helm"))
    environment = {**os.environ, "KUBECONFIG": str(tmp_path / "kubeconfig"), "HELM": helm}
    (tmp_path / "kubeconfig").write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "none", "cluster": {"server": "http://127.0.0.1:9"}}],
                "contexts": [{"name": "none", "context": {"cluster": "none", "user": ""}}],
                "current-context": "none",
            }
        )
    )
    done = subprocess.run(
        [sys.executable, "-m", "k8s.deploy"], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == NOT_READY
    assert "The cluster does not answer" in done.stdout
