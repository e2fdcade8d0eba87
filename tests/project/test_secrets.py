"""Keys of clouds that lie in the tree reach neither git, nor the images, the archive, the chart or a log."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import httpx
import pytest

from tests.e2e.support import PATH, start
from tests.image.test_dockerfiles import DOCKERFILES, copied, ignored
from tests.project.keys import Key, amazon, google
from tests.project.scratch import Clone
from tests.zoo import CAT, ROOT

GITLEAKS = ".venv-checks/bin/gitleaks"
# Where someone may put one: beside everything, and into each folder that goes into an image, an archive or a chart.
FOLDERS = (".", "training", "serving/server/config", "model-store/catsdogs", "requirements", "helm", ".aws")


@pytest.fixture(scope="module", params=[google, amazon], ids=["Google", "AWS"])
def key(request: pytest.FixtureRequest) -> Key:
    made: Key = request.param()
    return made


def plant(folder: Path, key: Key, name: str = "") -> list[str]:
    """Write a key into each folder of a tree; return the paths."""
    names = [str(Path(place) / (name or key.name)) for place in FOLDERS]
    for path in names:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(key.content)
    return names


# Git


def test_git_refuses_to_add_a_key_by_its_name(clone: Clone, key: Key) -> None:
    for name in plant(clone.folder, key):
        done = clone.run("git", "add", name)
        assert done.returncode != 0, name
        assert "ignored by one of your .gitignore files" in done.stderr
    clone.git("add", "--all")
    assert clone.git("status", "--porcelain") == ""


def test_the_hook_refuses_a_key_under_another_name_and_does_not_show_it(clone: Clone, key: Key) -> None:
    clone.write("docs/notes.txt", key.content)
    clone.git("add", "docs/notes.txt")
    before = clone.git("rev-parse", "HEAD")
    status, output = clone.commit()
    assert status == 1
    assert "leaks found" in output
    assert "docs/notes.txt" in output
    assert not key.is_in(output)
    assert clone.git("rev-parse", "HEAD") == before


def test_a_key_that_was_committed_once_is_found_in_the_history(clone: Clone, key: Key) -> None:
    start = clone.git("rev-parse", "HEAD").strip()
    for content in (key.content, "Nothing.\n"):
        clone.write("docs/notes.txt", content)
        clone.git("add", "docs/notes.txt")
        clone.git("commit", "--quiet", "--no-verify", "--message", "docs: notes")
    done = clone.run(GITLEAKS, "git", "--no-banner", "--redact", "--verbose", f"--log-opts={start}..HEAD", ".")
    assert done.returncode == 1
    assert "docs/notes.txt" in done.stdout
    assert not key.is_in(done.stdout + done.stderr)
    clone.git("reset", "--quiet", "--hard", start)


def test_the_whole_history_holds_no_secret() -> None:
    done = subprocess.run(["make", "-s", "secrets"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (scanned,) = re.findall(r"(\d+) commits scanned", done.stderr)
    assert int(scanned) >= commits_that_add_text()
    assert "no leaks found" in done.stderr


def commits_that_add_text() -> int:
    """Count the commits that a scanner has something of to read; a commit may only delete, or hold a picture."""
    command = ["git", "log", "--no-merges", "--numstat", "--format=tformat:@", "HEAD"]
    log = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return sum(bool(re.search(r"^[1-9]\d*\t", part, re.MULTILINE)) for part in log.split("@\n"))


def test_without_a_repository_no_history_is_called_clean(tmp_path: Path) -> None:
    variables = {**os.environ, "GIT_DIR": str(tmp_path)}
    done = subprocess.run(["make", "-s", "secrets"], cwd=ROOT, env=variables, capture_output=True, text=True)
    assert done.returncode == 2
    assert "no repository here" in done.stdout


def test_each_exception_has_a_reason() -> None:
    config = tomllib.loads((ROOT / ".gitleaks.toml").read_text())
    assert config["extend"] == {"useDefault": True}
    for exception in config.get("allowlists", []):
        assert len(exception["description"].split()) >= 5
        assert exception.get("paths") or exception.get("regexes") or exception.get("commits")


# Images


def test_no_key_reaches_docker(tmp_path: Path, key: Key) -> None:
    assert not ignored("training/config.yaml")
    assert [name for name in plant(tmp_path, key) if not ignored(name)] == []


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_a_key_under_another_name_stays_out_of_the_wheel_that_images_install(
    dockerfile: Path, tmp_path: Path, key: Key
) -> None:
    for source in copied(dockerfile):
        for path in [ROOT / source, *(ROOT / source).rglob("*")]:
            relative = path.relative_to(ROOT)
            if path.is_file() and not ignored(str(relative)):
                (tmp_path / relative).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, tmp_path / relative)
    for folder in ("", "training", "serving", "handler", "common"):
        (tmp_path / folder / "notes.txt").write_text(key.content)
    uv = str(Path(sys.executable).with_name("uv"))
    command = [uv, "build", "-q", "--wheel", "--no-build-isolation", "--offline", "-p", sys.executable, "-o", "dist"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    assert len(members(wheel)) > 100
    assert [name for name, data in members(wheel).items() if key.is_in(data)] == []


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


# The archive and the chart


def test_keys_beside_a_release_stay_out_of_its_archive(tmp_path: Path) -> None:
    keys, release, out = [google(), amazon()], tmp_path / "catsdogs", tmp_path / "out.mar"
    shutil.copytree(ROOT / "model-store" / "catsdogs", release)
    for number, key in enumerate(keys):
        for name in (key.name, f"notes-{number}.txt"):
            (release / name).write_text(key.content)
    command = [sys.executable, "-m", "catsdogs", "package", str(release), "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    packed = members(out)
    assert len(packed) > 10
    for key in keys:
        assert not key.is_in(done.stdout + done.stderr)
        assert [name for name, data in packed.items() if key.is_in(data)] == []


def test_a_key_in_the_charts_folder_stays_out_of_the_chart(tmp_path: Path, key: Key) -> None:
    chart = tmp_path / "helm"
    shutil.copytree(ROOT / "helm", chart)
    (chart / key.name).write_text(key.content)
    command = [str(ROOT / ".venv" / "bin" / "helm"), "package", str(chart), "--destination", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (made,) = tmp_path.glob("*.tgz")
    shutil.unpack_archive(made, tmp_path / "unpacked")
    files = [path for path in (tmp_path / "unpacked").rglob("*") if path.is_file()]
    assert len(files) > 20
    assert [path.name for path in files if key.is_in(path.read_bytes())] == []


# Logs


def test_keys_of_the_environment_are_in_no_log_and_no_answer(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    cloud, bucket = google(), amazon()
    (tmp_path / cloud.name).write_text(cloud.content)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / cloud.name))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", bucket.secrets[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", bucket.secrets[1])
    answers = []
    with start(archive, workers=1) as server:
        rest, metrics = server.options.url, f"http://127.0.0.1:{server.options.ports.metrics}"
        with httpx.Client(trust_env=False, timeout=30) as client:
            for body in (CAT.read_bytes(), b"no picture", b""):
                answers.append(client.post(f"{rest}{PATH}", content=body).text)
            for url in (f"{rest}/openapi.json", f"{rest}/v2/models/catsdogs", f"{metrics}/metrics", f"{metrics}/stats"):
                answers.append(client.get(url).raise_for_status().text)
        written = [path.read_text() for path in (server.run / "logs").rglob("*") if path.is_file()]
    written += [*capfd.readouterr(), *answers]
    assert any("model_id" in text or "catsdogs" in text for text in written)
    assert [text for text in written if cloud.is_in(text) or bucket.is_in(text)] == []


@pytest.mark.parametrize("source", ["s3://models/catsdogs.mar", "http://127.0.0.1:9/catsdogs.mar"])
def test_a_download_that_fails_does_not_print_the_keys_it_used(tmp_path: Path, source: str) -> None:
    bucket = amazon()
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "AWS_ACCESS_KEY_ID": bucket.secrets[0],
        "AWS_SECRET_ACCESS_KEY": bucket.secrets[1],
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
        "AWS_REGION": "eu-north-1",
    }
    options = ["--sha256", "0" * 64, "--timeout", "1"]
    command = [sys.executable, "-m", "catsdogs", "fetch", source, str(tmp_path / "out.mar"), *options]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert "127.0.0.1" in done.stderr
    assert not bucket.is_in(done.stdout + done.stderr)
