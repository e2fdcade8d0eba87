"""The subjects of the GPU benchmark: functions that answer a batch and return its size, each in its own processes."""

import importlib.util
import itertools
import json
import os
import shutil
import sys
import time
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from handler.files import sha256_file
from handler.predictor import Predictor
from handler.runtimes.torch_runtime import GRAPHS_VARIABLE

Work = Callable[[], int]
STOCK = Path(__file__).parents[2] / "loadtest" / "rivals" / "stock"


@dataclass(frozen=True, slots=True)
class Setting:
    """The same settings for all processes."""

    folder: str
    """Holds release.json and model.pt2, and `stock` with the files of stock TorchServe's archive."""
    pictures: tuple[bytes, ...]
    """Encoded."""
    batch: int
    gpu: bool


class Context:
    """TorchServe's context, as far as both handlers ask it. It keeps nothing."""

    metrics = types.SimpleNamespace(add_time=lambda *arguments: None, add_metric=lambda *arguments: None)

    def __init__(self, folder: Path, setting: Setting) -> None:
        gpu = 0 if setting.gpu else None
        self.system_properties = {"model_dir": str(folder), "gpu_id": gpu, "batch_size": setting.batch}
        self.manifest = {"model": {"serializedFile": "weights.pt", "modelFile": "model.py"}}
        self.model_yaml_config: dict[str, Any] = {}

    def get_all_request_header(self, index: int) -> dict[str, str]:
        return {"explain": "False"}

    def get_request_header(self, index: int, name: str) -> str | None:
        return None

    def set_response_status(self, code: int, phrase: str, idx: int) -> None:
        raise AssertionError(f"a picture of the benchmark was refused: {phrase}")

    def set_response_header(self, index: int, name: str, value: str) -> None: ...

    def set_response_content_type(self, index: int, value: str) -> None: ...


def make_folder(release: Path, folder: Path, torchserve: str = "") -> None:
    """Lay out what the subjects load. Needs torch, torchvision and safetensors, and no packer of archives.

    Args:
        torchserve: folder of the package `ts`, empty where it is installed.
    """
    import safetensors.torch
    import torch

    from training.release.torch_program import to_program

    (folder / "model.pt2").write_bytes(to_program(release))
    facts = json.loads((release / "release.json").read_bytes())
    facts["files"]["model.pt2"] = sha256_file(folder / "model.pt2")
    (folder / "release.json").write_text(json.dumps(facts))
    stock = folder / "stock"
    stock.mkdir()
    if torchserve:
        (stock / "ts").symlink_to(Path(torchserve).resolve(), target_is_directory=True)
    state = safetensors.torch.load_file(release / "model.safetensors")
    torch.save(
        {name: value.float() if value.is_floating_point() else value for name, value in state.items()},
        stock / "weights.pt",
    )
    (stock / "index_to_name.json").write_text(
        json.dumps({str(index): name for index, name in enumerate(facts["classes"])})
    )
    shutil.copy(release / "release.json", stock)
    for name in ("handler.py", "model.py"):
        shutil.copy(STOCK / name, stock)


def batches(setting: Setting) -> Iterator[list[bytes]]:
    endless = itertools.cycle(setting.pictures)
    while True:
        yield list(itertools.islice(endless, setting.batch))


def decode(setting: Setting) -> Work:
    """Decode and scale alone, by one thread of each process: what no handler on these cores can exceed."""
    os.environ[GRAPHS_VARIABLE] = "0"
    os.environ["CATSDOGS_DEVICE"] = "cpu"
    predictor, pictures = Predictor(Path(setting.folder), "torch"), itertools.cycle(setting.pictures)

    def work() -> int:
        predictor.decode(next(pictures))
        return 1

    return work


def network(setting: Setting) -> Work:
    """Run the network alone, pixels in and logits out, as the runtime does."""
    predictor = Predictor(Path(setting.folder), "torch", gpu=0)
    predictor.warm_up(setting.batch)
    pixels = np.stack([predictor.decode(picture) for picture in next(batches(setting))])

    def work() -> int:
        predictor.network.logits(pixels)
        return setting.batch

    return work


def eager(setting: Setting) -> Work:
    """Run the network alone without graphs."""
    os.environ[GRAPHS_VARIABLE] = "0"
    return network(setting)


def ours(setting: Setting) -> Work:
    """Answer batches of JPEGs by our handler."""
    from handler.catsdogs_handler import CatsDogsHandler

    made, context, endless = CatsDogsHandler(), Context(Path(setting.folder), setting), batches(setting)
    made.initialize(context)

    def work() -> int:
        rows: list[dict[str, object]] = [{"body": bytearray(picture)} for picture in next(endless)]
        return len(made.handle(rows, context))

    return work


def stock(setting: Setting) -> Work:
    """Answer batches of JPEGs by TorchServe's own handler of images."""
    folder = Path(setting.folder) / "stock"
    sys.path[:0] = [str(folder)]  # model.py, and `ts` without its neighbours
    if importlib.util.find_spec("captum") is None:
        # The handler imports it and makes one object at the start. Nothing asks for explanations here.
        sys.modules["captum"] = types.ModuleType("captum")
        sys.modules["captum.attr"] = attr = types.ModuleType("captum.attr")
        attr.IntegratedGradients = lambda model: None  # type: ignore[attr-defined]
    spec = importlib.util.spec_from_file_location("stock_handler", folder / "handler.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made, context, endless = module.CatsDogsStock(), Context(folder, setting), batches(setting)
    made.initialize(context)

    def work() -> int:
        return len(made.handle([{"body": bytearray(picture)} for picture in next(endless)], context))

    return work


SUBJECTS: dict[str, Callable[[Setting], Work]] = {
    "decode": decode,
    "network": network,
    "eager": eager,
    "ours": ours,
    "stock": stock,
}


def serve(name: str, setting: Setting, pipe: Connection) -> None:
    """Run in a process: be told a first and a last moment, work between them, and tell pictures per second."""
    if name != "stock":  # it is measured as it comes
        os.environ["OMP_NUM_THREADS"] = "1"
    try:
        work = SUBJECTS[name](setting)
        work()
        pipe.send("")
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")
        return
    while (times := pipe.recv()) is not None:
        pipe.send(rate(work, *times))


def rate(work: Work, begin: float, end: float) -> float:
    """Return pictures per second from `begin` to `end` of the monotonic clock, of one batch at least.

    Work until `begin` is not counted.
    """
    while time.monotonic() < begin:
        work()
    started = time.monotonic()
    count = work()
    while time.monotonic() < end:
        count += work()
    return count / (time.monotonic() - started)
