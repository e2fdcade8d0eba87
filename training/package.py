"""A release -> `<name>.mar`, by torch-model-archiver, then normalised: same inputs, same sha256. Needs no torch.

    catsdogs package model-store/catsdogs

The archive holds the handler package, release.json and one model file, and needs nothing of this repository to run.
"""

import hashlib
import io
import json
import logging
import re
import shutil
import subprocess
import sys
import tempfile
import uuid
import zipfile
from pathlib import Path

import handler
from handler.files import UserError, sha256_file, write_atomic
from handler.predictor import Predictor
from handler.release import read_release, verify_file

HANDLER = Path(handler.__file__).parent
ENTRY = "catsdogs_handler.py"
# The zip format's first moment: an archive must not know when it was made.
EPOCH = (1980, 1, 1, 0, 0, 0)
UUID = re.compile(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def convert_to_mnn(onnx: Path, mnn: Path) -> None:
    """Converts with MNN's own converter, and gives the file a name that follows from the weights.

    The converter is called below its command line, which sends usage statistics and installs a package for that.

    Raises:
        UserError: the converter refuses.
    """
    arguments = ["", "-f", "ONNX", "--modelFile", str(onnx), "--MNNModel", str(mnn), "--bizCode", "catsdogs"]
    code = "import sys, _tools; _tools.mnnconvert(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments, "--keepInputFormat", "1"], capture_output=True, text=True
    )
    if done.returncode or not mnn.exists():
        raise UserError(f"MNN cannot convert {onnx}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    data = bytearray(mnn.read_bytes())
    # A random uuid near the start, seen at offset 72; it would make every archive another one.
    found = UUID.search(data, 0, 512)
    if found is None:
        raise UserError(f"{mnn} has no uuid where this converter puts one: check training/package.py against its MNN.")
    data[found.start() : found.end()] = str(uuid.uuid5(uuid.NAMESPACE_OID, sha256_file(onnx))).encode()
    mnn.write_bytes(data)


def stage(release: Path, folder: Path, runtime: str) -> None:
    """Lays out what the archive holds besides the handler's entry file."""
    names = [path.relative_to(HANDLER) for path in sorted(HANDLER.rglob("*.py")) if path.name != ENTRY]
    for name in names:
        target = folder / "handler" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(HANDLER / name, target)
    values = json.loads((release / "release.json").read_bytes())
    files = values["files"]
    if runtime == "mnn":
        convert_to_mnn(release / "model.onnx", folder / "model.mnn")
        values["files"] = {**files, "model.mnn": sha256_file(folder / "model.mnn")}
    else:
        shutil.copyfile(release / "model.onnx", folder / "model.onnx")
    (folder / "release.json").write_text(json.dumps(values, indent=2) + "\n")


def package(release: Path, out: Path, runtime: str = "mnn") -> str:
    """Writes the archive `out`, after the packed model has answered the release's known pictures.

    Args:
        runtime: `mnn`, or `ort` for ONNX Runtime.

    Returns:
        The archive's sha256.

    Raises:
        UserError: the release is incomplete, corrupted, or answers otherwise once converted.
    """
    from model_archiver.model_archiver import ModelArchiver
    from model_archiver.model_archiver_config import ModelArchiverConfig

    facts = read_release(release)
    verify_file(release, "model.onnx", facts.files.get("model.onnx", "not listed"))
    logging.getLogger().setLevel(logging.ERROR)  # the archiver's own "INFO" lines name temporary folders
    with tempfile.TemporaryDirectory(prefix="catsdogs-package-") as scratch:
        staged, exported = Path(scratch, "staged"), Path(scratch, "exported")
        staged.mkdir()
        exported.mkdir()
        stage(release, staged, runtime)
        Predictor(staged, runtime)
        config = ModelArchiverConfig(
            model_name=facts.name,
            version=facts.version,
            handler=str(HANDLER / ENTRY),
            extra_files=str(staged),
            config_file=str(HANDLER / "model-config.yaml"),
            export_path=str(exported),
            archive_format="no-archive",
        )
        ModelArchiver.generate_model_archive(config)
        data = normalised_zip(exported / facts.name)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, data)
    return hashlib.sha256(data).hexdigest()


def normalised_zip(folder: Path) -> bytes:
    """Sorted, stored and without times or owners; the manifest forgets when it was made.

    Stored, because weights do not shrink, deflate differs between zlibs, and the server starts faster.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            data = path.read_bytes()
            if path.name == "MANIFEST.json":
                manifest = json.loads(data)
                del manifest["createdOn"]
                data = json.dumps(manifest, indent=2, sort_keys=True).encode()
            info = zipfile.ZipInfo(path.relative_to(folder).as_posix(), EPOCH)
            info.external_attr = 0o644 << 16
            archive.writestr(info, data)
    return buffer.getvalue()
