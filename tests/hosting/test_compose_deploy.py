"""Deployments on one machine: what serves after each of them, and its exit code.

Docker is a stand-in (standin_docker.py): an image is a command, and its container a real process. The first test
starts the real server. Those of what only the deployment decides start a stand-in for it.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from common.ports import free_ports
from common.verdicts import WRONG_USAGE, Verdict
from serving.hosting.compose_deploy.machine import CODES, repository
from tests.cluster.models import change
from tests.e2e.support import wait_for
from tests.hosting.one_machine import OneMachine
from tests.zoo import CAT, ROOT

PASS, BREACH, NOT_READY = Verdict.PASS.exit_code, Verdict.BREACH.exit_code, Verdict.NOT_READY.exit_code


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[OneMachine]:
    made = OneMachine(tmp_path, free_ports(1)[0])
    yield made
    made.close()


# With the real server


def real_server(archive: Path, rest: int) -> list[str]:
    grpc, metrics = free_ports(2)
    ports = ["--port", str(rest), "--grpc-port", str(grpc), "--metrics-port", str(metrics)]
    return [sys.executable, "-P", "-m", "catsdogs", "serve", str(archive), *ports, "--workers", "1"]


def test_a_good_image_serves_and_a_broken_and_a_poor_one_are_taken_back(
    machine: OneMachine, archive: Path, tmp_path: Path
) -> None:
    broken, poor = tmp_path / "broken.mar", tmp_path / "poor.mar"
    broken.write_bytes(archive.read_bytes()[:-1000])
    change(archive, poor, "release.json", lambda release: release.update(classes=["dog", "cat"]))
    good = machine.publish("0.2.0-cpu", real_server(archive, machine.port))
    test = ["--picture", str(CAT), "--label", "cat"]

    first = machine.deploy(good, *test)
    assert first.returncode == PASS, first.stdout
    assert first.stdout.endswith(f"serves at {machine.url}.\n")
    assert machine.label() == "cat"
    serving = machine.container()["image"]

    refused = machine.deploy(machine.publish("0.3.0-cpu", real_server(broken, machine.port)), *test)
    assert refused.returncode == BREACH, refused.stdout
    assert "The container ended by itself" in refused.stdout
    assert str(broken) in refused.stdout, "the log of the broken server is not shown"
    assert (machine.label(), machine.container()["image"]) == ("cat", serving)

    poorly = machine.deploy(machine.publish("0.4.0-cpu", real_server(poor, machine.port)), *test)
    assert poorly.returncode == BREACH, poorly.stdout
    assert "The picture is called dog" in poorly.stdout
    assert (machine.label(), machine.container()["image"]) == ("cat", serving)
    assert machine.verdicts() == ["PASS", "BREACH", "BREACH"]


# What the deployment decides


@pytest.fixture
def serving(machine: OneMachine) -> OneMachine:
    """A machine on which an image was deployed that answers `first`."""
    done = machine.deploy(machine.publish("first", machine.server("first")))
    assert done.returncode == PASS, done.stdout
    return machine


def deaf(machine: OneMachine) -> str:
    """Publish an image whose container runs and never answers."""
    return machine.publish("deaf", [sys.executable, "-c", "import signal; signal.pause()"])


def test_the_next_image_takes_the_place_of_the_first(serving: OneMachine) -> None:
    assert serving.deploy(serving.publish("second", serving.server("second"))).returncode == PASS
    assert serving.label() == "second"


def test_what_was_deployed_is_recorded_by_digest_and_started_by_a_later_up(serving: OneMachine) -> None:
    (serving.directory / ".env").write_text("OTHER=kept\nCATSDOGS_IMAGE=old\n")
    serving.deploy(serving.publish("second", serving.server("second")))
    registry = json.loads((serving.docker / "registry.json").read_text())
    digest = registry["ghcr.io/example/catsdogs-serve:second"]["digest"]
    assert serving.state()["good"]["name"] == digest
    assert serving.state()["trying"] is None
    assert [entry["name"] for entry in serving.state()["history"]][-1] == digest
    assert (serving.directory / ".env").read_text() == f"OTHER=kept\nCATSDOGS_IMAGE={digest}\n"
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert services["serve"]["image"].startswith("${CATSDOGS_IMAGE:-")


def test_an_image_that_never_answers_is_taken_back_after_the_timeout(serving: OneMachine) -> None:
    done = serving.deploy(deaf(serving), "--timeout", "1")
    assert done.returncode == BREACH, done.stdout
    assert "It did not serve within 1 s." in done.stdout
    assert serving.label() == "first"


def test_a_tag_that_was_moved_does_not_move_what_is_gone_back_to(serving: OneMachine) -> None:
    first = serving.container()["image"]
    moved = serving.publish("first", [sys.executable, "-c", "raise SystemExit(3)"])
    registry = serving.docker / "registry.json"
    text = registry.read_text().replace(first, f"sha256:{'0' * 64}")
    digest = serving.state()["good"]["name"]
    registry.write_text(text.replace(digest, f"{digest[:-64]}{'0' * 64}"))
    # The old image stays on the machine, under its digest and the tag by which it is kept.
    done = serving.deploy(moved)
    assert done.returncode == BREACH, done.stdout
    assert (serving.label(), serving.container()["image"]) == ("first", first)


def test_an_image_that_was_built_on_the_machine_can_be_gone_back_to_after_it_was_built_anew(
    machine: OneMachine,
) -> None:
    built = machine.build("dev", machine.server("built"))
    assert machine.deploy(built, "--no-pull").returncode == PASS
    images = json.loads((machine.docker / "images.json").read_text())
    images[built] = {"id": f"sha256:{'1' * 64}", "digest": "", "command": [sys.executable, "-c", "raise SystemExit(3)"]}
    (machine.docker / "images.json").write_text(json.dumps(images))
    done = machine.deploy(built, "--no-pull")
    assert done.returncode == BREACH, done.stdout
    assert machine.label() == "built"


def test_without_an_image_before_it_a_refused_one_leaves_nothing_running(machine: OneMachine) -> None:
    done = machine.deploy(machine.publish("broken", [sys.executable, "-c", "raise SystemExit(3)"]))
    assert done.returncode == BREACH, done.stdout
    assert "There was no image before it" in done.stdout
    assert machine.container() == {}
    assert machine.state()["good"] is None
    assert not (machine.directory / ".env").exists()
    assert machine.deploy(machine.publish("good", machine.server("good"))).returncode == PASS


def test_an_image_that_cannot_be_pulled_changes_nothing(serving: OneMachine) -> None:
    before = serving.state(), serving.container()
    done = serving.deploy("ghcr.io/example/catsdogs-serve:none")
    assert done.returncode == NOT_READY, done.stdout
    assert "manifest unknown Nothing was changed." in done.stdout
    slow = serving.publish("slow", serving.server("slow"), pull_s=30)
    done = serving.deploy(slow, "--pull-timeout", "0.5")
    assert done.returncode == NOT_READY, done.stdout
    assert "did not end within" in done.stdout
    assert (serving.state(), serving.container()) == before
    assert serving.label() == "first"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_deployment_goes_back(serving: OneMachine, number: signal.Signals) -> None:
    first = serving.container()["image"]
    running = serving.start_deploy(deaf(serving))
    wait_for(lambda: serving.container().get("image") not in (first, None), 20, "the other image was started")
    running.send_signal(number)
    output, _ = running.communicate(timeout=30)
    assert running.returncode == 128 + number, output
    assert "serves again" in output
    assert serving.label() == "first"
    assert serving.verdicts() == ["PASS", "INTERRUPTED"]


def test_after_a_deployment_that_was_killed_the_next_one_goes_back_to_the_last_good_image(serving: OneMachine) -> None:
    first = serving.container()["image"]
    running = serving.start_deploy(deaf(serving))
    wait_for(lambda: serving.container().get("image") not in (first, None), 20, "the other image was started")
    running.kill()
    running.communicate()
    assert serving.state()["trying"] is not None
    done = serving.deploy(serving.publish("broken", [sys.executable, "-c", "raise SystemExit(3)"]))
    assert done.returncode == BREACH, done.stdout
    assert (serving.label(), serving.container()["image"]) == ("first", first)


def test_a_connection_that_breaks_does_not_end_a_deployment(serving: OneMachine) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = serving.command(serving.publish("second", serving.server("second")))
    done = subprocess.run(command, cwd=ROOT, env=serving.environment, stdout=writer)
    os.close(writer)
    assert done.returncode == PASS
    assert serving.label() == "second"


def test_where_the_previous_image_does_not_serve_either_the_exit_code_says_so(serving: OneMachine) -> None:
    images = json.loads((serving.docker / "images.json").read_text())
    for image in images.values():
        image["command"] = [sys.executable, "-c", "raise SystemExit(3)"]
    (serving.docker / "images.json").write_text(json.dumps(images))
    done = serving.deploy(serving.publish("broken", [sys.executable, "-c", "raise SystemExit(3)"]))
    assert done.returncode == NOT_READY, done.stdout
    assert "does not serve either" in done.stdout
    assert serving.state()["trying"] is not None


def test_another_server_at_the_address_is_not_taken_for_the_image(machine: OneMachine) -> None:
    """The container's port is another one: what answers at the address was there before."""
    stranger = OneMachine(machine.folder / "stranger", machine.port)
    try:
        assert stranger.deploy(stranger.publish("stranger", stranger.server("stranger"))).returncode == PASS
        ended = machine.publish("ended", [sys.executable, "-c", "raise SystemExit(3)"])
        done = machine.deploy(ended)
        assert done.returncode == BREACH, done.stdout
    finally:
        stranger.close()


def test_two_deployments_at_once_are_not_possible(serving: OneMachine) -> None:
    first = serving.container()["image"]
    running = serving.start_deploy(deaf(serving))
    wait_for(lambda: serving.container().get("image") not in (first, None), 20, "the other image was started")
    done = serving.deploy("ghcr.io/example/catsdogs-serve:first")
    running.terminate()
    running.communicate(timeout=30)
    assert done.returncode == NOT_READY, done.stdout
    assert "Another deployment is running" in done.stdout


def test_a_machine_without_docker_is_not_ready(machine: OneMachine) -> None:
    environment = {**machine.environment, "PATH": str(machine.docker)}
    done = subprocess.run(machine.command("image:tag"), cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == NOT_READY
    assert done.stdout == "NOT_READY: There is no docker on this machine: install Docker with Compose 2.\n"


def test_wrong_usage_is_a_sentence(machine: OneMachine) -> None:
    shutil.copy(CAT, machine.directory / "cat.jpg")
    for options in (["--file", "none.yaml"], ["--picture", "none.jpg"], ["--timeout", "soon"]):
        done = machine.deploy("image:tag", *options)
        assert done.returncode == WRONG_USAGE
        assert "Traceback" not in done.stdout
    (machine.directory / "deployed.json").write_text("{")
    done = machine.deploy("image:tag")
    assert done.returncode == NOT_READY
    assert "repair or remove it" in done.stdout


def test_the_exit_codes_are_those_of_the_gates() -> None:
    assert {name: Verdict(name).exit_code for name in CODES} == CODES


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("catsdogs-serve", "catsdogs-serve"),
        ("catsdogs-serve:0.2.0-cpu", "catsdogs-serve"),
        ("localhost:5000/catsdogs-serve", "localhost:5000/catsdogs-serve"),
        ("localhost:5000/catsdogs-serve:0.2.0@sha256:00", "localhost:5000/catsdogs-serve"),
    ],
)
def test_a_tag_and_a_digest_are_no_part_of_a_repository(reference: str, name: str) -> None:
    assert repository(reference) == name


def test_the_folder_runs_where_nothing_else_of_this_repository_is(machine: OneMachine) -> None:
    """The folder is copied, as it is to a machine."""
    shutil.copytree(ROOT / "serving" / "hosting" / "compose_deploy", machine.directory / "compose_deploy")
    command = machine.command(machine.publish("first", machine.server("first")))
    command[command.index("serving.hosting.compose_deploy")] = "compose_deploy"
    environment = {name: value for name, value in machine.environment.items() if name != "PYTHONPATH"}
    done = subprocess.run([command[0], "-S", *command[1:]], cwd=machine.directory, env=environment, capture_output=True)
    assert done.returncode == PASS, done.stderr
