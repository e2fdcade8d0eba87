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
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from string import Template

import handler
from handler.components import FILE as COMPONENTS_FILE
from handler.files import UserError, first_line, sha256_file, write_atomic
from handler.members import CARD, CONFIG, LIST, MANIFEST, MAX_BYTES, MAX_WORD, check_member_name, list_of, manifest_text
from handler.members import HANDLER as ENTRY
from handler.predictor import Predictor
from handler.release import Release, read_release, verify_file
from handler.runtimes.choice import is_installed
from handler.runtimes.onnx_files import INT8_FILE
from handler.runtimes.runtime import INT8, Runtime
from training.data.trained_on import FILE as RECORD
from training.release.bom import FILE as BOM
from training.release.bom import bill_of_materials, check_license
from training.release.kinds import make_model, model_files, runtimes_of
from training.release.network_file import NETWORK, read_network
from training.release.reference import SAMPLE
from training.release.scratch import scratch_beside
from training.release.versions import refuse_other_archive

HANDLER = Path(handler.__file__).parent
# The zip format's first moment: an archive must not know when it was made.
EPOCH = (1980, 1, 1, 0, 0, 0)


def stage_handler(folder: Path) -> None:
    """Copy the handler's modules, without the entry file."""
    names = [path.relative_to(HANDLER) for path in sorted(HANDLER.rglob("*.py")) if path.name != ENTRY]
    for name in names:
        target = folder / "handler" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(HANDLER / name, target)


def stage_release(release: Path, facts: Release, folder: Path, runtimes: Sequence[Runtime]) -> None:
    """Lay out release.json, a model file for each runtime, the components that records hold, and the files that tools
    read: what was trained on, the reference for drift, and the bill of materials; and for people the model card."""
    values = json.loads((release / "release.json").read_bytes())
    files = values["files"]
    if "license" in values:
        check_license(values["license"])
    network = folder.with_name(NETWORK)
    network.write_bytes(read_network(release, facts))
    if INT8 in facts.golden_logits:
        verify_file(release, INT8_FILE, facts.files.get(INT8_FILE, "not listed"))
    for model in model_files(runtimes, facts.golden_logits):
        write_atomic(folder / model.name, make_model(model, network, release))
        files[model.name] = sha256_file(folder / model.name)
    (folder / "release.json").write_text(json.dumps(values, indent=2) + "\n")
    for name in (RECORD, SAMPLE, COMPONENTS_FILE):
        if name in files:
            verify_file(release, name, files[name])
            shutil.copyfile(release / name, folder / name)
    if (release / CARD).is_file():
        shutil.copyfile(release / CARD, folder / CARD)
    packed = [path.name for path in folder.iterdir() if path.name in files]
    write_atomic(folder / BOM, bill_of_materials(values, packed))


def package(release: Path, out: Path, kind: str = "cpu", replace: bool = False) -> str:
    """Write the archive `out`, after the packed model has answered the release's known pictures.

    Args:
        kind: `cpu`, for every runtime of CPUs; or the name of one runtime (training/release/kinds.py).
        replace: also an archive with the same name and version, and other weights.

    Returns:
        The archive's sha256.

    Raises:
        UserError: the release is incomplete, corrupted, or answers otherwise once converted, its version is taken, or
            `out` cannot be written.
    """
    facts = read_facts(release)
    runtimes = runtimes_of(kind)
    out = out.resolve()
    if out.is_dir():
        raise UserError(f"{out} is a folder. Name a file for the archive.")
    if not replace:
        refuse_other_archive(out, facts)
    with scratch_beside(out) as scratch:
        staged = scratch / "staged"
        staged.mkdir()
        stage_handler(staged)
        stage_release(release, facts, staged, runtimes)
        try_models(staged, runtimes)
        write_settings(scratch / CONFIG, batch=min(runtime.batch for runtime in runtimes))
        data = normalised_zip(lay_out(staged, facts))
        write_atomic(scratch / out.name, data)
        (scratch / out.name).replace(out)
    return hashlib.sha256(data).hexdigest()


def write_settings(path: Path, batch: int) -> None:
    """Write TorchServe's settings of the model, with the most pictures that a worker is given at once."""
    path.write_text(Template((HANDLER / CONFIG).read_text()).substitute(batch=batch))


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


def try_models(staged: Path, runtimes: Sequence[Runtime]) -> None:
    """Let each runtime that is installed answer the release's known pictures, in each precision that it has there.

    Raises:
        UserError: one answers otherwise, or not at all, or none is installed.
    """
    installed = [runtime for runtime in runtimes if is_installed(runtime.package)]
    for runtime in installed or runtimes:
        precisions = [runtime.usual_precision()] if runtime.gpu else list(runtime.models)
        for precision in precisions:
            if (staged / runtime.models[precision].name).exists():
                try_model(staged, runtime, precision)


def try_model(staged: Path, runtime: Runtime, precision: str) -> None:
    """Let the packed model answer the release's known pictures.

    Raises:
        UserError: it answers otherwise, or not at all: each runtime has exceptions of its own for a model that it
            cannot run.
    """
    try:
        Predictor(staged, runtime.name, precision)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"The model cannot answer by {runtime.title}, so release.json does not go with it: {first_line(error)}"
        ) from error


def lay_out(staged: Path, facts: Release) -> Path:
    """The archive's files as a folder, by torch-model-archiver, beside `staged` and its settings.

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
        config_file=CONFIG,
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
