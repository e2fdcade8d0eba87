"""Tests of the contents of the serving image. `make e2e` builds it; CATSDOGS_IMAGE names it."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.zoo import CAT

IMAGE = os.environ.get("CATSDOGS_IMAGE", "catsdogs-serve:e2e")
MOST_BYTES = 510_000_000
CLOSED = ["--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"]
WRITABLE = "--tmpfs=/run/catsdogs:mode=0700,uid=10001,gid=10001,exec"


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def python(script: str) -> str:
    """Run a script in the image, without a network and with nothing to write to, and return its output."""
    return docker("run", "--rm", "--network=none", *CLOSED, "--entrypoint=python", IMAGE, "-c", script).strip()


@pytest.fixture(scope="module")
def facts() -> dict[str, Any]:
    (image,) = json.loads(docker("image", "inspect", IMAGE))
    return dict(image)


@pytest.fixture(scope="module")
def container() -> Iterator[str]:
    """One that serves, closed as in a pod."""
    name = docker("run", "--detach", "--network=none", *CLOSED, WRITABLE, IMAGE).strip()
    try:
        deadline = time.monotonic() + 60
        while subprocess.run(["docker", "exec", name, "catsdogs", "probe", "ready"], capture_output=True).returncode:
            assert time.monotonic() < deadline, docker("logs", name)
            time.sleep(0.2)
        yield name
    finally:
        docker("rm", "--force", name)


def test_it_is_small(facts: dict[str, Any]) -> None:
    assert facts["Size"] <= MOST_BYTES


def test_its_user_is_a_number_that_is_not_roots(facts: dict[str, Any]) -> None:
    assert facts["Config"]["User"] == "10001:10001"


def test_both_users_of_a_pod_have_a_name_and_share_a_group() -> None:
    script = "import pwd; print([(one.pw_name, one.pw_gid) for one in map(pwd.getpwuid, (10001, 10002))])"
    assert python(script) == "[('catsdogs', 10001), ('catsdogs-gateway', 10001)]"


def test_it_says_what_it_is(facts: dict[str, Any]) -> None:
    labels = facts["Config"]["Labels"]
    assert labels["org.opencontainers.image.title"] == "catsdogs"
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert labels["org.opencontainers.image.version"] == python(
        "import importlib.metadata as m; print(m.version('catsdogs'))"
    )


def test_it_holds_nothing_that_only_builds_or_trains() -> None:
    packages = (
        "torch",
        "torchvision",
        "sklearn",
        "matplotlib",
        "onnx",
        "pydantic",
        "pip",
        "setuptools",
        "uv",
        "pytest",
    )
    script = f"import importlib.util as u; print([name for name in {packages} if u.find_spec(name)])"
    assert python(script) == "[]"
    commands = ("gcc", "cc", "g++", "make", "ld", "pip", "pip3", "uv", "git", "curl", "wget", "go", "rustc", "node")
    assert python(f"import shutil; print([name for name in {commands} if shutil.which(name)])") == "[]"


def test_of_the_base_it_holds_what_runs_python_and_what_kubectl_exec_and_cp_need() -> None:
    script = "import shutil; print([name for name in {names} if shutil.which(name)])"
    assert python(script.format(names=("apt", "apt-get", "perl", "bash", "su", "mount", "mkfs", "useradd"))) == "[]"
    needed = ["sh", "tar", "cat", "ls", "grep", "getent"]
    assert python(script.format(names=needed)) == str(needed)


def test_no_library_lacks_one_that_it_needs() -> None:
    script = """
import glob, os, subprocess
(loader,) = glob.glob("/lib*/ld-linux-*")
for folder, _, files in os.walk("/opt/venv"):
    for name in files:
        if ".so" in name:
            path = os.path.join(folder, name)
            listed = subprocess.run([loader, "--list", path], capture_output=True, text=True).stdout
            missing = {line.split()[0] for line in listed.splitlines() if "not found" in line}
            # Java has loaded these two when it loads its others.
            if missing - {"libjvm.so", "libjli.so"}:
                print(path, missing)
"""
    assert python(script) == ""


def test_it_holds_no_secrets(facts: dict[str, Any]) -> None:
    forbidden = ("KEY", "TOKEN", "SECRET", "PASSWORD", "INDEX_URL", "PROXY")
    assert [
        variable for variable in facts["Config"]["Env"] if any(word in variable.partition("=")[0] for word in forbidden)
    ] == []
    script = """
import os
names = {".env", ".git", ".netrc", ".pypirc", "id_rsa", "id_ed25519", "credentials"}
for folder, folders, files in os.walk("/"):
    if folder in ("/proc", "/sys", "/dev"):
        folders.clear()
        continue
    for name in names & {*folders, *files} | {one for one in files if one.endswith(".key")}:
        print(os.path.join(folder, name))
"""
    assert python(script) == ""


def test_no_file_of_it_can_be_changed_by_its_user() -> None:
    script = """
import os
for folder, folders, files in os.walk("/"):
    if folder in ("/proc", "/sys", "/dev"):
        folders.clear()
        continue
    for name in files:
        path = os.path.join(folder, name)
        if not os.path.islink(path) and (os.stat(path).st_uid == os.getuid() or os.stat(path).st_mode & 0o002):
            print(path)
"""
    assert python(script) == ""


def test_it_serves_with_a_root_that_is_read_only_and_no_network(container: str) -> None:
    output = docker(
        "exec", container, "catsdogs", "check", "--grpc=127.0.0.1:7070", "--metrics=http://127.0.0.1:8082/metrics"
    )
    assert "FAIL" not in output
    assert f"{CAT.name} is a cat by REST" in output


def test_java_starts_from_its_cache_of_classes(container: str) -> None:
    script = """
import pathlib
maps = [path.read_text() for path in pathlib.Path("/proc").glob("[0-9]*/maps")]
print(["torchserve.aot" in one for one in maps if "libjvm.so" in one])
"""
    assert docker("exec", container, "python", "-c", script).strip() == "[True]"


def test_a_folder_in_which_nothing_may_be_run_is_one_sentence() -> None:
    writable = WRITABLE.replace("exec", "noexec")
    done = subprocess.run(["docker", "run", "--rm", *CLOSED, writable, IMAGE], capture_output=True, text=True)
    assert done.returncode == 2
    assert "is mounted noexec: mount it with exec" in done.stderr
    assert "Traceback" not in done.stderr


def test_it_stops_when_it_is_told_to(container: str) -> None:
    started = time.monotonic()
    docker("stop", "--time=30", container)
    assert time.monotonic() - started < 20, "it was killed"
    assert json.loads(docker("inspect", container))[0]["State"]["ExitCode"] == 0
