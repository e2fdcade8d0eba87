"""The runtimes of CPUs that are installed in the environment of the tests."""

import tempfile
from pathlib import Path

from handler.release import read_release
from handler.runtimes.choice import Choice, all_choices, all_runtimes, choose, is_installed
from handler.runtimes.runtime import FP32, INT8
from serving.server.archive import unpack

INSTALLED = [runtime.name for runtime in all_runtimes() if not runtime.gpu and is_installed(runtime.package)]
# Name and precision.
CHOICES = [(choice.runtime.name, choice.precision) for choice in all_choices() if choice.runtime.name in INSTALLED]
FP32_CHOICES, INT8_CHOICES = ([pair for pair in CHOICES if pair[1] == precision] for precision in (FP32, INT8))


def chosen_for(archive: Path) -> Choice:
    """Return what a server takes for an archive on this machine."""
    with tempfile.TemporaryDirectory() as name:
        unpack(archive, Path(name))
        return choose(Path(name), read_release(Path(name)).precision)
