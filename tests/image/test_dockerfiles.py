"""Dockerfiles copy the files that the wheel needs. Without docker, and in seconds."""

import fnmatch
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

from tests.zoo import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PROJECT["tool"]["setuptools"]
# Run from a checkout alone.
NOT_SHIPPED = {
    "loadtest.monitoring_cost",
    "loadtest.rivals",
    "loadtest.rivals.stock",
    "loadtest.scaling",
    "loadtest.stages",
    "serving.demo",
    "serving.hosting",
    "serving.hosting.cloud_run",
    "serving.hosting.compose_deploy",
    "serving.hosting.gradio_space",
    "training.notebooks",
}
DOCKERFILES = sorted(ROOT.glob("Dockerfile.*"))
each = pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)


def instructions(dockerfile: Path) -> list[str]:
    """Its lines, those that go on on the next one joined."""
    text = re.sub(r"^\s*#.*\n", "", dockerfile.read_text(), flags=re.MULTILINE)
    return [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]


def copied(dockerfile: Path) -> list[str]:
    """Files that the stage which builds the wheel copies from the tree."""
    stages: list[list[str]] = []
    for line in instructions(dockerfile):
        if line.startswith("FROM "):
            stages.append([])
        if stages:
            stages[-1].append(line)
    (stage,) = (lines for lines in stages if any("uv build" in line for line in lines))
    copies = (line.split()[1:-1] for line in stage if line.startswith("COPY ") and "--from" not in line)
    return [source for sources in copies for source in sources]


def ignored(path: str) -> bool:
    """Whether .dockerignore keeps a file from docker: its last line that fits decides."""
    kept = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!")
        if not pattern or pattern.startswith("#"):
            continue
        parts = path.split("/")
        whole = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
        names = parts if pattern.startswith("**/") else whole
        if any(fnmatch.fnmatchcase(name, pattern.removeprefix("**/")) for name in names):
            kept = line.startswith("!")
    return not kept


@each
def test_each_package_is_copied(dockerfile: Path) -> None:
    needed = {name.partition(".")[0] for name in SETUPTOOLS["packages"]}
    needed |= {f"{name}.py" for name in SETUPTOOLS["py-modules"]} | {"pyproject.toml", PROJECT["project"]["readme"]}
    assert set(copied(dockerfile)) == needed


@each
def test_everything_that_is_copied_is_there_and_reaches_docker(dockerfile: Path) -> None:
    sources = [
        source
        for line in instructions(dockerfile)
        if line.startswith("COPY ") and "--from" not in line
        for source in line.split()[1:-1]
    ]
    assert len(sources) > 5
    for source in sources:
        assert (ROOT / source).exists(), source
        assert not ignored(source), source


def test_every_folder_of_code_is_a_package_that_is_named() -> None:
    named = set(SETUPTOOLS["packages"])
    data = [f"{package}/{pattern}" for package, patterns in SETUPTOOLS["package-data"].items() for pattern in patterns]
    for top in {name.partition(".")[0] for name in named}:
        for path in (ROOT / top).rglob("*.py"):
            relative = path.relative_to(ROOT)
            package = ".".join(relative.parent.parts)
            is_data = any(fnmatch.fnmatch(str(relative), pattern) for pattern in data)
            assert package in named | NOT_SHIPPED or is_data, f"{package} is no package in pyproject.toml"


@pytest.fixture(scope="module", params=DOCKERFILES, ids=lambda path: path.name)
def wheel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that a Dockerfile builds: of exactly what it copies, by its command."""
    folder = tmp_path_factory.mktemp("context")
    for source in copied(request.param):
        for path in [ROOT / source, *(ROOT / source).rglob("*")]:
            relative = str(path.relative_to(ROOT))
            if path.is_file() and not ignored(relative):
                (folder / relative).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, folder / relative)
    uv = str(Path(sys.executable).with_name("uv"))
    command = [uv, "build", "-q", "--wheel", "--no-build-isolation", "--offline", "-p", sys.executable, "-o", "dist"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (made,) = (folder / "dist").glob("*.whl")
    return made


def test_the_wheel_has_the_code_and_the_data_of_every_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for package in SETUPTOOLS["packages"]:
        folder = ROOT.joinpath(*package.split("."))
        for path in folder.glob("*.py"):
            assert str(path.relative_to(ROOT)) in names
        for pattern in SETUPTOOLS["package-data"].get(package, ()):
            files = [path for path in folder.glob(pattern) if path.is_file() and path.suffix != ".pyc"]
            assert files, f"{package}: there is nothing that is called {pattern}"
            assert {str(path.relative_to(ROOT)) for path in files} <= names


def test_what_is_in_the_wheel_can_be_imported(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    modules = [*SETUPTOOLS["packages"], *SETUPTOOLS["py-modules"]]
    script = f"""
import importlib, sys
sys.path.insert(0, {str(tmp_path)!r})
for name in {modules!r}:
    module = importlib.import_module(name)
    assert {str(tmp_path)!r} in str(module.__file__ or list(module.__path__)), module
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# What they are built on


def pinned() -> dict[str, str]:
    lines = (ROOT / "requirements" / "base-images.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if not line.startswith("#"))


def test_the_tags_that_are_built_on_by_default_are_those_that_are_pinned() -> None:
    tags = {name: image.partition("@")[0] for name, image in pinned().items()}
    for dockerfile, name in (("Dockerfile.serve", "SERVE_BASE"), ("Dockerfile.train", "TRAIN_BASE")):
        (default,) = re.findall(r"^ARG BASE=(\S+)$", (ROOT / dockerfile).read_text(), re.MULTILINE)
        assert default == tags[name]
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert services["serve"]["build"]["args"]["BASE"] == f"${{SERVE_BASE:-{tags['SERVE_BASE']}}}"
    assert services["prometheus"]["image"] == f"${{PROMETHEUS:-{tags['PROMETHEUS']}}}"


@each
def test_nothing_else_is_built_on(dockerfile: Path) -> None:
    own = set()
    for line in instructions(dockerfile):
        if match := re.fullmatch(r"FROM (\S+)(?: AS (\S+))?", line):
            # root-${ROOT} is one of two stages; scratch is empty.
            assert match[1] in {"${BASE}", "scratch"} or match[1].replace("${ROOT}", "trimmed") in own
            own.add(match[2])
    assert len(own) > 2


def test_the_makefile_builds_on_what_is_pinned() -> None:
    lines = [line for line in (ROOT / "Makefile").read_text().splitlines() if "docker build" in line]
    assert len(lines) == 2
    assert all(re.search(r"--build-arg BASE=\$\((SERVE|TRAIN)_BASE\)", line) for line in lines)
