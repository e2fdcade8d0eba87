"""The GPU path, measured in one process for each worker: python -m tests.benchmarks.gpu --processes 4 --out gpu.json

Subjects, in turn and in rounds: decoding alone; the network alone (one process), with CUDA graphs and without; our
handler and stock TorchServe's, from JPEG bytes to JSON. No server runs, so Java's share is not in it.

The limit is the slower of decoding alone and the network alone. Our handler should reach 0.82 of it.

Needs torch, torchvision and safetensors. Stock's handler needs the package `ts` of TorchServe, which --torchserve may
name in another environment: .venv/lib/python3.11/site-packages/ts. Without it that subject is left out.
"""

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

from common.verdicts import WRONG_USAGE
from loadtest.generate.pictures import make_pool
from tests.benchmarks.gpu_subjects import SUBJECTS, Setting, make_folder, serve

GOAL = 0.82
START_S = 240
# These are not given to every process: one that waits for the device keeps it busy enough.
ALONE = ("network", "eager")


class Subject:
    """The processes of one subject, which wait until they are asked to measure."""

    def __init__(self, name: str, setting: Setting, processes: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.name, self.rates = name, list[float]()
        self.processes, self.pipes = [], list[Connection]()
        for _ in range(1 if name in ALONE else processes):
            ours, theirs = context.Pipe()
            process = context.Process(target=serve, args=(name, setting, theirs), daemon=True)
            process.start()
            theirs.close()
            self.processes.append(process)
            self.pipes.append(ours)

    def problem(self) -> str:
        """Wait for the start, and return why it failed, or nothing."""
        for pipe in self.pipes:
            try:
                if not pipe.poll(START_S):
                    return f"not ready after {START_S} s"
                if problem := str(pipe.recv()):
                    return problem
            except EOFError:
                return "its process ended"
        return ""

    def measure(self, warmup: float, seconds: float) -> None:
        begin = time.monotonic() + warmup
        for pipe in self.pipes:
            pipe.send((begin, begin + seconds))
        self.rates.append(sum(float(pipe.recv()) for pipe in self.pipes))

    def close(self) -> None:
        for pipe, process in zip(self.pipes, self.processes, strict=True):
            with suppress(OSError):
                pipe.send(None)
            process.join(10)
            process.terminate()


def ratios(rates: dict[str, float]) -> dict[str, float]:
    """Return our handler's rate divided by the limit and by stock's, and the network's gain by graphs."""
    result = {"graphs / eager": rates["network"] / rates["eager"]}
    result["ours / limit"] = rates["ours"] / min(rates["decode"], rates["network"])
    if "stock" in rates:
        result["ours / stock"] = rates["ours"] / rates["stock"]
    return result


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--release", type=Path, default=Path("model-store/catsdogs"))
    parser.add_argument("--pictures", type=Path, default=Path("serving/samples"))
    parser.add_argument("--batch", type=int, default=8, help="pictures in a batch (8)")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="workers (one for each core)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4, help="seconds that each subject is measured in a round (4)")
    parser.add_argument("--warmup", type=float, default=1)
    parser.add_argument("--without", nargs="*", choices=list(SUBJECTS), default=[], help="subjects to leave out")
    parser.add_argument("--torchserve", default="", help="folder of TorchServe's package ts")
    parser.add_argument("--out", type=Path, help="file of the figures, JSON")
    return parser.parse_args()


def main() -> int:
    import torch

    options = parse()
    gpu = torch.cuda.is_available()
    device = torch.cuda.get_device_name(0) if gpu else "no GPU"
    if not gpu:
        print("There is no GPU here: these figures are of a CPU, and say nothing of one.", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="gpu-") as folder:
        make_folder(options.release, Path(folder), options.torchserve)
        pictures = tuple(picture.data for picture in make_pool(options.pictures).good)
        setting = Setting(folder, pictures, options.batch, gpu)
        names = [name for name in SUBJECTS if name not in options.without]
        subjects, ready = list[Subject](), list[Subject]()
        try:
            for name in names:
                subjects.append(Subject(name, setting, options.processes))
            for subject in subjects:
                if problem := subject.problem():
                    print(f"{subject.name} is left out: {problem}", file=sys.stderr)
                else:
                    ready.append(subject)
            if not ready:
                return WRONG_USAGE
            for turn in range(options.rounds):
                first = turn % len(ready)
                for subject in ready[first:] + ready[:first]:
                    subject.measure(options.warmup, options.seconds)
        finally:
            for subject in subjects:
                subject.close()
    report = make_report(ready, options, device, torch.__version__)
    if options.out:
        options.out.write_text(json.dumps(report, indent=2) + "\n")
    return 0


def make_report(ready: list[Subject], options: argparse.Namespace, device: str, version: str) -> dict[str, Any]:
    """Print the medians with their ranges and the ratios, and return them."""
    rates = {subject.name: median(subject.rates) for subject in ready}
    print(f"{device}, torch {version}; {options.processes} processes, batches of {options.batch}, pictures/s")
    for subject in ready:
        low, high = min(subject.rates), max(subject.rates)
        print(f"{subject.name:<10} {rates[subject.name]:10.1f}   {low:.1f} to {high:.1f}, {len(subject.rates)} rounds")
    compared = ratios(rates) if {"decode", "network", "eager", "ours"} <= rates.keys() else {}
    for name, value in compared.items():
        goal = f"   goal {GOAL}" if name == "ours / limit" else ""
        print(f"{name:<16} {value:6.2f}{goal}")
    return {
        "device": device,
        "torch": version,
        "batch": options.batch,
        "processes": options.processes,
        "rates": {subject.name: subject.rates for subject in ready},
        "ratios": compared,
    }


if __name__ == "__main__":
    sys.exit(main())
