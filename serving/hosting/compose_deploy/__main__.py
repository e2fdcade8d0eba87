"""python3 -m compose_deploy IMAGE

Exit codes, as those of all gates of catsdogs:

     0  the image serves
    10  the image was refused: the previous one serves again, or nothing where there was none
    13  the machine is not ready: nothing was changed, or the previous image does not serve either
     2  wrong usage
   130, 143, 129  interrupted by SIGINT, SIGTERM, SIGHUP: the previous image serves again
"""

import argparse
import signal
import sys
import urllib.parse
from pathlib import Path
from types import FrameType

from .machine import CODES, Ended, Machine, say
from .rollout import SIGNALS, Interrupted, alone, deploy
from .smoke import PIXEL, Question


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="compose_deploy",
        description="Deploy an image by Docker Compose, and go back to the previous one if it does not serve.",
        epilog="Exit codes: 0 it serves, 10 it was refused, 13 the machine is not ready, 2 wrong usage.",
    )
    made.add_argument("image", help="Image to deploy, such as ghcr.io/example/catsdogs-serve:0.3.0-cpu.")
    made.add_argument("--directory", type=Path, default=Path(), help="Directory of compose.yaml. Default: this one.")
    made.add_argument("--file", help="Compose file in the directory. Default: compose.yaml and compose.override.yaml.")
    made.add_argument("--service", default="serve", help="Service to deploy. Default: serve.")
    made.add_argument("--url", type=address, default="http://127.0.0.1:8080", help="Address of the server here.")
    made.add_argument("--timeout", type=seconds, default=120, help="Seconds within which it must serve. Default: 120.")
    made.add_argument("--pull-timeout", type=seconds, default=900, help="Seconds for the download. Default: 900.")
    made.add_argument("--no-pull", action="store_true", help="Take an image that is on this machine already.")
    made.add_argument("--picture", type=Path, help="Picture that is sent as a test. Default: one black pixel.")
    made.add_argument("--label", help="Label that the picture must get. Default: any.")
    return made


def address(value: str) -> str:
    """Return a URL as it is asked: a wrong one would have both images refused."""
    parts = urllib.parse.urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise argparse.ArgumentTypeError(f"{value!r} is no address such as http://127.0.0.1:8080")
    return value.rstrip("/")


def seconds(value: str) -> float:
    number = float(value)
    if not 0 < number < float("inf"):
        raise ValueError
    return number


def on_signal(number: int, frame: FrameType | None) -> None:
    raise Interrupted(number)


def main() -> int:
    options = parser()
    given = options.parse_args()
    directory = given.directory.absolute()
    if not (directory / (given.file or "compose.yaml")).is_file():
        options.error(f"there is no {given.file or 'compose.yaml'} in {directory}.")
    try:
        picture = given.picture.read_bytes() if given.picture else PIXEL
    except OSError as error:
        options.error(f"{given.picture} cannot be read: {error.strerror}.")
    machine = Machine(directory, given.file, given.service, given.pull_timeout)
    question = Question(given.url, picture, given.label, given.timeout)
    for number in SIGNALS:
        signal.signal(number, on_signal)
    try:
        with alone(directory):
            say(f"PASS: {deploy(machine, question, given.image, not given.no_pull)}")
        return 0
    except Interrupted as error:
        say(str(error))
        return 128 + error.number
    except Ended as error:
        say(f"{error.verdict}: {error}")
        return error.code
    except OSError as error:
        say(f"NOT_READY: {error.filename or directory} cannot be written: {error.strerror}.")
        return CODES["NOT_READY"]


if __name__ == "__main__":
    sys.exit(main())
