"""A server that was given a key: it serves a signed archive, and neither another nor one that was changed since."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from serving.health.heartbeats import live_workers, why
from serving.health.torchserve_client import UnixConnection
from serving.server.launch import Server
from serving.signature.model import sign, signature_of
from tests import zoo
from tests.archives import read_members, write_archive
from tests.e2e.support import PATH, start, wait_for
from tests.signing import Pair


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def signed(archive: Path, pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("signed") / "catsdogs.mar"
    path.hardlink_to(archive)
    sign(path, signature_of(path), pair.key)
    return path


@pytest.fixture(scope="module")
def server(signed: Path, pair: Pair) -> Iterator[Server]:
    with start(signed, workers=1, model_key=pair.public) as started:
        yield started


def test_a_signed_archive_is_served(server: Server) -> None:
    answer = httpx.post(f"{server.options.url}{PATH}", content=zoo.CAT.read_bytes(), trust_env=False, timeout=30)
    assert answer.json()["label"] == "cat"


def test_no_other_archive_can_be_registered(server: Server, archive: Path) -> None:
    """Not even by who has TorchServe's own token and its management socket."""
    private = server.run / "private"
    token = json.loads((private / "cwd" / "key_file.json").read_bytes())["management"]["key"]
    (private / "store" / "other.mar").write_bytes(archive.read_bytes())
    for url in ("other.mar", f"file://{archive}", "http://127.0.0.1:1/other.mar"):
        with closing(UnixConnection(private / "management.sock", 20)) as connection:
            query = f"/models?url={url}&model_name=other&initial_workers=1"
            connection.request("POST", query, headers={"Authorization": f"Bearer {token}"})
            assert connection.getresponse().status in (403, 404, 405), url


@pytest.mark.parametrize("verb", ["serve", "torchserve"])
def test_an_unsigned_one_is_refused_before_anything_starts(
    archive: Path, pair: Pair, tmp_path: Path, verb: str
) -> None:
    unsigned = tmp_path / "catsdogs.mar"
    unsigned.hardlink_to(archive)
    done = subprocess.run(
        [sys.executable, "-m", "catsdogs", verb, str(unsigned)],
        cwd=zoo.ROOT,
        env={**os.environ, "CATSDOGS_MODEL_KEY": str(pair.public)},
        capture_output=True,
        text=True,
    )
    reason = f"catsdogs: {unsigned}.sig is missing: the model is not signed. Sign it by: catsdogs sign\n"
    assert (done.returncode, done.stderr) == (2, reason)


def test_one_that_was_changed_after_it_was_signed_is_refused(signed: Path, pair: Pair, tmp_path: Path) -> None:
    changed = tmp_path / "catsdogs.mar"
    members = read_members(signed)
    write_archive(changed, members | {"handler/payload.py": members["handler/payload.py"] + b"\n"})
    signature_of(changed).write_bytes(signature_of(signed).read_bytes())
    done = subprocess.run(
        [sys.executable, "-m", "catsdogs", "serve", str(changed), "--model-key", str(pair.public)],
        cwd=zoo.ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"catsdogs: {changed} is not the archive that was signed: its sha256 is ")


def test_a_worker_that_starts_again_loads_nothing_that_was_changed_since(server: Server) -> None:
    """The last test of this server: it has no worker afterwards."""
    beats = server.run / "heartbeats"
    served = server.run / "private" / "store" / "catsdogs" / "handler" / "payload.py"
    (worker,) = live_workers(beats, time.time())
    with served.open("a") as file:
        file.write("\n")
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: "was changed after the archive was verified" in why(server.run), 60, "the next worker refuses")
    wait_for(lambda: not server.answers(), 10, "nothing is ready")
