"""Signals are handled after networks were loaded and dropped, in whatever order."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.runtimes import CHOICES

# A handler of signals runs on the thread's alternative stack, which a runtime may set for itself.
CODE = """
import faulthandler, os, signal, sys
from pathlib import Path
from handler.runtimes.choice import choose
faulthandler.enable()
folder, name, precision = Path(sys.argv[1]), *sys.argv[2:]
choice = choose(folder, precision, name, precision)
path = folder / choice.model.name
networks = [choice.runtime.load(path, precision, 1, None) for _ in range(3)]
while networks:
    del networks[0]
signal.signal(signal.SIGPROF, lambda *_: print("handled", flush=True))
os.kill(os.getpid(), signal.SIGPROF)
"""


@pytest.mark.parametrize(("name", "precision"), CHOICES)
def test_a_signal_is_handled_after_the_first_of_several_networks_ended_first(
    unpacked: Path, name: str, precision: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(unpacked), name, precision],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr
