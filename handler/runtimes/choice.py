"""Discovery of the runtimes, and the choice of one and of its precision among those that are installed."""

import importlib
import importlib.util
import os
import pkgutil
from dataclasses import dataclass
from pathlib import Path

from handler import runtimes
from handler.files import UserError
from handler.runtimes.processor import CPUINFO, is_x86_64, read_cpuinfo
from handler.runtimes.runtime import FP32, INT8, PRECISIONS, ModelFile, Runtime

SUFFIX = "_runtime"
# Name of a runtime, and fp32, fp16 or int8, where the choice shall not be ours.
RUNTIME_VARIABLE = "CATSDOGS_RUNTIME"
PRECISION_VARIABLE = "CATSDOGS_PRECISION"


@dataclass(frozen=True, slots=True)
class Choice:
    """A runtime and the precision that it computes in."""

    runtime: Runtime
    precision: str

    @property
    def model(self) -> ModelFile:
        """The model file that is loaded."""
        return self.runtime.models[self.precision]


def all_runtimes() -> list[Runtime]:
    """Return what every NAME_runtime.py states, in the order of their names."""
    names = sorted(module.name for module in pkgutil.iter_modules(runtimes.__path__) if module.name.endswith(SUFFIX))
    return [importlib.import_module(f"{runtimes.__name__}.{name}").RUNTIME for name in names]


def all_choices() -> list[Choice]:
    """Return every runtime in every precision that it has."""
    return [Choice(runtime, precision) for runtime in all_runtimes() for precision in runtime.models]


def model_names() -> list[str]:
    """Return the names of all model files that an archive may hold."""
    return sorted({choice.model.name for choice in all_choices()})


def is_installed(package: str) -> bool:
    """Return whether it can be imported. The stand-in for torch (serving/server/standin) has no submodules."""
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        return False


def by_preference(precision: str, cpuinfo: Path = CPUINFO) -> list[Choice]:
    """Return all runtimes that have a precision, the fastest on this processor first."""
    processor = read_cpuinfo(cpuinfo)
    choices = [choice for choice in all_choices() if choice.precision == precision]
    return sorted(choices, key=lambda choice: choice.model.rank(processor))


def available(folder: Path, precision: str) -> list[Choice]:
    """Return the runtimes that are installed and whose model file of a precision is in `folder`, the fastest first."""
    return [
        choice
        for choice in by_preference(precision)
        if (folder / choice.model.name).exists() and is_installed(choice.runtime.package)
    ]


def usual_precision(released: str) -> str:
    """Return the precision that a server takes where it is not told: the release's int8 on x86-64 CPUs alone.

    On other processors int8 was not measured.
    """
    return INT8 if released == INT8 and is_x86_64() else FP32


def choose(folder: Path, released: str, name: str | None = None, precision: str | None = None) -> Choice:
    """Return the fastest runtime that is available in `folder`, and its precision.

    Args:
        released: the precision that the release recommends.
        name: the runtime that the user asks for.
        precision: the precision that the user asks for; where the usual one cannot be had, another is taken.

    Raises:
        UserError: there is none.
    """
    wanted = precision or usual_precision(released)
    choices = available(folder, wanted) if precision or wanted == INT8 else []
    if precision is None:
        choices += _in_usual_precision(folder)
    for choice in choices:
        if name in (None, choice.runtime.name):
            return choice
    needed = " or ".join(
        f"{choice.runtime.package} with {choice.model.name}"
        for choice in all_choices()
        if name in (None, choice.runtime.name) and precision in (None, choice.precision)
    )
    asked = "a runtime" + (f" named {name}" if name else "") + (f" that computes in {precision}" if precision else "")
    raise UserError(f"Nothing can run the model in {folder}: that needs {needed or asked}.")


def _in_usual_precision(folder: Path) -> list[Choice]:
    """Return the runtimes that are available, each in its usual precision, the fastest first."""
    processor = read_cpuinfo()
    choices = [
        Choice(runtime, runtime.usual_precision())
        for runtime in all_runtimes()
        # The files first: to look for torch.export imports torch.
        if any((folder / model.name).exists() for model in runtime.models.values()) and is_installed(runtime.package)
    ]
    there = [choice for choice in choices if (folder / choice.model.name).exists()]
    return sorted(there, key=lambda choice: choice.model.rank(processor))


def from_environment() -> tuple[str | None, str | None]:
    """Return the name of the runtime and the precision that the environment asks for.

    Raises:
        UserError: there is no such precision.
    """
    precision = os.environ.get(PRECISION_VARIABLE) or None
    if precision not in (None, *PRECISIONS):
        raise UserError(
            f"{PRECISION_VARIABLE} is {precision!r}; it must be {', '.join(PRECISIONS[:-1])} or {PRECISIONS[-1]}."
        )
    return os.environ.get(RUNTIME_VARIABLE) or None, precision
