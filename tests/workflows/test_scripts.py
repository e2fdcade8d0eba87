"""The scripts of .ci, as the workflows call them."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.workflows.support import calls, stand_in
from tests.zoo import ROOT

CI = ROOT / ".ci"
DIGEST = "sha256:" + "0123456789abcdef" * 4


def run(*command: str | Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")}
    return subprocess.run(
        [str(word) for word in command], cwd=ROOT, env={**environment, **variables}, capture_output=True, text=True
    )


def path_with(folder: Path) -> str:
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def test_a_timed_command_leaves_a_line_on_the_jobs_page(tmp_path: Path) -> None:
    page = tmp_path / "summary.md"
    done = run(CI / "timed", "Quick start", "echo", "started", GITHUB_STEP_SUMMARY=str(page))
    assert done.returncode == 0
    assert re.fullmatch(r"started\nQuick start: \d+ s\n", done.stdout)
    assert re.fullmatch(r"- Quick start: \d+ s\n", page.read_text())


def test_a_timed_command_that_fails_ends_with_its_status() -> None:
    done = run(CI / "timed", "Quick start", "sh", "-c", "exit 7")
    assert done.returncode == 7
    assert re.fullmatch(r"Quick start: \d+ s, failed with exit status 7\n", done.stdout)


@pytest.mark.parametrize(
    ("image", "name", "options"),
    [
        ("cpu", "catsdogs-serve:1.2.3-cpu", "-f Dockerfile.serve --target cpu --build-arg BASE=debian:"),
        ("load", "catsdogs-serve:1.2.3-load", "-f Dockerfile.serve --target load --build-arg BASE=debian:"),
        ("train", "catsdogs-train:1.2.3", "-f Dockerfile.train --build-arg BASE=python:"),
    ],
)
def test_an_image_is_built_on_what_is_pinned(image: str, name: str, options: str, tmp_path: Path) -> None:
    stand_in(tmp_path, "docker", "echo building")
    done = run(CI / "image", image, PATH=path_with(tmp_path), VERSION="1.2.3", REGISTRY="ghcr.io/team/")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"ghcr.io/team/{name}\n"
    (call,) = calls(tmp_path)
    assert call.startswith(f"docker build {options}")
    assert call.endswith(f"--build-arg VERSION=1.2.3 -t ghcr.io/team/{name} .")


@pytest.mark.parametrize("arguments", [(), ("tpu",)])
def test_an_unknown_image_is_refused(arguments: tuple[str, ...]) -> None:
    done = run(CI / "image", *arguments)
    assert done.returncode == 2
    assert "usage" in done.stderr


@pytest.mark.parametrize(
    ("image", "listed"),
    [
        ("ghcr.io/team/catsdogs-serve:1.2.3-cpu", "ghcr.io/team/catsdogs-serve"),
        ("docker.io/me/catsdogs-serve:1.2.3-cpu", "me/catsdogs-serve"),
        ("127.0.0.1:5000/catsdogs-train:1.2.3", "127.0.0.1:5000/catsdogs-train"),
    ],
)
def test_a_pushed_image_is_named_by_its_digest(image: str, listed: str, tmp_path: Path) -> None:
    # Pushed elsewhere before: docker lists all of an image's names.
    listing = f'[ "$1" = push ] || printf "%s\\n" other/name@sha256:beef {listed}@{DIGEST}'
    stand_in(tmp_path, "docker", listing)
    outputs = tmp_path / "outputs"
    done = run(CI / "publish", "image", image, PATH=path_with(tmp_path), GITHUB_OUTPUT=str(outputs))
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{listed}@{DIGEST}\n"
    assert outputs.read_text() == f"name={listed}\ndigest={DIGEST}\n"
    assert calls(tmp_path)[0] == f"docker push --quiet {image}"


def test_an_image_without_a_digest_is_not_taken_for_published(tmp_path: Path) -> None:
    stand_in(tmp_path, "docker")
    done = run(CI / "publish", "image", "ghcr.io/team/catsdogs-serve:1.2.3-cpu", PATH=path_with(tmp_path))
    assert done.returncode == 1
    assert "No digest came back" in done.stderr


@pytest.mark.parametrize("command", ["publish", "publish image", "publish chart a.tgz", "propose", "propose none.lock"])
def test_without_its_arguments_a_script_says_how_it_is_used(command: str, tmp_path: Path) -> None:
    script, *arguments = command.split()
    for name in ("docker", "git", "gh"):
        stand_in(tmp_path, name)
    done = run(CI / script, *arguments, PATH=path_with(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith("usage: ")
    assert calls(tmp_path) == []


@pytest.mark.parametrize(("target", "variable"), [("sbom", "IMAGE"), ("validate", "URL"), ("drift", "URL")])
def test_a_target_without_what_it_is_about_says_what_to_name(target: str, variable: str) -> None:
    done = run("make", "--silent", target, IMAGE="", URL="")
    assert done.returncode == 2
    # Where an environment is older than what it has, it is set up first, with a line.
    assert done.stdout.splitlines()[-1].startswith("Name ")
    assert f"make {target} {variable}=" in done.stdout


@pytest.mark.parametrize(
    ("last", "made"),
    [
        ("demo", ["demo"]),
        ("test-servers", ["demo", "demo", "environments", "test-computing --keep-going", "test-servers"]),
    ],
)
def test_the_local_ci_is_stopped_after_its_limit_with_all_it_has_started(
    last: str, made: list[str], tmp_path: Path
) -> None:
    tools = tmp_path / "tools"
    for folder in (tools, tmp_path / ".ci"):
        folder.mkdir()
    shutil.copy(CI / "run", tmp_path / ".ci" / "run")
    for name in ("chromium", "promtool", "apt-get"):
        stand_in(tools, name)
    # What it makes ends at once, but for the last and what runs beside it.
    script = f'case $1 in {last} | test-computing) echo $$ >>"{tools}/running"; exec sleep 300 ;; esac'
    stand_in(tools, "make", script)
    done = run(tmp_path / ".ci" / "run", PATH=path_with(tools), CATSDOGS_CI_LIMIT="2")
    assert done.returncode == 124
    assert done.stdout.splitlines()[-1] == "Stopped, by a signal or after 2 s. Skipped: all that would have followed."
    assert sorted(call for call in calls(tools) if call.startswith("make")) == [f"make {name}" for name in made]
    for number in map(int, (tools / "running").read_text().split()):
        with pytest.raises(ProcessLookupError):
            os.kill(number, 0)


@pytest.mark.parametrize("name", ["", "../x", "a b", "$(id)", "-x"])
def test_the_name_of_a_champion_is_a_name(name: str) -> None:
    done = run(CI / "champion", name, CATSDOGS="false")
    assert done.returncode == 2
    assert "usage" in done.stderr


@pytest.mark.parametrize("script", ["data", "retrain"])
def test_without_versioned_data_a_script_says_how_to_begin(script: str, tmp_path: Path) -> None:
    done = run(CI / script, CATSDOGS_PROJECT=str(tmp_path))
    assert done.returncode == 2
    assert "docs/how-to/version-data.md" in done.stderr


def test_each_script_is_sound_for_shellcheck() -> None:
    scripts = [*CI.iterdir(), *(ROOT / "tests" / "cluster" / name for name in ("run", "images", "kind"))]
    assert len(scripts) > 10
    done = run(ROOT / ".venv-workflows" / "bin" / "shellcheck", "--severity=warning", *scripts)
    assert done.returncode == 0, done.stdout
