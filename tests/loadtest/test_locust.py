"""The whole of it, against stubs: each verdict with its exit status, and Locust as its users know it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import yaml

from common.ports import free_ports
from common.verdicts import Verdict
from loadtest.defaults import PICTURES
from loadtest.report.outcome import BEGIN, END
from tests.loadtest.support_locust import ROOT, Done, catsdogs, locust, locust_command, make_slo, stub, unlabelled

GATE = ("--gate", "brief", "--slo")


def test_pass_is_0_and_all_requests_are_in_the_report(tmp_path: Path) -> None:
    with stub("--sleep", "0.01") as url:
        done = locust(tmp_path, url, *GATE, str(make_slo(tmp_path)), "--print-summary")
    assert (done.status, done.summary.verdict, done.summary.exit_code) == (0, Verdict.PASS, 0), done.stderr
    row = done.row()
    assert row.due == row.answered == pytest.approx(100, abs=50)
    assert row.latency is not None
    assert row.latency.p50 >= 0.01
    assert {path.name for path in done.out.iterdir()} == {"summary.json", "report.html", "junit.xml"}
    printed = done.stdout.partition(BEGIN)[2].partition(END)[0]
    assert json.loads(printed) == json.loads((done.out / "summary.json").read_text())


def test_a_breach_is_10(tmp_path: Path) -> None:
    # Each request may be sent as late as the threshold, which a busy machine must not reach.
    with stub("--sleep", "4") as url:
        done = locust(tmp_path, url, *GATE, str(make_slo(tmp_path, threshold=2.5)))
    assert (done.status, done.summary.verdict) == (10, Verdict.BREACH), done.stderr
    assert "were answered within 2.5 s" in done.summary.reasons[0]


def test_too_few_requests_to_know_are_11(tmp_path: Path) -> None:
    # Four of a hundred fail, which may well be with an objective of 95 %, or not.
    with stub("--fail-every", "25") as url:
        done = locust(tmp_path, url, *GATE, str(make_slo(tmp_path, objective=0.95, availability=0.95, asserts="whole")))
    assert (done.status, done.summary.verdict) == (11, Verdict.INCONCLUSIVE), done.stderr
    assert [(failure.what, failure.count) for failure in done.summary.failures] == [
        ("503 overloaded", done.row().failed)
    ]


def test_a_starved_generator_is_12_whatever_it_saw(tmp_path: Path) -> None:
    # More than a process of Python can send.
    with stub() as url:
        file = make_slo(tmp_path, threshold=0.005, rate=12000, duration="1s")
        done = locust(tmp_path, url, *GATE, str(file))
    assert (done.status, done.summary.verdict) == (12, Verdict.INVALID), done.stderr
    assert any("The generator is too slow" in reason for reason in done.summary.reasons)


@pytest.mark.parametrize("processes", [1, 2])
def test_no_server_is_13_and_says_so(tmp_path: Path, processes: int) -> None:
    (port,) = free_ports(1)
    file = make_slo(tmp_path)
    done = locust(tmp_path, f"http://127.0.0.1:{port}", *GATE, str(file), "--processes", str(processes))
    assert (done.status, done.summary.verdict) == (13, Verdict.NOT_READY)
    assert "does not answer" in done.stderr


@pytest.mark.slow
def test_a_server_that_comes_within_the_wait_is_waited_for(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    command = locust_command(tmp_path, f"http://127.0.0.1:{port}", *GATE, str(make_slo(tmp_path)), "--wait", "60")
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as test:
        time.sleep(1)  # it asks meanwhile, or is still starting: either way there is nobody
        with stub("--port", str(port)):
            assert test.communicate(timeout=120)
    assert test.returncode == 0


@pytest.mark.parametrize("processes", [1, 2])
def test_wrong_usage_is_2_and_a_sentence(tmp_path: Path, processes: int) -> None:
    done = locust(tmp_path, "http://127.0.0.1:1", "--gate", "none", "--processes", str(processes))
    assert done.status == 2
    assert done.stderr.count("catsdogs: ") == 1
    assert "has no gate none; it has quick, full" in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_usage_leaves_no_worker_that_starts_late(tmp_path: Path) -> None:
    command = locust_command(tmp_path, "http://127.0.0.1:1", "--gate", "none", "--processes", "2")
    late = "import os, runpy, time; os.register_at_fork(after_in_child=lambda: time.sleep(2)); "
    late += "runpy.run_module('locust', run_name='__main__')"
    command[1:3] = ["-c", late]
    # Its workers hold the pipe of standard error, so this returns when they have ended.
    done = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 2
    assert "has no gate none" in done.stderr


@pytest.mark.slow
def test_two_processes_are_one_test(tmp_path: Path) -> None:
    with stub("--sleep", "0.01") as url:
        done = locust(tmp_path, url, *GATE, str(make_slo(tmp_path, rate=40)), "--processes", "2")
    assert done.status == 0, done.stderr
    assert done.summary.machine.processes == 2
    assert done.row().due == done.row().answered == pytest.approx(200, abs=70)


def test_two_machines_are_one_test(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    options = (*GATE, str(make_slo(tmp_path)))
    with stub("--sleep", "0.01") as url:
        (tmp_path / "worker").mkdir()
        master = locust_command(
            tmp_path, url, *options, "--master", "--expect-workers", "1", "--master-bind-port", str(port)
        )
        worker = locust_command(tmp_path / "worker", url, *options, "--worker", "--master-port", str(port))
        worker[worker.index("--pictures") + 1] = master[master.index("--pictures") + 1]
        with (
            subprocess.Popen(master, cwd=ROOT, stderr=subprocess.PIPE, text=True) as judging,
            subprocess.Popen(worker, cwd=ROOT, stderr=subprocess.PIPE, text=True) as sending,
        ):
            stderr = judging.communicate(timeout=120)[1]
            assert sending.wait(30) == 0
    assert judging.returncode == 0, stderr
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert sum(row["answered"] for row in summary["rows"] if row["stage"] == "all") > 50
    assert not (tmp_path / "worker" / "out").exists()


@pytest.mark.slow
def test_a_stage_has_the_rate_that_was_asked_for(tmp_path: Path) -> None:
    with stub() as url:
        file = make_slo(tmp_path, shape="staircase", rate=50, duration="15s")
        done = locust(tmp_path, url, *GATE, str(file))
    assert done.status == 0, done.stderr
    for step, asked in enumerate((10, 20, 30, 40, 50), start=1):
        row = done.row(stage=f"step {step}")
        assert row.asked_rate == pytest.approx(asked)
        assert row.due_rate == pytest.approx(asked, abs=4.5 * (3 * asked) ** 0.5 / 3 + 5)


@pytest.mark.slow
def test_a_broken_picture_that_is_taken_for_a_whole_one_is_a_failure(tmp_path: Path) -> None:
    with stub() as url:
        done = locust(tmp_path, url, *GATE, str(make_slo(tmp_path)), "--bad-share", "0.5")
    assert done.status == 10
    assert done.row("rest bad").failed == done.row("rest bad").due > 0
    assert any("for a picture that must get" in failure.what for failure in done.summary.failures)


def read_until(test: "subprocess.Popen[str]", text: str) -> str:
    """Return the lines of standard error up to the first with this text."""
    assert test.stderr is not None
    lines = ""
    while text not in lines:
        lines += (line := test.stderr.readline())
        assert line, lines
    return lines


def test_ctrl_c_ends_it_at_once_with_a_report_and_without_a_pass(tmp_path: Path) -> None:
    with stub("--sleep", "0.01") as url:
        command = locust_command(tmp_path, url, *GATE, str(make_slo(tmp_path, duration="60s")), "--progress")
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as test:
            stderr = read_until(test, " answered")
            test.send_signal(signal.SIGINT)
            stderr += test.communicate(timeout=120)[1]
    assert test.returncode == 12, stderr
    assert "Traceback" not in stderr
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert re.match(r"It was stopped after \d+ s of 61\.", summary["reasons"][-1])


def test_ctrl_c_ends_all_processes_within_seconds_and_what_they_saw_is_judged(tmp_path: Path) -> None:
    with stub("--sleep", "0.01") as url:
        command = locust_command(
            tmp_path, url, *GATE, str(make_slo(tmp_path, duration="60s")), "--processes", "2", "--progress"
        )
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True) as test:
            stderr = read_until(test, " answered")
            os.killpg(test.pid, signal.SIGINT)  # as a terminal does
            stderr += test.communicate(timeout=120)[1]
    assert test.returncode == 12, stderr
    assert "Traceback" not in stderr
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert re.match(r"It was stopped after \d+ s of 61\.", summary["reasons"][-1])
    # A process that does not tell what it saw is waited for 38 s. The report is written after this time.
    assert summary["duration"] < 30


def test_ctrl_c_reaches_locust_and_not_the_greenlet_that_runs_when_it_comes() -> None:
    program = """
import os, signal
import gevent
from loadtest.generate.glue import interrupt

def busy():
    os.kill(os.getpid(), signal.SIGINT)
    sum(range(1000))
    gevent.sleep(0)
    print("busy ended")

gevent.signal_handler(signal.SIGINT, interrupt)
greenlet = gevent.spawn(busy)
try:
    gevent.sleep(30)
except KeyboardInterrupt:
    greenlet.join()
    print("interrupted", greenlet.successful())
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.stdout.split("\n"), done.stderr) == (["busy ended", "interrupted True", ""], "")


@pytest.mark.slow
def test_a_number_of_users_is_a_rate_as_with_locust_itself(tmp_path: Path) -> None:
    with stub() as url:
        done = locust(tmp_path, url, "--users", "20", "--spawn-rate", "20", "--run-time", "6s")
    assert done.status == 0, done.stderr
    assert done.summary.plan.shape == "users"
    assert done.row().answered_rate == pytest.approx(20, abs=9)


@pytest.mark.slow
def test_locust_s_web_page_starts_and_stops_tests(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with stub() as url:
        command = [word for word in locust_command(tmp_path, url) if word not in ("--headless", "--only-summary")]
        command += ["--web-host", "127.0.0.1", "--web-port", str(port)]
        page = f"http://127.0.0.1:{port}"
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as test:
            try:
                wait_for_page(page)
                form = urlencode({"user_count": 10, "spawn_rate": 10, "host": url}).encode()
                with urlopen(f"{page}/swarm", form, timeout=10) as answer:
                    assert json.load(answer)["success"]
                deadline = time.monotonic() + 60
                while (requests := stats(page).get("num_requests", 0)) <= 10:
                    assert time.monotonic() < deadline, requests
                    time.sleep(0.1)
                with urlopen(f"{page}/stop", b"", timeout=60) as answer:
                    assert json.load(answer)["success"]
                row = stats(page)
            finally:
                test.terminate()
                test.communicate(timeout=60)
    assert (row["method"], row["num_failures"]) == ("rest", 0)


def stats(page: str) -> dict[str, Any]:
    """Return Locust's own figures of the requests; empty before the first."""
    with urlopen(f"{page}/stats/requests", timeout=10) as answer:
        rows: list[dict[str, Any]] = json.load(answer)["stats"]
    return next((row for row in rows if row["name"] != "Aggregated"), {})


def wait_for_page(page: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            with urlopen(page, timeout=5) as answer:
                assert b"Locust" in answer.read()
                return
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.mark.slow
def test_an_answer_that_contradicts_itself_is_10(tmp_path: Path) -> None:
    with stub("--contradict-every", "40") as url:
        done = locust(tmp_path, url, *GATE, str(make_slo(tmp_path, availability=0.9, objective=0.9)))
    assert (done.status, done.summary.verdict) == (10, Verdict.BREACH), done.stderr
    (reason,) = [reason for reason in done.summary.reasons if reason.startswith("correctness")]
    assert "contradict themselves" in reason


@pytest.mark.slow
def test_an_answer_of_none_of_the_model_s_classes_is_10(tmp_path: Path) -> None:
    with stub("--name", "flowers", "--classes", "cat,dog", "--says-classes", "daisy,rose") as url:
        done = locust(tmp_path, url, *GATE, str(make_slo(tmp_path, availability=0.0001, objective=0.0001)))
    assert (done.status, done.summary.verdict) == (10, Verdict.BREACH), done.stderr
    assert any("contradict themselves" in reason for reason in done.summary.reasons)


def test_a_server_whose_model_changes_on_each_answer_is_10(tmp_path: Path) -> None:
    with stub("--models", "2") as url:
        done = locust(tmp_path, url, *GATE, str(make_slo(tmp_path)))
    assert (done.status, done.summary.verdict) == (10, Verdict.BREACH), done.stderr
    assert "correctness: 2 models answered from the beginning to the end" in done.summary.reasons[0]


def test_a_canary_that_was_said_passes_and_is_noted(tmp_path: Path) -> None:
    with stub("--models", "2") as url:
        done = locust(tmp_path, url, *GATE, str(make_slo(tmp_path)), "--max-models", "2")
    assert done.status == 0, done.stderr
    assert any("Several models answered: 0.0 000000000000" in warning for warning in done.summary.warnings)


@pytest.mark.slow
def test_a_few_requests_are_11_however_good(tmp_path: Path) -> None:
    # Requests may be sent late, as far as the threshold of this file allows. Its gate is not used.
    file = make_slo(tmp_path, availability=0.999, rate=100)
    with stub() as url:
        done = locust(tmp_path, url, "--slo", str(file), "--rate", "10", "--duration", "2s", "--warmup", "1s")
    assert (done.status, done.summary.verdict) == (11, Verdict.INCONCLUSIVE), done.stderr
    assert "That takes 299 requests, all of them good." in done.stderr


@pytest.mark.parametrize("processes", [1, 2])
def test_nothing_but_404_is_2_before_the_load(tmp_path: Path, processes: int) -> None:
    with stub("--refuse", "404") as url:
        done = locust(tmp_path, url, *GATE, str(make_slo(tmp_path)), "--processes", str(processes))
    assert done.status == 2, done.stderr
    assert done.stderr.count("catsdogs: ") == 1
    assert "has no model catsdogs (rest: 404 not_found)" in done.stderr
    assert not (done.out / "summary.json").exists()


def test_labels_that_the_model_does_not_know_are_not_compared(tmp_path: Path) -> None:
    with stub("--name", "flowers", "--classes", "daisy,rose") as url:
        done = locust(tmp_path, url, *GATE, str(make_slo(tmp_path)), pictures=PICTURES)
        ours = catsdogs(
            tmp_path,
            "loadtest",
            "brief",
            "--slo",
            str(tmp_path / "slo.yaml"),
            "--url",
            url,
            "--out",
            str(tmp_path / "o"),
        )
    assert done.status == 2, done.stderr
    assert "there are pictures of cat, dog only" in done.stderr
    assert ours.status == 0, ours.stderr
    assert "labels are not compared with the answers" in ours.stderr
    (row,) = [row for row in json.loads((tmp_path / "o" / "summary.json").read_text())["rows"] if row["stage"] == "all"]
    assert (row["labelled"], row["answered"] > 0) == (0, True)


def test_the_search_stops_before_it_begins_where_a_protocol_cannot_be_asked(tmp_path: Path) -> None:
    with stub() as url:
        options = ("--url", url, "--grpc", "127.0.0.1:1", "--protocol", "rest", "--protocol", "grpc")
        done = catsdogs(tmp_path, "capacity", *options, "--out", str(tmp_path / "out"))
    assert (done.status, done.stderr.strip()) == (
        13,
        "gRPC at 127.0.0.1:1 is not a catsdogs server, or does not answer (UNAVAILABLE).",
    )


def test_the_search_takes_a_p99_in_place_of_the_objectives(tmp_path: Path) -> None:
    file = make_slo(tmp_path, threshold=0.005, availability=0.99, rate=100)
    values = yaml.safe_load(file.read_text())
    values["capacity"] |= {"start_rate": 100, "highest_rate": 100, "trial": "2s", "confirm_runs": 1}
    file.write_text(yaml.safe_dump(values))
    with stub("--sleep", "0.05") as url:
        where = ("--url", url, "--slo", str(file), "--out", str(tmp_path), "--pictures", str(unlabelled(tmp_path)))
        # A threshold that is no edge of the gateway's histogram.
        done = catsdogs(tmp_path, "capacity", "--p99", "7s", *where)
    assert done.status == 0, done.stderr
    assert "rest: 100/s keeps 99 % within 7 s, and more was not tried." in done.stderr


def test_a_share_of_the_limit_needs_the_server_s_environment(tmp_path: Path) -> None:
    done = catsdogs(tmp_path, "capacity", "--min-share", "0.85")
    assert (done.status, done.stderr.strip()) == (
        2,
        "catsdogs: --limit measures the handler in the server's environment: name its catsdogs by --serve.",
    )


def test_the_verb_does_the_same_and_compares(tmp_path: Path) -> None:
    with stub("--sleep", "0.01") as url:
        what = ("loadtest", "brief", "--slo", str(make_slo(tmp_path)), "--url", url)
        where = ("--pictures", str(unlabelled(tmp_path)), "--out", str(tmp_path / "out"))
        first = catsdogs(tmp_path, *what, *where)
        second = catsdogs(tmp_path, *what, *where, "--compare", str(tmp_path / "out" / "summary.json"))
    assert (first.status, second.status) == (0, 0), second.stderr
    assert "PASS of the gate brief" in first.stderr
    assert "p99" in second.stderr
    assert "Aggregated" not in first.stderr + first.stdout
    assert {path.name for path in first.out.iterdir()} == {"summary.json", "report.html", "junit.xml", "locust.json"}


def test_the_stall_that_a_closed_loop_hides_is_seen(tmp_path: Path) -> None:
    # Nothing is answered in 5 s of 15. A sixth of the requests that arrive at random wait for more than 2.5 s; in a
    # closed loop, one request of each of the ten users does. A busy machine makes more of them late, by either loop.
    file = make_slo(tmp_path, threshold=2.5, objective=0.9, rate=30, duration="15s")
    loops = {
        "open": ("--gate", "brief"),
        "closed": ("--users", "10", "--rate-per-user", "3", "--spawn-rate", "10", "--run-time", "16s"),
    }
    done: dict[str, Done] = {}
    slow: dict[str, float] = {}
    for loop, options in loops.items():
        with stub("--sleep", "0.01", "--stall-at", "6", "--stall", "5") as url:
            done[loop] = locust(tmp_path / loop, url, *options, "--slo", str(file), "--loop", loop)
        row = done[loop].row()
        slow[loop] = row.slow / row.due
    assert done["open"].summary.verdict is Verdict.BREACH, done["open"].stderr
    assert slow["open"] > 0.12
    assert slow["closed"] < slow["open"] / 2
    assert any("The loop is closed" in warning for warning in done["closed"].summary.warnings)
