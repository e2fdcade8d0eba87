"""A release, made here: notes of a small repository, its files, and the chart in a registry."""

import hashlib
import json
import os
import re
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from docs import release_notes
from tests.helm.support import helm
from tests.workflows.registry import digest, registry
from tests.zoo import ROOT

CHANGELOG = """# Changelog

## [Unreleased]

- Not yet.

## [0.2.0] - 2026-11-29

- Server: a new page ([page](docs/page.md), [elsewhere](https://example.com)).

## [0.1.0]

- The first.
"""
COMMITS = ["gateway: answer 413 before reading the body", "docs: a page", "gateway: close idle connections", "Tidy up"]


def git(folder: Path, *arguments: str) -> None:
    who = {f"GIT_{role}_{what}": "a@b.c" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {**os.environ, **who, "GIT_CONFIG_GLOBAL": os.devnull}
    subprocess.run(["git", *arguments], cwd=folder, env=environment, check=True, capture_output=True)


def commit(folder: Path, subject: str) -> None:
    git(folder, "add", ".")
    git(folder, "commit", "--allow-empty", "-m", subject)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository whose last release is v0.1.0, with four commits since then."""
    (tmp_path / "helm").mkdir()
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "catsdogs"\nversion = "0.2.0"\n')
    (tmp_path / "helm" / "Chart.yaml").write_text('version: 0.2.0\nappVersion: "0.2.0"\n')
    for name in ("Dockerfile.serve", "Dockerfile.train"):
        (tmp_path / name).write_text("ARG BASE=debian\nARG VERSION=0.2.0\n")
    for name in release_notes.NAMING:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("image: catsdogs-serve:0.2.0-cpu\n")
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    git(tmp_path, "init", "-q", "-b", "main")
    commit(tmp_path, "Begin")
    git(tmp_path, "tag", "v0.1.0")
    for subject in COMMITS:
        commit(tmp_path, subject)
    return tmp_path


def write(repository: Path, version: str = "0.2.0", *options: str) -> tuple[int, str]:
    out = repository / "out" / "notes.md"
    status = release_notes.main([version, "--root", str(repository), "--out", str(out), *options])
    return status, out.read_text() if out.exists() else ""


@pytest.mark.parametrize("version", ["0.2.0", "v0.2.0"])
def test_notes_have_the_section_and_the_commits_by_area(repository: Path, version: str) -> None:
    status, notes = write(repository, version)
    assert status == 0
    head, _, details = notes.partition("<details>")
    assert head.strip() == "- Server: a new page ([page](docs/page.md), [elsewhere](https://example.com))."
    assert "4 commits since v0.1.0" in details
    assert re.findall(r"^\*\*(.*)\*\*$", details, re.MULTILINE) == ["docs", "gateway", "other"]
    assert re.findall(r"^- (.*) \([0-9a-f]{7,}\)$", details, re.MULTILINE) == [
        "a page",
        "answer 413 before reading the body",
        "close idle connections",
        "Tidy up",
    ]


def test_links_of_notes_lead_to_the_tags_files(repository: Path) -> None:
    _, notes = write(repository, "0.2.0", "--url", "https://forge.example/team/catsdogs")
    assert "[page](https://forge.example/team/catsdogs/blob/v0.2.0/docs/page.md)" in notes
    assert "[elsewhere](https://example.com)" in notes


def test_notes_of_a_tagged_commit_begin_at_the_tag_before(repository: Path) -> None:
    git(repository, "tag", "v0.2.0")
    _, notes = write(repository)
    assert "4 commits since v0.1.0" in notes


def test_notes_of_the_first_release_have_every_commit(repository: Path) -> None:
    git(repository, "tag", "--delete", "v0.1.0")
    _, notes = write(repository)
    assert "5 commits since the beginning" in notes


def test_notes_of_a_shallow_clone_say_that_commits_are_missing(repository: Path, tmp_path: Path) -> None:
    shallow = tmp_path / "shallow"
    git(repository, "clone", "--quiet", "--depth=1", f"file://{repository}", str(shallow))
    status, notes = write(shallow)
    assert status == 0
    assert "1 commits since this clone's history was cut off" in notes


@pytest.mark.parametrize("version", ["", "v", "next", "0.2"])
def test_what_is_no_version_is_refused(repository: Path, version: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert write(repository, version) == (2, "")
    assert "is no version such as 0.2.0" in capsys.readouterr().err


def test_a_commit_that_is_not_there_is_a_sentence(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert write(repository, "0.2.0", "--commit", "nowhere") == (2, "")
    assert "nowhere" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("pyproject.toml", "0.2.0", "0.3.0", "pyproject.toml (0.3.0)"),
        ("helm/Chart.yaml", 'appVersion: "0.2.0"', 'appVersion: "0.1.0"', "helm/Chart.yaml, appVersion (0.1.0)"),
        ("Dockerfile.train", "VERSION=0.2.0", "VERSION=0.1.0", "Dockerfile.train (0.1.0)"),
        ("compose.yaml", "0.2.0", "0.1.0", "compose.yaml (0.1.0)"),
        ("CHANGELOG.md", "## [0.2.0] - 2026-11-29", "## [0.2]", "CHANGELOG.md has no section for 0.2.0"),
        ("CHANGELOG.md", "- Server: a new page", "", "the section"),
    ],
)
def test_a_release_that_is_not_ready_is_refused(
    repository: Path, file: str, old: str, new: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (repository / file).read_text()
    if message == "the section":
        text = re.sub(r"(## \[0\.2\.0\][^\n]*\n).*(## \[0\.1\.0\])", r"\1\n\2", text, flags=re.DOTALL)
        message = "CHANGELOG.md says nothing of 0.2.0"
    (repository / file).write_text(text.replace(old, new))
    status, notes = write(repository)
    assert (status, notes) == (2, "")
    assert message in capsys.readouterr().err


def test_the_versions_of_this_repository_agree() -> None:
    assert len(set(release_notes.stated_versions(ROOT).values())) == 1


def make_files(out: Path) -> list[str]:
    environment = {**os.environ, "OUT": str(out), "HELM": helm()}
    done = subprocess.run([ROOT / ".ci" / "release-files"], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("release") / "files"
    make_files(out)
    return out


def test_a_release_has_an_archive_its_bill_of_materials_the_model_and_the_chart(files: Path) -> None:
    version = release_notes.stated_versions(ROOT)["pyproject.toml"]
    ends = (".bom.cdx.json", ".mar", ".tgz", "-release.tar.gz")
    assert {path.name for path in files.iterdir()} == {"SHA256SUMS", *(f"catsdogs-{version}{end}" for end in ends)}
    sums = dict(line.split("  ")[::-1] for line in (files / "SHA256SUMS").read_text().splitlines())
    assert {name: hashlib.sha256((files / name).read_bytes()).hexdigest() for name in sums} == sums
    assert len(sums) == 4
    with zipfile.ZipFile(files / f"catsdogs-{version}.mar") as archive:
        assert archive.read("bom.cdx.json") == (files / f"catsdogs-{version}.bom.cdx.json").read_bytes()
    assert json.loads((files / f"catsdogs-{version}.bom.cdx.json").read_text())["bomFormat"] == "CycloneDX"
    with tarfile.open(files / f"catsdogs-{version}-release.tar.gz") as model:
        assert f"catsdogs-{version}/model-store/catsdogs/release.json" in model.getnames()


def test_a_release_made_again_has_the_same_archive_and_model(files: Path, tmp_path: Path) -> None:
    make_files(tmp_path / "again")
    for pattern in ("*.mar", "*-release.tar.gz", "*.json"):
        (path,) = files.glob(pattern)
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


def test_a_pushed_chart_is_named_by_the_digest_that_the_registry_has(files: Path, tmp_path: Path) -> None:
    (chart,) = files.glob("*.tgz")
    outputs = tmp_path / "outputs"
    environment = {**os.environ, "GITHUB_OUTPUT": str(outputs), "HELM": helm(), "HELM_REGISTRY_CONFIG": os.devnull}
    with registry() as (address, stored):
        command = [str(ROOT / ".ci" / "publish"), "chart", str(chart), f"oci://{address}/charts", "--plain-http"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    manifest = stored[f"/v2/charts/catsdogs/manifests/{chart.stem.removeprefix('catsdogs-')}"]
    assert done.stdout == f"{address}/charts/catsdogs@{digest(manifest)}\n"
    assert outputs.read_text() == f"name={address}/charts/catsdogs\ndigest={digest(manifest)}\n"
    layers = [layer["digest"] for layer in json.loads(manifest)["layers"]]
    assert digest(chart.read_bytes()) in layers
