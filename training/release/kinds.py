"""Kinds of archives: each holds the model files of some runtimes."""

from collections.abc import Container, Sequence
from importlib import import_module
from pathlib import Path

from handler.files import UserError
from handler.runtimes.choice import all_runtimes
from handler.runtimes.runtime import INT8, ModelFile, Runtime

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


def model_files(runtimes: Sequence[Runtime], released: Container[str]) -> list[ModelFile]:
    """Return the model files of these runtimes, each once.

    Args:
        released: precisions that the release has beside those which are made from its fp32 network.
    """
    files = {
        model.name: model
        for runtime in runtimes
        for precision, model in runtime.models.items()
        if precision != INT8 or INT8 in released
    }
    return [files[name] for name in sorted(files)]


def make_model(model: ModelFile, network: Path, release: Path) -> bytes:
    """Return the content of a model file.

    Args:
        network: ONNX that holds its weights.

    Raises:
        UserError: what makes it is not installed, or refuses.
    """
    if not isinstance(model.make, str):
        return model.make(network, release)
    module, _, function = model.make.partition(":")
    try:
        make = getattr(import_module(module), function)
    except ModuleNotFoundError as error:
        raise UserError(f"Nothing here makes {model.name}: pip install 'catsdogs[train]' ({error})") from error
    data: bytes = make(network, release)
    return data
