"""An archive is checked as a whole before a server is started on it or its model is run.

Two checks differ in strength. The archive's own sha256, where the caller knows it from elsewhere (`--sha256`), proves
that it is the one that was meant. The list inside (MAR-INF/SHA256SUMS) names the sha256 of every other member, so it
finds a damaged disk, a copy that was cut off, and a member that somebody changed, added or removed. It proves nothing
about who made the archive: whoever can change the list too can make an archive that passes.

A signature beside the archive (FILE.sig) proves who made it, where the caller has the maker's public key: it names the
archive's sha256.
"""

import importlib.metadata
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handler.files import UserError, sha256_file
from handler.members import CARD, CONFIG, HANDLER, LIST, MANIFEST, MAX_WORD, RELEASE, list_of, manifest_text
from handler.preprocess import InputSpec
from handler.release import Release, check_name, read_release
from handler.unsure import NO_THRESHOLD, is_usual
from serving.server.golden import golden_answers
from serving.server.mar import Contents, read_contents

FIELDS = {"archiverVersion", "model", "runtime"}


@dataclass(frozen=True, slots=True)
class Archive:
    path: Path
    name: str
    version: str
    classes: list[str]
    input: InputSpec
    weights_sha256: str
    list_sha256: str
    """sha256 of the list of its members: two archives with the same list have the same members."""
    names: dict[str, str]
    """Display name of each class that has another than itself."""
    golden: dict[str, list[dict[str, Any]]]
    """Answers to the golden pictures, by precision."""
    unsure: dict[str, float]
    """Probability below which an answer is unsure, by precision."""
    card: bytes | None = None
    """The model card, in Markdown, where the archive has one."""

    def unpack(self, folder: Path) -> None:
        """Write the members that were checked into `folder`, an empty folder.

        Raises:
            UserError: the file is another one by now; the folder is left empty.
        """
        if unpack(self.path, folder) != self:
            _empty(folder)
            raise UserError(f"{self.path} was changed after it was checked. Nothing was started.")

    def check_unsure(self) -> None:
        """Raise UserError where answers are to say whether they are unsure, and there is no threshold for that."""
        if is_usual() and not self.unsure:
            raise UserError(NO_THRESHOLD)

    def facts(self) -> dict[str, Any]:
        """The facts about the model that clients may ask for."""
        return {
            "name": self.name,
            "version": self.version,
            "classes": self.classes,
            "names": self.names,
            "size": self.input.size,
            "sha256": self.weights_sha256,
            "golden": self.golden,
            "unsure": self.unsure,
            "card": self.card is not None,
            "server": importlib.metadata.version("catsdogs"),
        }


def read_archive(path: Path, sha256: str | None = None, model_key: Path | None = None) -> Archive:
    """Check an archive and every member of it.

    Args:
        sha256: what the archive itself must have, where the caller knows it.
        model_key: public keys, one of which must have signed it.

    Raises:
        UserError: it is missing, corrupted, another one, or not signed by the key.
    """
    if model_key is None:
        return _check(path, sha256, None)
    from serving.signature.archive import signed_sha256

    # What the signature names is then held to, in the same pass that reads the members.
    return _check(path, signed_sha256(path, model_key, sha256), None, "signed")


def unpack(path: Path, folder: Path, sha256: str | None = None) -> Archive:
    """Check an archive as `read_archive` does, and write its members into `folder`, an empty folder, in the same pass.

    What lies in the folder afterwards is what was checked, also where somebody writes to the archive meanwhile. Where
    it is refused, the folder is left empty.

    Raises:
        UserError: as read_archive.
    """
    try:
        return _check(path, sha256, folder)
    except BaseException:
        _empty(folder)
        raise


def _empty(folder: Path) -> None:
    for left in folder.iterdir():
        shutil.rmtree(left) if left.is_dir() else left.unlink()


def _check(path: Path, sha256: str | None, folder: Path | None, how: str = "asked for") -> Archive:
    if path.is_dir():
        raise UserError(f"{path} is a folder, and no archive. Make one of a release by: catsdogs package {path}")
    if not path.is_file():
        raise UserError(f"There is no archive {path}. Make it by: catsdogs package")
    try:
        file = path.open("rb")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    with file:
        try:
            contents = read_contents(file, folder, hash_whole=sha256 is not None)
        except ValueError as error:
            if sha256 is not None and (digest := sha256_file(path)) != sha256:
                raise _other(path, digest, sha256, how) from error
            raise UserError(
                f"{path} is not an archive of catsdogs, or is corrupted: {str(error).rstrip('.')}."
            ) from error
    if sha256 is not None and contents.sha256 != sha256:
        raise _other(path, contents.sha256, sha256, how)
    check_list(path, contents)
    try:
        name, version = check_manifest(contents.texts[MANIFEST])
        release = check_release(contents)
        if (name, version) != (release.name, release.version):
            raise ValueError(f"its manifest is of {name} {version}, its release of {release.name} {release.version}")
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is not an archive of catsdogs, or is corrupted: {str(error).rstrip('.')}.") from error
    return Archive(
        path,
        name,
        version,
        release.classes,
        release.input,
        release.weights_sha256,
        contents.sha256s[LIST],
        release.names,
        golden_answers(release),
        release.unsure,
        contents.texts.get(CARD),
    )


def _other(path: Path, actual: str, wanted: str, how: str) -> UserError:
    return UserError(f"{path} is not the archive that was {how}: its sha256 is {actual}, not {wanted}.")


def check_list(path: Path, contents: Contents) -> None:
    """Raise UserError where a member is missing, unknown, or not the one of the list."""
    held = {name: sha256 for name, sha256 in contents.sha256s.items() if name != LIST}
    missing = next((name for name in (MANIFEST, RELEASE, HANDLER, CONFIG) if name not in held), None)
    if missing:
        raise UserError(f"{path} is not an archive of catsdogs, or is corrupted: it has no {missing}.")
    if LIST not in contents.texts:
        raise UserError(
            f"{path} was made before archives listed the sha256 of every member, so it cannot be checked. "
            f"Make it again by: catsdogs package"
        )
    text = contents.texts[LIST]
    if text == list_of(held):
        return
    lines = [line.partition("  ") for line in text.decode(errors="replace").splitlines()]
    listed = {name: sha256 for sha256, _, name in lines}
    for name, sha256 in held.items():
        if name not in listed:
            raise UserError(f"{path} is corrupted: {name} is in it, but not in its list of members.")
        if listed[name] != sha256:
            raise UserError(f"{path} is corrupted: {name} in it is not the one of its list of members.")
    for name in listed:
        if name not in held:
            raise UserError(f"{path} is corrupted: {name[:MAX_WORD]!a} is in its list of members, but not in it.")
    raise UserError(f"{path} is corrupted: its list of members is not as catsdogs package writes it.")


def check_manifest(data: bytes) -> tuple[str, str]:
    """Return the model's name and version from MANIFEST.json, which TorchServe takes its settings from.

    Raises:
        ValueError: it is not as `package` writes it: another handler, a field of another meaning, a name that no
            address or settings file should have.
    """
    manifest = json.loads(data)
    model = manifest["model"]
    name, version = model["modelName"], model["modelVersion"]
    wanted = {"configFile": CONFIG, "handler": HANDLER, "modelName": name, "modelVersion": version}
    if model != wanted or manifest.get("runtime") != "python" or not manifest.keys() <= FIELDS:
        raise ValueError(f"{MANIFEST} is not as catsdogs package writes it")
    # One text for one meaning: TorchServe's reader may take another of two fields with the same name than ours does.
    if data != manifest_text(manifest):
        raise ValueError(f"{MANIFEST} is not written as catsdogs package writes it")
    for word in (name, version, manifest.get("archiverVersion", "0")):
        if not isinstance(word, str) or len(word) > MAX_WORD:
            raise ValueError(f"a name or version in {MANIFEST} is longer than {MAX_WORD} characters")
        check_name(word)
    return name, version


def check_release(contents: Contents) -> Release:
    """Return what release.json says, and raise ValueError where a model file is not the one that it names."""
    with tempfile.TemporaryDirectory(prefix="catsdogs-release-") as folder:
        Path(folder, RELEASE).write_bytes(contents.texts[RELEASE])
        try:
            release = read_release(Path(folder))
        except UserError as error:
            raise ValueError(str(error).replace(f"{folder}/", "")) from error
    for name, sha256 in release.files.items():
        if contents.sha256s.get(name, sha256) != sha256:
            raise ValueError(f"{name} in it is not the one of its release.json")
    return release
