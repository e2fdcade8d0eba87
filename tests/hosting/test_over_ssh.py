"""deploy_over_ssh, to a real ssh server on this machine. What it starts there uses a stand-in for docker."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from common.ports import free_ports
from common.verdicts import WRONG_USAGE, Verdict
from tests.e2e.support import wait_for
from tests.hosting.one_machine import OneMachine
from tests.zoo import ROOT

SCRIPT = ROOT / "serving" / "hosting" / "deploy_over_ssh"
# Debian has it where only root's PATH leads.
SSHD = shutil.which("sshd") or shutil.which("/usr/sbin/sshd")
CONFIG = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/client.pub
PidFile {folder}/pid
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
SetEnv PATH={path} STANDIN_DOCKER={docker} PYTHONDONTWRITEBYTECODE=1
"""


@dataclass
class Host:
    """A machine that is reached by ssh."""

    machine: OneMachine
    folder: Path
    port: int

    @property
    def known_hosts(self) -> str:
        return f"[127.0.0.1]:{self.port} {(self.folder / 'host.pub').read_text()}"

    def deploy(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run the script."""
        return self.run([str(SCRIPT), *arguments], environment)

    def run(self, command: list[str], environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
        """Run a command with what the script takes from its environment."""
        user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
        given = {
            "SSH_TARGET": f"{user}@127.0.0.1",
            "SSH_PORT": str(self.port),
            "SSH_DIRECTORY": str(self.machine.folder / "over there"),
            "SSH_KEY": (self.folder / "client").read_text(),
            "SSH_KNOWN_HOSTS": self.known_hosts,
            **environment,
        }
        return subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, **given},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    if SSHD is None:
        pytest.skip("no sshd: Debian's package is openssh-server")
    rest, port = free_ports(2)
    machine, folder = OneMachine(tmp_path / "machine", rest), tmp_path / "ssh"
    folder.mkdir()
    for name in ("host", "client"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(command, check=True)
    if os.getuid() == 0:
        # Where sshd drops its rights; Debian's service makes it.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    path = f"{machine.folder / 'bin'}:{Path(sys.executable).parent}:/usr/bin:/bin"
    config = folder / "config"
    config.write_text(CONFIG.format(port=port, folder=folder, path=path, docker=machine.docker))
    log = folder / "log"
    child = subprocess.Popen([SSHD, "-D", "-f", str(config), "-E", str(log)])
    try:
        wait_for(lambda: log.exists() and "Server listening" in log.read_text(), 10, "the ssh server listens")
        yield Host(machine, folder, port)
    finally:
        child.terminate()
        child.wait(10)
        machine.close()


def test_an_image_is_deployed_and_a_broken_one_taken_back(host: Host) -> None:
    machine = host.machine
    done = host.deploy(machine.publish("first", machine.server("cat")), "--url", machine.url)
    assert done.returncode == Verdict.PASS.exit_code, done.stdout
    assert machine.label() == "cat"
    there = machine.folder / "over there"
    assert (there / "compose.yaml").read_bytes() == (ROOT / "compose.yaml").read_bytes()
    assert (there / "deployed.json").exists()
    assert not list(there.rglob("__pycache__"))
    broken = machine.publish("broken", [sys.executable, "-c", "raise SystemExit(3)"])
    done = host.deploy(broken, "--url", machine.url)
    assert done.returncode == Verdict.BREACH.exit_code, done.stdout
    assert machine.label() == "cat"


def test_the_target_of_make_deploys(host: Host) -> None:
    image, _, tag = host.machine.publish("first", host.machine.server("cat")).rpartition(":")
    # The address alone is not the workflow's: a machine has its server on port 8080.
    command = ["make", "--silent", "deploy-compose", f"ARGS=--url {host.machine.url}"]
    done = host.run(command, {"IMAGE": image, "TAG": tag, "CATSDOGS_KEY": "a key"})
    assert done.returncode == Verdict.PASS.exit_code, done.stdout
    assert host.machine.label() == "cat"


def test_a_host_that_is_not_known_is_not_trusted(host: Host) -> None:
    other = host.known_hosts.replace((host.folder / "host.pub").read_text(), (host.folder / "client.pub").read_text())
    done = host.deploy(host.machine.publish("first", host.machine.server("cat")), SSH_KNOWN_HOSTS=other)
    assert done.returncode == Verdict.NOT_READY.exit_code
    assert "Nothing was changed." in done.stdout
    assert host.machine.container() == {}


def test_a_key_that_is_not_known_there_is_not_ready(host: Host) -> None:
    key = (host.folder / "host").read_text()
    done = host.deploy("image:tag", SSH_KEY=key)
    assert done.returncode == Verdict.NOT_READY.exit_code
    assert key.splitlines()[1] not in done.stdout


def test_without_a_target_or_its_key_it_is_wrong_usage(host: Host) -> None:
    assert host.deploy("image:tag", SSH_TARGET="").returncode == WRONG_USAGE
    assert host.deploy("image:tag", SSH_KNOWN_HOSTS="").returncode == WRONG_USAGE
    for image in ((), ("",), (":0.3.0-cpu",), ("ghcr.io/example/catsdogs-serve:",)):
        done = host.deploy(*image)
        assert done.returncode == WRONG_USAGE
        assert done.stdout.startswith("Usage: ")
