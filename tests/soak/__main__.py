"""Ten minutes of mixed load on a real server with all of its monitoring on: does anything of it grow?

Records, the access log and /stats are on, and the metrics are scraped every 5 seconds.

    make soak                                                # ten minutes; SECONDS=3600 make soak for an hour
    python -m tests.soak --seconds 60 --csv runs/soak.csv    # --plot needs matplotlib

Exit status: 0 nothing grows, 10 something does, 12 the measurement is not valid, 130 Ctrl-C.
"""

import csv
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import click
import httpx
import psutil

from common.ports import free_ports
from handler.records import VARIABLE as RECORDS
from serving.gateway.caddy import Ports
from serving.server.settings import cpu_limit
from tests.e2e.support import make_stubs
from tests.soak.judge import BOUNDS, WARM_UP, Finding, judge
from tests.soak.load import Load
from tests.soak.measure import Folders, Lost, name_processes, sample
from tests.zoo import ROOT

PERIOD_S = 2.0
START_S = 120
STOP_S = 60
# Between two lines of progress where nobody looks at a terminal.
SAY_S = 30

# Subject and quantity -> its values over time.
Series = Mapping[tuple[str, str], Sequence[float]]


@click.command()
@click.option("--seconds", default=600.0, show_default=True, type=click.FloatRange(20))
@click.option("--workers", default=cpu_limit, type=click.IntRange(1), help="By default one per core.")
@click.option("--archive", default="model-store/catsdogs.mar", show_default=True, help="What is served.")
@click.option("--python", default=sys.executable, help="Whose `catsdogs serve` is measured; by default our own.")
@click.option("--csv", "table", default=Path("runs/soak.csv"), show_default=True, type=click.Path(path_type=Path))
@click.option("--plot", type=click.Path(path_type=Path), help="A PNG of all series.")
def main(seconds: float, workers: int, archive: str, python: str, table: Path, plot: Path | None) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(soak(seconds, workers, [python, "-m", "catsdogs", "serve", archive], table, plot))
    except KeyboardInterrupt:
        say("\nStopped; nothing is judged.")
        sys.exit(130)


def soak(seconds: float, workers: int, command: Sequence[str], table: Path, plot: Path | None) -> int:
    table.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="soak-", dir="/tmp"))  # short, for the server's sockets lie in it
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        (folder / "stubs").mkdir()
        stubs = stack.enter_context(make_stubs(folder / "stubs"))
        folders = Folders(folder / "tmp", folder / "records")
        folders.make()
        launcher, ports = stack.enter_context(serve(command, workers, folder / "log", folders))
        load = Load(ports, stubs)
        stack.callback(load.stop)
        try:
            times, series = measure(seconds, name_processes(launcher, workers), folders, table, load)
        except Lost as error:
            say(f"\nNot valid: {error}.")
            # Beside the access log's lines stands why.
            say("\n".join(line for line in (folder / "log").read_text().splitlines() if not line.startswith("{")))
            return 12
    findings = [judge(*key, times, values) for key, values in series.items()]
    if plot is not None:
        draw(times, series, plot)
    for finding in findings:
        print(finding)
    return verdict(findings, load)


def verdict(findings: Sequence[Finding], load: Load) -> int:
    counts = ", ".join(f"{count} {kind}" for kind, count in load.answers.items())
    say(f"As they should be: {counts}; {load.refused} met a full queue.")
    for answer, count in load.wrong.items():
        say(f"Not valid: {count} times {answer}")
    if load.wrong or not load.answers.keys() >= {"good", "bad", "grpc", "metrics"}:
        return 12
    return 10 if any(finding.grows for finding in findings) else 0


@contextmanager
def serve(command: Sequence[str], workers: int, log: Path, folders: Folders) -> Iterator[tuple[psutil.Process, Ports]]:
    """`catsdogs serve` in a session of its own, so that Ctrl-C is ours alone, once all its workers are warm."""
    ports = Ports(*free_ports(3))
    numbers = {"port": ports.rest, "grpc-port": ports.grpc, "metrics-port": ports.metrics, "workers": workers}
    options = [word for name, number in numbers.items() for word in (f"--{name}", str(number))]
    environment = {"TMPDIR": str(folders.temporary), RECORDS: str(folders.records)}
    with log.open("wb") as file:
        child = subprocess.Popen(
            [*command, *options, "--access-log", "--stats"],
            cwd=ROOT,
            env={**os.environ, **environment},
            stderr=file,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + START_S
        while ready_workers(ports.rest) < workers:
            if child.poll() is not None or time.monotonic() > deadline:
                say(log.read_text())
                raise SystemExit(13)
            time.sleep(0.1)
        yield psutil.Process(child.pid), ports
    finally:
        child.terminate()
        with suppress(subprocess.TimeoutExpired):
            child.wait(STOP_S)
        child.kill()  # its janitor then ends the rest
        child.wait()


def ready_workers(port: int) -> int:
    try:
        return int(httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False, timeout=10).json().get("workers", 0))
    except (httpx.HTTPError, ValueError):
        return 0


def measure(
    seconds: float, processes: dict[str, psutil.Process], folders: Folders, table: Path, load: Load
) -> tuple[list[float], dict[tuple[str, str], list[float]]]:
    """Samples until the time is over; the table is whole at any moment."""
    times: list[float] = []
    series: dict[tuple[str, str], list[float]] = defaultdict(list)
    start = time.monotonic()
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["seconds", "subject", "quantity", "value"])
        while (now := time.monotonic() - start) < seconds:
            times.append(now)
            for subject, quantity, value in sample(processes, folders):
                series[subject, quantity].append(value)
                writer.writerow([f"{now:.1f}", subject, quantity, f"{value:.2f}"])
            file.flush()
            show(now, seconds, series, load)
            time.sleep(max(0.0, start + len(times) * PERIOD_S - time.monotonic()))
    return times, series


def show(now: float, seconds: float, series: Series, load: Load) -> None:
    memory = " ".join(f"{name} {values[-1]:.0f}" for (name, what), values in series.items() if what == "memory, MiB")
    line = f"{now:.0f} of {seconds:.0f} s: {load.answers.total()} answers, {load.wrong.total()} wrong; MiB: {memory}"
    if sys.stderr.isatty():
        print(f"\r{line}\033[K", end="", file=sys.stderr, flush=True)
    elif now % SAY_S < PERIOD_S:
        say(line)


def draw(times: Sequence[float], series: Series, path: Path) -> None:
    """A panel for each quantity; warm-up is grey."""
    from matplotlib.figure import Figure

    from training.evaluation.report import save

    figure = Figure(figsize=(9, 2.2 * len(BOUNDS)), layout="constrained")
    for axes, quantity in zip(figure.subplots(len(BOUNDS), sharex=True), BOUNDS, strict=True):
        for (subject, what), values in series.items():
            if what == quantity:
                axes.plot(times, values, linewidth=1, label=subject)
        axes.axvspan(0, WARM_UP * times[-1], color="0.93")
        axes.set_ylim(0, 1.1 * axes.dataLim.ymax)
        axes.set_ylabel(quantity)
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8, frameon=False)
    axes.set_xlabel("seconds under load")
    save(figure, path)


def say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
