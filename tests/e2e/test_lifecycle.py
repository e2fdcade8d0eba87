"""Stopping and being killed, as a person, an init system or the kernel would do it."""

import http.client
import json
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import httpx
import psutil
import pytest

from tests import zoo
from tests.e2e.support import PATH, command, wait_for


def family(child: "subprocess.Popen[str]") -> list[psutil.Process]:
    """Everything that the launcher started, at any depth: Java, its workers, Caddy, the janitor."""
    children = psutil.Process(child.pid).children(recursive=True)
    assert len(children) >= 5
    return children


def is_alive(process: psutil.Process) -> bool:
    """A zombie has ended; only its new parent has not asked for its status yet."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def run_folder(processes: list[psutil.Process]) -> Path:
    prefix = "-Djava.io.tmpdir="
    (folder,) = {word for process in processes for word in process.cmdline() if word.startswith(prefix)}
    return Path(folder.removeprefix(prefix)).parent


def post_until_told_to_leave(port: int, results: "Counter[str]", stop: threading.Event) -> None:
    """A keep-alive client without pause: leaves when an answer says so, as a balancer would make it."""
    body = zoo.CAT.read_bytes()
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        while not stop.is_set():
            try:
                connection.request("POST", PATH, body)
                response = connection.getresponse()
                response.read()
            except (OSError, http.client.HTTPException) as error:
                results[f"lost: {error!r}"] += 1
                return
            results[str(response.status)] += 1
            if response.getheader("Connection") == "close":
                results["told to leave"] += 1
                return


@pytest.mark.slow
def test_twenty_stops_lose_no_request(archive: Path) -> None:
    for _ in range(20):
        stop_under_load(archive, signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopping_loses_no_request_of_keep_alive_clients(archive: Path, number: signal.Signals) -> None:
    stop_under_load(archive, number)


def stop_under_load(archive: Path, number: signal.Signals) -> None:
    with command(str(archive)) as (child, port, _):
        results: Counter[str] = Counter()
        stop = threading.Event()
        clients = [threading.Thread(target=post_until_told_to_leave, args=(port, results, stop)) for _ in range(6)]
        for client in clients:
            client.start()
        try:
            wait_for(lambda: results["200"] >= 30, 60, "30 answers")
            child.send_signal(number)
            for client in clients:
                client.join(30)
        finally:
            stop.set()
        assert child.wait(30) == 0
        assert set(results) == {"200", "told to leave"}, results
        assert results["told to leave"] == 6


def test_an_answer_to_a_request_that_began_before_the_stop_tells_its_client_to_leave(archive: Path) -> None:
    with command(str(archive), "--drain", "3") as (child, port, _):
        body = zoo.CAT.read_bytes()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        with closing(connection):
            connection.putrequest("POST", PATH)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body[:1000])
            time.sleep(0.2)  # the gateway has read the headers and is inside the request
            child.terminate()
            url = f"http://127.0.0.1:{port}/readyz"
            wait_for(lambda: httpx.get(url, trust_env=False).status_code == 503, 2, "not ready")
            connection.send(body[1000:])
            response = connection.getresponse()
            response.read()
        assert (response.status, response.getheader("Connection")) == (200, "close")
        assert response.getheader("X-Leaving") is None
        assert child.wait(30) == 0


def test_while_it_drains_it_answers_but_says_that_it_is_not_ready(archive: Path) -> None:
    with command(str(archive), "--drain", "3") as (child, port, _):
        url = f"http://127.0.0.1:{port}"
        child.terminate()
        wait_for(lambda: httpx.get(f"{url}/readyz", trust_env=False).status_code == 503, 2, "not ready")
        assert httpx.get(f"{url}/readyz", trust_env=False).json() == {"ready": False, "reason": "draining"}
        assert httpx.get(f"{url}/livez", trust_env=False).json() == {"live": True}
        answer = httpx.post(f"{url}{PATH}", content=zoo.CAT.read_bytes(), trust_env=False, timeout=30)
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        assert child.wait(30) == 0


def test_stopping_loses_no_grpc_call_in_flight(archive: Path, stubs: Any) -> None:
    messages, services = stubs
    with command(str(archive)) as (child, _, port):
        with grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.enable_retries", 0)]) as channel:
            service = services.InferenceAPIsServiceStub(channel)
            message = messages.PredictionsRequest(model_name="catsdogs", input={"data": zoo.CAT.read_bytes()})
            service.Predictions(message, timeout=30)
            calls = [service.Predictions.future(message, timeout=30) for _ in range(24)]
            wait_for(lambda: any(call.done() for call in calls), 30, "the first answer of the burst")
            child.terminate()
            answers = [json.loads(call.result().prediction) for call in calls]
        assert {answer["label"] for answer in answers} <= {"cat", "dog"}
        assert child.wait(30) == 0


def test_ctrl_c_leaves_no_process_no_folder_and_status_0(archive: Path) -> None:
    with command(str(archive)) as (child, _, _):
        processes = family(child)
        folder = run_folder(processes)
        child.send_signal(signal.SIGINT)
        assert child.wait(30) == 0
        wait_for(lambda: not any(is_alive(process) for process in processes), 5, f"the end of {processes}")
        assert not folder.exists()


def test_a_killed_launcher_leaves_no_orphan_and_no_folder(archive: Path) -> None:
    with command(str(archive)) as (child, port, _):
        processes = family(child)
        folder = run_folder(processes)
        child.kill()
        wait_for(lambda: not any(is_alive(process) for process in processes), 10, f"the end of {processes}")
        wait_for(lambda: not folder.exists(), 10, f"the end of {folder}")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 5).close()
