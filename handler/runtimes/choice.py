"""Discovery of the runtimes, and the choice among those that are installed."""

import importlib
import importlib.util
import pkgutil
from pathlib import Path

from handler import runtimes
from handler.files import UserError
from handler.runtimes.runtime import Runtime

SUFFIX = "_runtime"
CPUINFO = Path("/proc/cpuinfo")


def all_runtimes() -> list[Runtime]:
    """Return what every NAME_runtime.py states, in the order of their names."""
    names = sorted(module.name for module in pkgutil.iter_modules(runtimes.__path__) if module.name.endswith(SUFFIX))
    return [importlib.import_module(f"{runtimes.__name__}.{name}").RUNTIME for name in names]


def is_installed(package: str) -> bool:
    """Return whether it can be imported. The stand-in for torch (serving/server/standin) has no submodules."""
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        return False


def by_preference(cpuinfo: Path = CPUINFO) -> list[Runtime]:
    """Return all runtimes, the fastest on this processor first."""
    try:
        processor = cpuinfo.read_text()
    except OSError:
        processor = ""
    return sorted(all_runtimes(), key=lambda runtime: runtime.rank(processor))


def available(folder: Path) -> list[Runtime]:
    """Return the runtimes that are installed and whose model file is in `folder`, the fastest first."""
    return [
        runtime for runtime in by_preference() if (folder / runtime.file).exists() and is_installed(runtime.package)
    ]


def choose_runtime(folder: Path, name: str | None = None) -> Runtime:
    """Return the fastest runtime that is available in `folder`, or the one that is named.

    Raises:
        UserError: there is none.
    """
    for runtime in available(folder):
        if name in (None, runtime.name):
            return runtime
    candidates = [runtime for runtime in all_runtimes() if name in (None, runtime.name)]
    needed = " or ".join(f"{runtime.package} with {runtime.file}" for runtime in candidates)
    raise UserError(f"Nothing can run the model in {folder}: that needs {needed or f'a runtime named {name}'}.")
