"""Kinds of archives: each holds the model files of some runtimes."""

from importlib import import_module
from pathlib import Path

from handler.files import UserError
from handler.runtimes.choice import all_runtimes
from handler.runtimes.runtime import Runtime

# The kind that leaves the choice among the runtimes of CPUs to the server.
CPU = "cpu"


def kinds() -> list[str]:
    """Return what an archive may be for: any CPU, or one runtime."""
    return [CPU, *(runtime.name for runtime in all_runtimes())]


def cpu_runtimes() -> list[Runtime]:
    return [runtime for runtime in all_runtimes() if not runtime.gpu]


def runtimes_of(kind: str) -> list[Runtime]:
    """Return the runtimes whose model files an archive of this kind holds.

    Raises:
        UserError: there is no such kind.
    """
    named = cpu_runtimes() if kind == CPU else [runtime for runtime in all_runtimes() if runtime.name == kind]
    if not named:
        raise UserError(f"There is no runtime {kind}: name one of {', '.join(kinds())}.")
    return named


def make_model(runtime: Runtime, network: Path, release: Path) -> bytes:
    """Return the model file of a runtime.

    Args:
        network: ONNX that holds its weights.

    Raises:
        UserError: what makes it is not installed, or refuses.
    """
    if not isinstance(runtime.make, str):
        return runtime.make(network, release)
    module, _, function = runtime.make.partition(":")
    try:
        make = getattr(import_module(module), function)
    except ModuleNotFoundError as error:
        raise UserError(f"Nothing here packs for {runtime.title}: pip install 'catsdogs[train]' ({error})") from error
    data: bytes = make(network, release)
    return data
