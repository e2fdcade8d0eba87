"""Measurement of the time from `docker run` to an image's first answer.

Several images are measured in turn, so that a busy machine is busy for all of them.

    python -m tests.image.start catsdogs-serve:e2e catsdogs-serve:0.2.0-cpu
"""

import subprocess
import sys
import time
import urllib.request
from statistics import median

from tests.zoo import CAT

ROUNDS = 7
CLOSED = ["--read-only", "--cap-drop=ALL", "--tmpfs=/run/catsdogs:mode=0700,uid=10001,gid=10001,exec"]
URL = "http://127.0.0.1:8080/predictions/catsdogs"


def start(image: str) -> float:
    """Seconds."""
    began = time.monotonic()
    command = ["docker", "run", "--detach", "--rm", "--publish=127.0.0.1:8080:8080", *CLOSED, image]
    name = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    try:
        while time.monotonic() < began + 60:
            try:
                with urllib.request.urlopen(urllib.request.Request(URL, CAT.read_bytes()), timeout=10) as answer:
                    answer.read()
                return time.monotonic() - began
            except OSError:
                time.sleep(0.02)
    finally:
        subprocess.run(["docker", "stop", "--time=0", name], check=True, capture_output=True)
        time.sleep(1)
    sys.exit(f"{image} did not answer within a minute.")


def main(images: list[str]) -> None:
    seen: dict[str, list[float]] = {image: [] for image in images}
    for _ in range(ROUNDS):
        for image in images:
            seen[image].append(start(image))
            print(f"{image}: {seen[image][-1]:.2f} s", flush=True)
    for image, seconds in seen.items():
        print(f"{image}: median {median(seconds):.2f} s, {min(seconds):.2f} to {max(seconds):.2f}")


if __name__ == "__main__":
    main(sys.argv[1:] or ["catsdogs-serve:e2e"])
