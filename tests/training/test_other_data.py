"""Each architecture on data of another kind, from the pictures to answers of a real server.

The pets and the objects are generated in the layouts of Oxford-IIIT Pet and CIFAR10 (tests/public_sets.py); the folder
of one's own holds the real photographs that come with the package.
"""

import json
from argparse import ArgumentParser
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from handler.release import golden_pixels
from handler.runtimes.processor import instruction_sets, read_cpuinfo
from handler.runtimes.runtime import INT8
from loadtest.generate.clients import CLIENTS
from loadtest.generate.pictures import make_pool
from loadtest.generate.preflight import objection, resolve
from loadtest.options import add_options
from loadtest.settings import settle
from serving.client.samples import SAMPLES
from serving.server.launch import Server
from tests.e2e.support import start
from tests.public_sets import BREEDS, OBJECTS, write_cifar, write_cifar_archive, write_pets
from tests.training.conftest import SMALL, settings
from tests.training.export_support import settled
from training.release.int8.quantise import quantise
from training.release.kinds import cpu_runtimes
from training.release.onnx_model import to_onnx

Invoke = Callable[..., str]
ARCHITECTURES = ("resnet18", "mobilenet_v2", "baseline", "timm:tf_efficientnet_lite0")
FEW = ("Abyssinian", "Bengal", "pug", "samoyed")
STEPS = (*SMALL[1:], "train.epochs=2")


@dataclass(frozen=True, slots=True)
class Data:
    """Pictures of one kind.

    Attributes:
        write: writes them into a folder, and returns what is named as PICTURES.
        options: of prepare.
        classes: that they have.
        names: display names of some.
    """

    write: Callable[[Path], Path]
    options: tuple[str, ...]
    classes: tuple[str, ...]
    names: tuple[tuple[str, str], ...] = ()


KINDS = {
    "pets": Data(
        lambda folder: write_pets(folder / "oxford-iiit-pet", train=3, test=1),
        ("--official-split", "--split", "75/25/0"),
        tuple(sorted(breed.lower() for breed in BREEDS)),
        (("maine_coon", "Maine_Coon"),),
    ),
    "species": Data(
        lambda folder: write_pets(folder / "oxford-iiit-pet", train=8, test=4, breeds=FEW),
        ("--species", "--official-split"),
        ("cat", "dog"),
    ),
    "cifar10": Data(
        lambda folder: write_cifar_archive(folder),
        ("--official-split", "--keep-near-duplicates"),
        OBJECTS,
    ),
    "cifar10 binary": Data(lambda folder: write_cifar(folder, binary=True), (), OBJECTS),
    "folder": Data(lambda folder: SAMPLES, ("--split", "50/25/25"), ("cat", "dog")),
}
# The others are slow: each takes half a minute of CPU time.
FAST = {("resnet18", "pets")}
CASES = [
    pytest.param(arch, kind, id=f"{arch} {kind}", marks=() if (arch, kind) in FAST else pytest.mark.slow)
    for arch in ARCHITECTURES
    for kind in KINDS
]


def release_of(arch: str, kind: str, desk: Path, invoke: Invoke) -> Path:
    """Prepare, train, evaluate, export and package, and return the archive."""
    data = KINDS[kind]
    pictures = data.write(desk / "pictures")
    overrides = [*STEPS, f"model.arch={arch}"]
    if arch.startswith("timm:"):
        overrides += ["model.weights=imagenet", "model.freeze_backbone=true", "views.count=1"]
    places = ["--data", desk / "data", "--store", desk / "store", "--name", "other", "--version", "1.0.0"]
    invoke("pipeline", pictures, *places, "--allow-poor", *data.options, *settings(overrides))
    return desk / "store" / "other.mar"


@pytest.mark.parametrize(("arch", "kind"), CASES)
def test_it_is_trained_packaged_served_and_asked(
    arch: str, kind: str, tmp_path: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # downloads/ lies there
    archive, data = release_of(arch, kind, tmp_path, invoke), KINDS[kind]
    release = json.loads((tmp_path / "store" / "other" / "release.json").read_bytes())
    assert release["config"]["model"]["arch"] == arch
    assert release["classes"] == list(data.classes)
    # Too few pictures to show that int8 loses nothing, and every runtime of CPUs answers as torch does.
    assert (release["precisions"]["int8"]["verdict"], release["precision"]) == ("INCONCLUSIVE", "fp32")
    assert set(release["parity"]["runtimes"]) == {runtime.name for runtime in cpu_runtimes()}
    with start(archive, workers=1) as server:
        check_answers(server, data)
        check_description(server, data)
        check_clients(server, data, invoke, tmp_path)


def check_answers(server: Server, data: Data) -> None:
    picture = next((SAMPLES / "cat").glob("*.jpg")).read_bytes()
    with httpx.Client(base_url=server.options.url, timeout=60, trust_env=False) as client:
        answer = client.post("/predictions/other", content=picture).raise_for_status().json()
        shown = 5 if len(data.classes) > 10 else len(data.classes)
        assert answer["label"] in data.classes
        assert len(answer["probabilities"]) == shown
        assert set(answer["probabilities"]) <= set(data.classes)
        assert answer["model"]["precision"] == "fp32"
        three = client.post("/predictions", params={"top_k": 3}, content=picture).raise_for_status().json()
        probabilities = list(three["probabilities"].values())
        assert probabilities == sorted(probabilities, reverse=True)
        assert len(probabilities) == min(3, len(data.classes))
        metadata = client.get("/v2/models/other").raise_for_status().json()
        assert metadata["parameters"]["classes"] == ",".join(data.classes)
        assert client.get("/").raise_for_status().text.count('id="classlist"') == 1


def check_description(server: Server, data: Data) -> None:
    api: dict[str, Any] = httpx.get(f"{server.options.url}/openapi.json", trust_env=False).json()
    label = api["components"]["schemas"]["Label"]
    assert label["enum"] == list(data.classes)
    assert dict(data.names).items() <= label.get("x-display-names", {}).items()
    assert api["components"]["schemas"]["Probabilities"]["propertyNames"]["enum"] == list(data.classes)
    (example,) = api["components"]["schemas"]["Answer"]["examples"]
    assert example["label"] in data.classes
    assert example["model"]["name"] == api["info"]["title"] == "other"


def check_clients(server: Server, data: Data, invoke: Invoke, desk: Path) -> None:
    """`helm test` runs the first of these; the load test begins as the last does."""
    ports = server.options.ports
    addresses = ["--url", server.options.url, "--grpc", f"127.0.0.1:{ports.grpc}"]
    # The samples are cats and dogs, of which a model of breeds can be asked for no accuracy.
    checked = invoke("check", *addresses, *(["--min-accuracy", "0"] if "cat" in data.classes else []))
    assert checked.count("ok    the golden pictures get the answers that the release recorded by") == 4
    assert "FAIL" not in checked
    parser = ArgumentParser()
    parser.add_argument("--host", default=server.options.url)
    add_options(parser)
    found = resolve(settle(parser.parse_args(["--rate", "5", "--duration", "5s"])))
    assert found.address.model == "other"
    assert found.classes == ",".join(data.classes)
    notes: list[str] = []
    assert objection(found, make_pool(SAMPLES, most=4), notes.append) is None
    # CIFAR10 has cats and dogs beside others, and of the breeds none is called so.
    assert bool(notes) is (len(data.classes) == 37)
    with closing(CLIENTS["rest"](found.address)) as asking:
        answer = asking.ask(make_pool(SAMPLES, most=1).good[0])
    assert answer is not None
    assert found.knows(answer.label)
    assert answer.sha256 == found.sha256


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(arch, marks=() if arch in ("baseline", "resnet18") else pytest.mark.slow) for arch in ARCHITECTURES
    ],
)
def network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network as ONNX with its weights, whose input has 64 pixels a side."""
    path = tmp_path_factory.mktemp("network") / "network.onnx"
    path.write_bytes(to_onnx(settled(request.param, 64), 64).SerializeToString())
    return path


def test_every_architecture_is_quantised_and_runs_on_every_runtime_of_int8(network: Path) -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(20, 236, (20, 1, 1, 3)) + rng.integers(-20, 20, (20, 64, 64, 3))
    made = network.with_name("model.int8.onnx")
    made.write_bytes(quantise(network, noise.astype(np.uint8)))
    runtimes = [runtime for runtime in cpu_runtimes() if INT8 in runtime.models]
    assert len(runtimes) >= 2
    logits = [runtime.load(made, INT8, 1, None).logits(golden_pixels(64)) for runtime in runtimes]
    # Random weights give logits of any scale, and runtimes round between layers in their own ways. Without VNNI, ONNX
    # Runtime also adds products of int8 in 16 bits, which may saturate.
    exact = any("VNNI" in name for name in instruction_sets(read_cpuinfo()))
    tolerance = (0.1 if exact else 0.25) * float(np.ptp(logits[0]))
    for others in logits[1:]:
        np.testing.assert_allclose(others, logits[0], rtol=0, atol=tolerance)
    assert np.isfinite(logits[0]).all()
    assert np.ptp(logits[0][:, 0] - logits[0][:, 1]) > 1e-3
