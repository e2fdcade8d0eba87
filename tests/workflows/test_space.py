"""The script .ci/space: a folder replaces what a Space has, and the token reaches git alone."""

import base64
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.workflows.support import stand_in
from tests.zoo import ROOT

TOKEN = "hf_not_a_real_one"


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def spaces(tmp_path: Path) -> Path:
    """A folder of repositories in the place of Hugging Face, with the Space team/demo, which has a commit."""
    (tmp_path / "first").mkdir()
    git(tmp_path / "first", "init", "-q", "-b", "main")
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    git(tmp_path / "first", *who, "commit", "-q", "--allow-empty", "-m", "initial commit")
    git(tmp_path, "clone", "-q", "--bare", "first", "spaces/team/demo")
    return tmp_path / "spaces"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / ".gitattributes").write_text("*.onnx filter=lfs diff=lfs merge=lfs -text\n")
    (folder / "sub" / "network.onnx").write_bytes(bytes(range(256)))
    return folder


def push(folder: Path, name: str, remote: str, tools: Path, token: str = TOKEN) -> "subprocess.CompletedProcess[str]":
    """Run the script; git lfs is a program that does nothing, as it may not be here."""
    tools.mkdir(exist_ok=True)
    stand_in(tools, "git-lfs")
    environment = {
        **os.environ,
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "SPACE_REMOTE": remote,
        "HF_TOKEN": token,
        "GIT_TERMINAL_PROMPT": "0",
        "HOME": str(tools),
        "GIT_CONFIG_NOSYSTEM": "1",
        "no_proxy": "127.0.0.1",
    }
    command = [str(ROOT / ".ci" / "space"), str(folder), name]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@contextmanager
def refusing_server(seen: list[str | None]) -> Iterator[str]:
    """A server that asks for a login, and refuses it; it notes what it was told."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers["Authorization"])
            self.send_response(401 if self.headers["Authorization"] is None else 403)
            self.send_header("WWW-Authenticate", 'Basic realm="spaces"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_folder_replaces_what_the_space_has(folder: Path, spaces: Path, tmp_path: Path) -> None:
    for content in (b"one", b"two"):
        (folder / "sub" / "network.onnx").write_bytes(content)
        done = push(folder, "team/demo", str(spaces), tmp_path / "tools")
        assert done.returncode == 0, done.stderr
        git(tmp_path, "clone", "-q", str(spaces / "team" / "demo"), f"clone-{content.decode()}")
        clone = tmp_path / f"clone-{content.decode()}"
        assert (clone / "sub" / "network.onnx").read_bytes() == content
        assert git(clone, "ls-files").split() == [".gitattributes", "sub/network.onnx"]
        assert len(git(clone, "log", "--format=%H").split()) == 1
        assert TOKEN not in done.stdout + done.stderr
    assert not (folder / ".git").exists()


def test_the_token_is_given_where_a_login_is_asked_for(folder: Path, tmp_path: Path) -> None:
    seen: list[str | None] = []
    with refusing_server(seen) as remote:
        done = push(folder, "team/demo", remote, tmp_path / "tools")
    assert done.returncode != 0
    assert seen[:2] == [None, "Basic " + base64.b64encode(f"token:{TOKEN}".encode()).decode()]
    assert TOKEN not in done.stdout + done.stderr


@pytest.mark.parametrize("name", ["", "demo", "team/demo/x", "../demo", "-x/demo", "team/$(touch evil)"])
def test_what_names_no_space_is_refused(folder: Path, spaces: Path, tmp_path: Path, name: str) -> None:
    done = push(folder, name, str(spaces), tmp_path / "tools")
    assert done.returncode == 2
    assert "names no Space" in done.stderr
    assert not list(tmp_path.rglob("evil"))


def test_without_a_token_nothing_is_pushed(folder: Path, spaces: Path, tmp_path: Path) -> None:
    done = push(folder, "team/demo", str(spaces), tmp_path / "tools", token="")
    assert (done.returncode, "HF_TOKEN is not set" in done.stderr) == (2, True)
