import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import handler
import training.release.package
from handler.files import UserError, sha256_file
from handler.members import LIST
from handler.predictor import Predictor
from handler.preprocess import InputSpec, decode
from handler.release import read_release
from handler.runtimes.choice import by_preference
from handler.runtimes.runtime import CPU_BATCH, GPU_BATCH
from serving.server.archive import read_archive
from tests.zoo import CAT
from training.release.network_file import read_network
from training.release.package import package

REPOSITORY = Path(handler.__file__).parent.parent

# What TorchServe's worker does: the unpacked archive on the path, and nothing of this repository.
WORKER = """
import importlib.util, json, os, sys

unpacked, repository, picture = sys.argv[1:]
sys.meta_path[:] = [finder for finder in sys.meta_path if "__editable__" not in getattr(finder, "__module__", "")]
sys.path_hooks[:] = [hook for hook in sys.path_hooks if "__editable__" not in getattr(hook, "__module__", "")]
sys.path[:] = [unpacked, *(entry for entry in sys.path if os.path.realpath(entry or ".") != repository)]


class Context:
    system_properties = {"model_dir": unpacked, "gpu_id": None, "batch_size": 2}

    def __init__(self):
        self.types, self.statuses = {}, {}

    def get_all_request_header(self, index):
        return {"X-Request-Id": f"request-{index}", "explain": "False"}

    def set_response_content_type(self, index, value):
        self.types[index] = value

    def set_response_header(self, index, key, value):
        raise AssertionError("a REST row needs no header")

    def set_response_status(self, code, phrase, index):
        self.statuses[index] = code


from catsdogs_handler import CatsDogsHandler

import handler

served = CatsDogsHandler()
context = Context()
served.initialize(context)
rows = [{"body": open(picture, "rb").read()}, {"body": b"not a picture"}]
answers = [json.loads(answer) for answer in served.handle(rows, context)]
ours = {module.__file__ for module in sys.modules.values() if (getattr(module, "__file__", None) or "").endswith(".py")}
print(json.dumps({
    "answers": answers,
    "types": context.types,
    "statuses": context.statuses,
    "handler": handler.__file__,
    "outside": sorted(path for path in ours if os.path.realpath(path).startswith(repository + os.sep)
                      and "site-packages" not in path),
    "torch": "torch" in sys.modules,
    "importable": [name for name in ("training", "serving", "catsdogs", "tests") if importlib.util.find_spec(name)],
    "runtime": served.predictor.runtime.name,
}))
"""


def unpack(archive: Path, folder: Path) -> Path:
    with zipfile.ZipFile(archive) as file:
        file.extractall(folder)
    return folder


def contents(archive: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(archive) as file:
        return {name: file.read(name) for name in file.namelist()}


@pytest.fixture(scope="module")
def mnn_archive(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mnn") / "catsdogs.mar"
    package(release, path, "mnn")
    return path


@pytest.fixture(scope="module")
def ort_archive(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ort") / "catsdogs.mar"
    package(release, path, "ort")
    return path


@pytest.fixture(scope="module")
def torch_archive(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("torch") / "catsdogs.mar"
    package(release, path, "torch")
    return path


HANDLER, ENTRY = REPOSITORY / "handler", "catsdogs_handler.py"
NAMES = [
    "MAR-INF/MANIFEST.json",
    "MAR-INF/SHA256SUMS",
    "MODEL_CARD.md",
    "bom.cdx.json",
    "catsdogs_handler.py",
    *sorted(f"handler/{path.relative_to(HANDLER).as_posix()}" for path in HANDLER.rglob("*.py") if path.name != ENTRY),
    "model-config.yaml",
    "model.mnn",
    "model.onnx",
    "release.json",
    "trained_on.bin",
]


def test_the_archive_holds_the_handler_the_release_a_model_for_each_runtime_and_nothing_else(archive: Path) -> None:
    assert list(contents(archive)) == NAMES


def test_what_lies_about_in_the_handlers_folder_stays_out(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Path(shutil.copytree(REPOSITORY / "handler", tmp_path / "handler"))
    (copy / "__pycache__").mkdir(exist_ok=True)
    for name in ("__pycache__/files.cpython-311.pyc", "runtimes/notes.txt", "files.py.orig", ".hidden"):
        (copy / name).write_text("rubbish")
    monkeypatch.setattr(training.release.package, "HANDLER", copy)
    package(release, tmp_path / "out.mar", "ort")
    assert list(contents(tmp_path / "out.mar")) == [name for name in NAMES if name != "model.mnn"]


def test_the_archives_manifest_names_model_version_and_handler(archive: Path) -> None:
    manifest = json.loads(contents(archive)["MAR-INF/MANIFEST.json"])
    assert "createdOn" not in manifest
    model = manifest["model"]
    assert (model["modelName"], model["modelVersion"]) == ("catsdogs", "1.2.3")
    assert (model["handler"], model["configFile"]) == ("catsdogs_handler.py", "model-config.yaml")


def test_the_archive_does_not_know_when_or_where_it_was_made(archive: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        assert {info.date_time for info in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {info.external_attr for info in file.infolist()} == {0o644 << 16}
        assert [info.filename for info in file.infolist()] == sorted(file.namelist())
        assert file.testzip() is None
    for name, content in contents(archive).items():
        for private in (f"{Path.home()}/", str(REPOSITORY), str(archive.parent)):
            assert private == "//" or private.encode() not in content, (name, private)


def test_the_same_release_gives_the_same_archive_also_from_another_folder(
    release: Path, archive: Path, tmp_path: Path
) -> None:
    elsewhere = Path(shutil.copytree(release, tmp_path / "some" / "where" / "else"))
    digest = package(elsewhere, tmp_path / "deep" / "other.mar")
    assert (tmp_path / "deep" / "other.mar").read_bytes() == archive.read_bytes()
    assert digest == sha256_file(archive)


PACKAGE = """
import os, sys
from pathlib import Path

os.umask(int(sys.argv[3], 8))
from training.release.package import package

print(os.getuid(), package(Path(sys.argv[1]), Path(sys.argv[2])))
"""


def packed_elsewhere(
    release: Path, folder: Path, umask: str, command: Sequence[str] = (), **environment: str
) -> tuple[int, str]:
    """Packs in another process; its user's number and the archive's sha256."""
    arguments: list[str | Path] = [*command, sys.executable, "-c", PACKAGE, release, folder / "out.mar", umask]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), **environment}
    done = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    uid, digest = done.stdout.split()
    assert digest == sha256_file(folder / "out.mar")
    return int(uid), digest


def test_the_archive_is_the_same_at_another_time_by_other_habits(release: Path, archive: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(release, tmp_path / "other release"))
    for number, path in enumerate(copy.iterdir()):
        path.chmod(0o600)
        os.utime(path, (10**9 + number, 10**9))
    habits = {"TZ": "Pacific/Auckland", "LC_ALL": "C", "PYTHONHASHSEED": "7", "HOME": str(tmp_path), "USER": "another"}
    _, digest = packed_elsewhere(copy, tmp_path, "077", **habits)
    assert digest == sha256_file(archive)


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder of user 65534, where pytest's own are closed to others."""
    with tempfile.TemporaryDirectory(prefix="catsdogs-nobody-") as folder:
        os.chown(folder, 65534, 65534)
        yield Path(folder)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_the_archive_is_the_same_by_another_user(release: Path, archive: Path, home: Path) -> None:
    copy = Path(shutil.copytree(release, home / "release"))
    # One capability stays: the interpreter itself may lie in a folder that is root's alone.
    capability = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *capability]
    uid, digest = packed_elsewhere(copy, home, "027", nobody, HOME=str(home), USER="nobody")
    assert (home / "out.mar").stat().st_uid == uid == 65534
    assert digest == sha256_file(archive)


@pytest.mark.parametrize("name", ["a,b", "stars*", "[c]", "d?", "with space"])
def test_a_folder_may_have_any_name(release: Path, tmp_path: Path, name: str, archive: Path) -> None:
    folder = tmp_path / name
    copy = Path(shutil.copytree(release, folder / "release"))
    package(copy, folder / "out.mar")
    assert (folder / "out.mar").read_bytes() == archive.read_bytes()
    assert sorted(path.name for path in folder.iterdir()) == ["out.mar", "release"]


def test_a_folder_with_the_models_name_among_temporary_files_is_left_alone(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The archiver by itself would delete it.
    (tmp_path / "catsdogs").mkdir()
    (tmp_path / "catsdogs" / "thesis.txt").write_text("precious")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    package(release, tmp_path / "out.mar", "ort")
    assert (tmp_path / "catsdogs" / "thesis.txt").read_text() == "precious"
    assert tempfile.gettempdir() == str(tmp_path)


def test_the_archives_release_lists_the_sha256_of_its_model(archive: Path, tmp_path: Path) -> None:
    folder = unpack(archive, tmp_path)
    files = json.loads((folder / "release.json").read_bytes())["files"]
    assert files["model.mnn"] == sha256_file(folder / "model.mnn")
    assert files["model.onnx"] == sha256_file(folder / "model.onnx")


@pytest.mark.parametrize("kind", ["archive", "mnn_archive", "ort_archive", "torch_archive"])
def test_the_archive_lists_the_sha256_of_every_other_member(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder = unpack(request.getfixturevalue(kind), tmp_path)
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict", LIST], cwd=folder, capture_output=True, text=True, check=True
    )
    names = [line.removesuffix(": OK") for line in checked.stdout.splitlines()]
    held = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert names == sorted(held - {LIST})


@pytest.mark.parametrize("kind", ["archive", "mnn_archive", "ort_archive", "torch_archive"])
def test_the_archive_passes_the_check_of_those_who_serve_it(kind: str, request: pytest.FixtureRequest) -> None:
    path = request.getfixturevalue(kind)
    read = read_archive(path, sha256_file(path))
    assert (read.name, read.version, read.classes) == ("catsdogs", "1.2.3", ["cat", "dog"])


def test_a_worker_on_a_cpu_is_given_fewer_pictures_at_once_than_one_on_a_gpu(
    archive: Path, torch_archive: Path
) -> None:
    on_cpu, on_gpu = (yaml.safe_load(contents(file)["model-config.yaml"]) for file in (archive, torch_archive))
    assert (on_cpu["batchSize"], on_gpu["batchSize"]) == (CPU_BATCH, GPU_BATCH)
    assert CPU_BATCH < GPU_BATCH
    assert on_cpu | {"batchSize": GPU_BATCH} == on_gpu


def works_alone(archive: Path, picture: Path, folder: Path) -> dict[str, Any]:
    """Unpacks the archive and lets it answer in a process that knows nothing of this repository."""
    unpacked, elsewhere = unpack(archive, folder / "unpacked").resolve(), folder / "elsewhere"
    elsewhere.mkdir()
    done = subprocess.run(
        [sys.executable, "-I", "-c", WORKER, unpacked, os.path.realpath(REPOSITORY), picture],
        cwd=elsewhere,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    answer, *noise = done.stdout.splitlines()
    report: dict[str, Any] = json.loads(answer) | {"noise": noise}
    assert report["handler"] == str(unpacked / "handler" / "__init__.py")
    assert (report["outside"], report["importable"]) == ([], [])
    return report


@pytest.fixture(scope="module", params=["cpu", "mnn", "ort", "torch"])
def report(
    archive: Path,
    mnn_archive: Path,
    ort_archive: Path,
    torch_archive: Path,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> dict[str, Any]:
    """Return the answers of an archive of each kind, in a process of its own."""
    chosen = {"cpu": archive, "mnn": mnn_archive, "ort": ort_archive, "torch": torch_archive}[request.param]
    fastest = [choice for choice in by_preference("fp32") if not choice.runtime.gpu]
    # OpenVINO reads the file of ONNX Runtime too.
    readers = {"cpu": fastest, "ort": [choice for choice in fastest if choice.model.name == "model.onnx"]}
    wanted = readers[request.param][0].runtime.name if request.param in readers else request.param
    return {"wanted": wanted, **works_alone(chosen, CAT, tmp_path_factory.mktemp("alone"))}


def test_the_archive_answers_a_photograph_alone(report: dict[str, Any], release: Path) -> None:
    answer, _ = report["answers"]
    assert answer.keys() == {"label", "probability", "probabilities", "model"}
    assert answer["probabilities"].keys() == {"cat", "dog"}
    assert answer["label"] == max(answer["probabilities"], key=answer["probabilities"].get)
    assert answer["probability"] == max(answer["probabilities"].values())
    assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=2e-6)
    assert answer["model"] == {
        "name": "catsdogs",
        "version": "1.2.3",
        "precision": "fp32",
        "sha256": sha256_file(release / "model.safetensors"),
    }
    assert report["types"]["0"] == "application/json"


def test_the_archive_tells_what_is_wrong_with_a_picture_and_its_neighbour_is_answered(report: dict[str, Any]) -> None:
    _, problem = report["answers"]
    assert (problem["status"], problem["code"], problem["request_id"]) == (415, "unsupported_image", "request-1")
    assert report["types"]["1"] == "application/problem+json"
    assert report["statuses"] == {"1": 415}


def test_the_archive_needs_its_runtime_and_torch_for_that_alone(report: dict[str, Any]) -> None:
    assert (report["runtime"], report["torch"]) == (report["wanted"], report["wanted"] == "torch")


def test_the_archive_leaves_standard_output_to_the_answer(report: dict[str, Any]) -> None:
    assert report["noise"] == []


def test_all_runtimes_answer_alike(
    archive: Path, ort_archive: Path, torch_archive: Path, pictures: Path, tmp_path: Path
) -> None:
    paths = sorted(pictures.rglob("photos/*/*.jpg"))
    pixels = np.stack([decode(path.read_bytes(), InputSpec(32)) for path in paths])
    archives = (("ort", ort_archive), ("mnn", archive), ("torch", torch_archive))
    reference, *others = (Predictor(unpack(file, tmp_path / name), name).answers(pixels) for name, file in archives)
    for other in others:
        for answer, wanted in zip(other, reference, strict=True):
            assert answer["probabilities"]["cat"] == pytest.approx(wanted["probabilities"]["cat"], abs=1e-3)


def test_an_archive_for_mnn_holds_its_file_alone(mnn_archive: Path) -> None:
    assert list(contents(mnn_archive)) == [name for name in NAMES if name != "model.onnx"]


def test_an_archive_for_onnx_runtime_holds_the_onnx_alone(ort_archive: Path, release: Path) -> None:
    files = contents(ort_archive)
    assert files["model.onnx"] == read_network(release, read_release(release))
    assert "model.mnn" not in files


def test_an_archive_for_torch_holds_its_program_alone_and_no_path_of_this_machine(torch_archive: Path) -> None:
    files = contents(torch_archive)
    assert {"model.onnx", "model.mnn"}.isdisjoint(files)
    for path in (REPOSITORY, Path(sys.prefix), Path(sys.base_prefix), Path.home()):
        assert str(path).encode() not in files["model.pt2"]


def test_an_archive_for_torch_is_the_same_when_made_again(release: Path, torch_archive: Path, tmp_path: Path) -> None:
    package(release, tmp_path / "again.mar", "torch")
    assert (tmp_path / "again.mar").read_bytes() == torch_archive.read_bytes()


def test_half_precision_answers_within_the_tolerance_of_known_pictures(
    torch_archive: Path, pictures: Path, tmp_path: Path
) -> None:
    folder = unpack(torch_archive, tmp_path)
    pixels = np.stack([decode(path.read_bytes(), InputSpec(32)) for path in sorted(pictures.rglob("photos/*/*.jpg"))])
    full = Predictor(folder, "torch").probabilities(pixels)
    half = Predictor(folder, "torch", "fp16").probabilities(pixels)
    assert 0 < np.abs(half - full).max() < 5e-3


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_torch_without_the_gpu_that_is_asked_for_is_one_sentence(
    torch_archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CATSDOGS_DEVICE", "cuda")
    sentence = "There is no GPU here, and CATSDOGS_DEVICE=cuda asks for one"
    with pytest.raises(UserError, match=re.escape(sentence)):
        Predictor(unpack(torch_archive, tmp_path), "torch")


def changed_release(release: Path, folder: Path) -> Path:
    return Path(shutil.copytree(release, folder / "release"))


def test_a_tampered_onnx_is_refused(release: Path, tmp_path: Path) -> None:
    copy = changed_release(release, tmp_path)
    content = bytearray((copy / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (copy / "model.onnx").write_bytes(content)
    with pytest.raises(UserError, match=r"model\.onnx is corrupted: its sha256 is"):
        package(copy, tmp_path / "out.mar")
    assert [path.name for path in tmp_path.iterdir()] == ["release"]


def test_a_missing_onnx_is_named(release: Path, tmp_path: Path) -> None:
    copy = changed_release(release, tmp_path)
    (copy / "model.onnx").unlink()
    with pytest.raises(UserError, match=r"model\.onnx is missing"):
        package(copy, tmp_path / "out.mar")


def test_a_model_that_answers_otherwise_than_the_release_says_is_not_packed(release: Path, tmp_path: Path) -> None:
    copy = changed_release(release, tmp_path)
    values = json.loads((copy / "release.json").read_bytes())
    values["golden_logits"] = [logits[::-1] for logits in values["golden_logits"]]
    (copy / "release.json").write_text(json.dumps(values))
    with pytest.raises(UserError, match="answers wrongly on this machine"):
        package(copy, tmp_path / "out.mar", "ort")
    assert not (tmp_path / "out.mar").exists()


def test_an_onnx_that_mnn_cannot_convert_is_refused_with_what_it_says(release: Path, tmp_path: Path) -> None:
    copy = changed_release(release, tmp_path)
    (copy / "model.onnx").write_bytes(b"not a network")
    values = json.loads((copy / "release.json").read_bytes())
    values["files"]["model.onnx"] = sha256_file(copy / "model.onnx")
    (copy / "release.json").write_text(json.dumps(values))
    with pytest.raises(UserError, match=r"MNN cannot convert model\.onnx"):
        package(copy, tmp_path / "out.mar")
    assert not (tmp_path / "out.mar").exists()


def test_a_folder_in_the_place_of_the_archive_is_refused(release: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is a folder\. Name a file for the archive"):
        package(release, tmp_path)


@pytest.mark.parametrize(("key", "value"), [("name", "../up"), ("name", "two words"), ("version", "1/2"), ("name", 7)])
def test_a_release_that_could_not_be_addressed_is_refused(
    release: Path, tmp_path: Path, key: str, value: object
) -> None:
    copy = changed_release(release, tmp_path)
    values = json.loads((copy / "release.json").read_bytes())
    (copy / "release.json").write_text(json.dumps({**values, key: value}))
    with pytest.raises(UserError, match=r"release\.json is not a release of catsdogs"):
        package(copy, tmp_path / "out.mar")
    assert [path.name for path in tmp_path.iterdir()] == ["release"]


@pytest.mark.parametrize(("size", "kind"), [(-1, "mnn"), (-1, "ort"), (0, "ort"), ("32", "ort"), (48, "ort")])
def test_a_size_that_no_picture_or_not_this_network_has_is_one_sentence(
    release: Path, tmp_path: Path, size: object, kind: str
) -> None:
    copy = changed_release(release, tmp_path)
    values = json.loads((copy / "release.json").read_bytes())
    values["input"]["size"] = size
    (copy / "release.json").write_text(json.dumps(values))
    with pytest.raises(UserError, match=r"is not a release of catsdogs|does not go with it|answers wrongly"):
        package(copy, tmp_path / "out.mar", kind)
    assert [path.name for path in tmp_path.iterdir()] == ["release"]


@pytest.mark.parametrize("classes", [["cat"], [], "cats", None, ["cat", "cat"]])
def test_a_release_of_fewer_than_two_classes_is_one_sentence(release: Path, tmp_path: Path, classes: object) -> None:
    copy = changed_release(release, tmp_path)
    values = json.loads((copy / "release.json").read_bytes())
    (copy / "release.json").write_text(json.dumps({**values, "classes": classes}))
    with pytest.raises(UserError, match=r"release\.json is not a release of catsdogs: classes must be"):
        package(copy, tmp_path / "out.mar", "ort")


@pytest.mark.parametrize("key", ["name", "version"])
def test_a_name_too_long_for_an_address_is_refused(release: Path, tmp_path: Path, key: str) -> None:
    copy = changed_release(release, tmp_path)
    values = json.loads((copy / "release.json").read_bytes())
    (copy / "release.json").write_text(json.dumps({**values, key: "1" * 101}))
    with pytest.raises(UserError, match="has a name or version of more than 100 characters"):
        package(copy, tmp_path / "out.mar", "ort")


NESTED = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize("content", [None, "{", "[]", '{"name": "catsdogs"}', NESTED, "9" * 5000, "\x00"])
def test_a_folder_without_a_release_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "release.json").write_text(content)
    with pytest.raises(UserError, match=r"release\.json is (missing|not a release of catsdogs)"):
        package(tmp_path, tmp_path / "out.mar")
