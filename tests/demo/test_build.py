"""The demo's folder: whole, small, the same each time, and without an address of another site that would be asked."""

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from serving.demo.build import main as build
from serving.demo.index import POLICY
from tests.archives import read_members
from tests.zoo import ROOT

LOCK = ROOT / "serving" / "demo" / "package-lock.json"


def digests(folder: Path) -> dict[str, str]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_the_same_archive_gives_the_same_bytes(folder: Path, archive: Path, onnxruntime: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    build([str(again), "--archive", str(archive), "--onnxruntime", str(onnxruntime)])
    assert digests(again) == digests(folder)


def test_the_network_is_that_of_the_archive_in_one_file_with_one_more_output(folder: Path, archive: Path) -> None:
    facts = json.loads((folder / "model.json").read_text())
    network = (folder / facts["files"]["network"]["name"]).read_bytes()
    packed = read_members(archive)["model.onnx"]
    assert network.startswith(packed)
    assert len(network) < len(packed) + 100
    assert b"model.safetensors" not in network
    assert facts["head"]["tensor"].encode() in network.removeprefix(packed)


def test_the_folder_takes_less_than_40_megabytes(folder: Path) -> None:
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 40e6


def test_each_address_in_the_page_and_its_modules_is_a_file_of_the_folder(folder: Path) -> None:
    named = {folder / "index.html": re.findall(r'(?:href|src)="([^"]+)"', (folder / "index.html").read_text())}
    assert set(named[folder / "index.html"]) >= {"page.js", "demo.js", "page.css", "demo.css"}
    for path in [*folder.glob("*.js"), *folder.glob("compute/*.js")]:
        named[path] = re.findall(r'^import .* from "([^"]+)";', path.read_text(), re.MULTILINE)
    assert named[folder / "compute" / "worker.js"]
    missing = [(path.name, name) for path in named for name in named[path] if not (path.parent / name).is_file()]
    assert missing == []


def test_the_policy_allows_this_origin_alone_and_no_evaluation_but_that_of_webassembly() -> None:
    directives = {words[0]: set(words[1:]) for words in (part.split() for part in POLICY.split(";"))}
    assert directives["default-src"] == {"'none'"}
    assert directives["script-src"] == {"'self'", "'wasm-unsafe-eval'"}
    assert set().union(*directives.values()) == {"'none'", "'self'", "'wasm-unsafe-eval'", "blob:"}


def test_a_static_space_finds_what_it_needs(folder: Path) -> None:
    _, text, _ = (folder / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(text)["sdk"] == "static"
    large = {path.suffix for path in folder.rglob("*") if path.is_file() and path.stat().st_size > 10e6}
    patterns = (folder / ".gitattributes").read_text().splitlines()
    assert large <= {line.split()[0].removeprefix("*") for line in patterns if "filter=lfs" in line}


def test_the_lock_has_the_sha512_of_each_package_and_no_address() -> None:
    packages = json.loads(LOCK.read_text())["packages"]
    packages.pop("")
    assert "node_modules/onnxruntime-web" in packages
    assert all(package["integrity"].startswith("sha512-") for package in packages.values())
    assert "http" not in LOCK.read_text()


def test_without_npm_make_says_what_to_install(tmp_path: Path) -> None:
    environment = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    command = [str(shutil.which("make")), f"{tmp_path}/package/.installed", f"ONNXRUNTIME_WEB={tmp_path}/package"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode != 0
    assert "The demo needs npm, which fetches onnxruntime-web: install Node.js 20 or newer." in done.stdout


def test_a_folder_of_something_else_is_left_as_it_is(tmp_path: Path, onnxruntime: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(SystemExit) as stopped:
        build([str(tmp_path), "--onnxruntime", str(onnxruntime)])
    assert stopped.value.code == 2
    assert (tmp_path / "notes").read_text() == "mine"


def test_without_the_package_or_an_archive_the_folder_before_stays(
    folder: Path, onnxruntime: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(folder, tmp_path / "site")
    before = digests(tmp_path / "site")
    (tmp_path / "broken.mar").write_bytes(b"no archive")
    broken = ["--archive", str(tmp_path / "broken.mar"), "--onnxruntime", str(onnxruntime)]
    for options in (["--onnxruntime", str(tmp_path / "nothing")], broken):
        with pytest.raises(SystemExit):
            build([str(tmp_path / "site"), *options])
    assert "make web-demo" in capsys.readouterr().err
    assert digests(tmp_path / "site") == before
