"""A release -> `<name>.mar`, by torch-model-archiver, then normalised: same inputs, same sha256.

Needs torch for an archive that runs on it, and none otherwise.

    catsdogs package model-store/catsdogs

The archive holds the handler package, release.json and a model file for each runtime, and needs nothing of this
repository to run.
"""

import contextlib
import hashlib
import io
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import uuid
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from string import Template

import handler
from handler.files import UserError, first_line, sha256_file, write_atomic
from handler.members import HANDLER as ENTRY
from handler.members import LIST, MANIFEST, MAX_BYTES, MAX_WORD, check_member_name, list_of, manifest_text
from handler.predictor import Predictor
from handler.release import Release, read_release, verify_file
from training.data.trained_on import FILE as RECORD
from training.release.scratch import scratch_beside
from training.release.versions import refuse_other_archive

HANDLER = Path(handler.__file__).parent
# The zip format's first moment: an archive must not know when it was made.
EPOCH = (1980, 1, 1, 0, 0, 0)
# What an archive may be for, and the runtimes whose model files it then holds: `cpu` leaves the choice to the server.
KINDS = {"cpu": ("mnn", "ort"), "mnn": ("mnn",), "ort": ("ort",), "torch": ("torch",)}
# The most pictures that a worker is given at once. On a CPU 4 cost each hardly more than 8 do, and while a batch is
# computed, more are left to form the next: with 8 clients 5 % more are answered, and p99 is a third less; with 32, 3 %
# fewer are. A GPU gains from more; how many is not measured.
CPU_BATCH, GPU_BATCH = 4, 8
UUID = re.compile(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def convert_to_mnn(onnx: Path, mnn: Path) -> None:
    """Converts with MNN's own converter, and gives the file a name that follows from the weights.

    The converter is called below its command line, which sends usage statistics and installs a package for that. It
    writes into a pipe: on a full disk it would leave half a file and call that a success.

    Raises:
        UserError: the converter refuses.
    """
    arguments = ["", "-f", "ONNX", "--modelFile", str(onnx), "--bizCode", "catsdogs", "--keepInputFormat", "1"]
    code = "import sys, _tools; _tools.mnnconvert(sys.argv[1:])"
    reader, writer = os.pipe()
    command = [sys.executable, "-P", "-c", code, *arguments, "--MNNModel", f"/dev/fd/{writer}"]
    with open(reader, "rb") as pipe, ThreadPoolExecutor(1) as pool:
        converted = pool.submit(pipe.read)
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, pass_fds=[writer])
        finally:
            os.close(writer)
        data = bytearray(converted.result())
    if done.returncode or not data:
        raise UserError(f"MNN cannot convert {onnx}:\n{done.stdout.decode(errors='replace')[-2000:]}")
    # A random uuid near the start, seen at offset 72; it would make every archive another one.
    found = UUID.search(data, 0, 512)
    if found is None:
        raise UserError(
            "MNN's file has no uuid where this converter puts one: check training/release/package.py against it."
        )
    data[found.start() : found.end()] = str(uuid.uuid5(uuid.NAMESPACE_OID, sha256_file(onnx))).encode()
    write_atomic(mnn, bytes(data))


def stage(release: Path, folder: Path, kind: str) -> None:
    """Lays out what the archive holds besides the handler's entry file."""
    names = [path.relative_to(HANDLER) for path in sorted(HANDLER.rglob("*.py")) if path.name != ENTRY]
    for name in names:
        target = folder / "handler" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(HANDLER / name, target)
    values = json.loads((release / "release.json").read_bytes())
    files = values["files"]
    if "mnn" in KINDS[kind]:
        convert_to_mnn(release / "model.onnx", folder / "model.mnn")
        files["model.mnn"] = sha256_file(folder / "model.mnn")
    if "ort" in KINDS[kind]:
        shutil.copyfile(release / "model.onnx", folder / "model.onnx")
    if RECORD in files:
        verify_file(release, RECORD, files[RECORD])
        shutil.copyfile(release / RECORD, folder / RECORD)
    if "torch" in KINDS[kind]:
        write_atomic(folder / "model.pt2", torch_program(release))
        files["model.pt2"] = sha256_file(folder / "model.pt2")
    (folder / "release.json").write_text(json.dumps(values, indent=2) + "\n")


def torch_program(release: Path) -> bytes:
    """The release as torch runs it, where torch is; everything else here needs none."""
    try:
        from training.release.torch_program import to_program
    except ModuleNotFoundError as error:
        raise UserError(f"Only torch packs for torch: pip install 'catsdogs[train]' ({error})") from error
    return to_program(release)


def package(release: Path, out: Path, kind: str = "cpu", replace: bool = False) -> str:
    """Writes the archive `out`, after the packed model has answered the release's known pictures.

    Args:
        kind: `cpu`, for MNN and ONNX Runtime; `mnn` or `ort`, for one of them; or `torch`, which GPUs use.
        replace: also an archive with the same name and version, and other weights.

    Returns:
        The archive's sha256.

    Raises:
        UserError: the release is incomplete, corrupted, or answers otherwise once converted, its version is taken, or
            `out` cannot be written.
    """
    facts = read_facts(release)
    verify_file(release, "model.onnx", facts.files.get("model.onnx", "not listed"))
    out = out.resolve()
    if out.is_dir():
        raise UserError(f"{out} is a folder. Name a file for the archive.")
    if not replace:
        refuse_other_archive(out, facts)
    with scratch_beside(out) as scratch:
        staged = scratch / "staged"
        staged.mkdir()
        stage(release, staged, kind)
        for runtime in KINDS[kind]:
            try_model(staged, runtime)
        settings = Template((HANDLER / "model-config.yaml").read_text())
        batch = GPU_BATCH if kind == "torch" else CPU_BATCH
        (scratch / "model-config.yaml").write_text(settings.substitute(batch=batch))
        data = normalised_zip(lay_out(staged, facts))
        write_atomic(scratch / out.name, data)
        (scratch / out.name).replace(out)
    return hashlib.sha256(data).hexdigest()


def read_facts(release: Path) -> Release:
    """Return what release.json says; raise UserError where it cannot be read, whatever is wrong with it."""
    try:
        facts = read_release(release)
    except UserError:
        raise
    except (RecursionError, ValueError, TypeError, ArithmeticError) as error:
        raise UserError(f"{release / 'release.json'} is not a release of catsdogs: {first_line(error)}") from error
    if max(len(facts.name), len(facts.version)) > MAX_WORD:
        raise UserError(f"{release / 'release.json'} has a name or version of more than {MAX_WORD} characters.")
    return facts


def try_model(staged: Path, runtime: str) -> None:
    """Let the packed model answer the release's known pictures.

    Raises:
        UserError: it answers otherwise, or not at all: each runtime has exceptions of its own for a model that it
            cannot run.
    """
    try:
        Predictor(staged, runtime)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"The model cannot answer by {runtime}, so release.json does not go with it: {first_line(error)}"
        ) from error


def lay_out(staged: Path, facts: Release) -> Path:
    """The archive's files as a folder, by torch-model-archiver, beside `staged` and model-config.yaml.

    The archiver deletes and makes a folder with the model's name where temporary files go, and takes commas and stars
    in a path for its own signs: so it gets a folder of its own for the former, and a short relative path.
    """
    from model_archiver.model_archiver import ModelArchiver
    from model_archiver.model_archiver_config import ModelArchiverConfig

    logging.getLogger().setLevel(logging.ERROR)  # the archiver's own "INFO" lines name temporary folders
    scratch, temporary, exported = staged.parent, staged.with_name("temporary"), staged.with_name("exported")
    temporary.mkdir()
    exported.mkdir()
    config = ModelArchiverConfig(
        model_name=facts.name,
        version=facts.version,
        handler=str(HANDLER / ENTRY),
        extra_files=staged.name,
        config_file="model-config.yaml",
        export_path=exported.name,
        archive_format="no-archive",
    )
    usual, tempfile.tempdir = tempfile.tempdir, str(temporary)
    try:
        with contextlib.chdir(scratch):
            ModelArchiver.generate_model_archive(config)
    except shutil.Error as error:  # of a folder's files, by their words alone
        raise UserError(f"The archive's files cannot be copied: {error.args[0][0][2]}") from error
    finally:
        tempfile.tempdir = usual
    return exported / facts.name


def normalised_zip(folder: Path) -> bytes:
    """Return the folder as a zip: sorted, stored, without times or owners, and with the list of its members' sha256.

    Stored, because weights do not shrink, deflate differs between zlibs, and the server starts faster. The manifest
    forgets when it was made.
    """
    members: dict[str, bytes] = {}
    for path in folder.rglob("*"):
        if path.is_file():
            members[check_member_name(path.relative_to(folder).as_posix())] = path.read_bytes()
    manifest = json.loads(members[MANIFEST])
    del manifest["createdOn"]
    members[MANIFEST] = manifest_text(manifest)
    members[LIST] = list_of({name: hashlib.sha256(data).hexdigest() for name, data in members.items()})
    if (size := sum(map(len, members.values()))) > MAX_BYTES:
        raise UserError(f"The archive would have {size} bytes; the limit is {MAX_BYTES}.")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(members):
            info = zipfile.ZipInfo(name, EPOCH)
            info.external_attr = 0o644 << 16
            archive.writestr(info, members[name])
    return buffer.getvalue()
