"""No code of ours reads a pickle, or anything else that can name code to run, but the reader that runs none."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.zoo import ROOT

FOLDERS = ("common", "handler", "training", "serving", "monitoring", "loadtest")
MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "zmq", "jsonpickle"}
# It knows the few names that numpy writes, and looks up no other.
READS_WITHOUT_RUNNING = {"training/data/sets/plain_pickle.py"}
# Calls that read pickles unless an argument says otherwise, with that argument.
CALLS = {
    "torch.load": ("weights_only", True),
    "np.load": ("allow_pickle", False),
    "numpy.load": ("allow_pickle", False),
}
# Calls that may run what they read, whatever their arguments.
NEVER = {"yaml.load", "yaml.unsafe_load", "yaml.full_load", "pd.read_pickle", "pandas.read_pickle", "eval", "exec"}
MODELS = ("mlflow.pyfunc.load_model", "mlflow.pytorch.load_model", "mlflow.sklearn.load_model", "torch.jit.load")


def faults(source: str) -> Iterator[str]:
    """Yield what a module does that may run code of what it reads."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from (f"line {node.lineno}: imports {name}" for name in names if name.split(".")[0] in MODULES)
        elif isinstance(node, ast.Call):
            call = ast.unparse(node.func)
            if call in NEVER or call in MODELS:
                yield f"line {node.lineno}: calls {call}"
            if call in CALLS:
                name, wanted = CALLS[call]
                values = {keyword.arg: keyword.value for keyword in node.keywords}
                value = values.get(name)
                if not (isinstance(value, ast.Constant) and value.value is wanted):
                    yield f"line {node.lineno}: calls {call} without {name}={wanted}"


def modules() -> list[Path]:
    return [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]


def test_no_module_unpickles_what_it_reads() -> None:
    found = {
        str(path.relative_to(ROOT)): list(faults(path.read_text()))
        for path in modules()
        if str(path.relative_to(ROOT)) not in READS_WITHOUT_RUNNING
    }
    assert len(found) > 200
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "import torch\ntorch.load(path)",
        "import torch\ntorch.load(path, weights_only=False)",
        "import numpy as np\nnp.load(path, allow_pickle=True)",
        "import yaml\nyaml.load(text, Loader=yaml.Loader)",
        "eval(text)",
    ],
)
def test_what_unpickles_is_seen(source: str) -> None:
    assert len(list(faults(source))) == 1


def test_what_serves_has_no_package_for_pickles_or_their_transport() -> None:
    lock = (ROOT / "requirements" / "serve.txt").read_text()
    names = {line.partition("==")[0] for line in lock.splitlines() if "==" in line and not line.startswith((" ", "#"))}
    assert "torchserve" in names
    assert names & {"pyzmq", "cloudpickle", "dill", "joblib", "jsonpickle"} == set()
