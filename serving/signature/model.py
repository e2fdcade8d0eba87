"""Sign a model and verify it: an archive, which is one file, or the folder of a release."""

import os
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from handler.files import UserError, sha256_file, write_atomic
from serving.signature.bundle import MAX_BYTES, make_bundle, open_bundle
from serving.signature.statement import MAX_FILES, SINGLE, Statement, is_path

IN_FOLDER = "model.sig"
GIT = frozenset({".git", ".gitattributes", ".github", ".gitignore"})


class SignatureError(UserError):
    """A model is not signed, or not as it is now, or not by the given key."""


def signature_of(model: Path) -> Path:
    """Return where a model's signature lies: beside an archive, in the folder of a release."""
    return model / IN_FOLDER if model.is_dir() else model.with_name(f"{model.name}.sig")


def sign(model: Path, signature: Path, key: ec.EllipticCurvePrivateKey, sha256: str | None = None) -> Statement:
    """Write the signature of a model.

    Args:
        sha256: of an archive that was checked.

    Raises:
        UserError: it is neither an archive nor a folder of files.
    """
    ignored = frozenset(GIT | _within(model, signature)) if model.is_dir() else frozenset()
    statement = Statement(model.resolve().name, {SINGLE: sha256} if sha256 else hash_files(model, ignored), ignored)
    write_atomic(signature, make_bundle(statement, key))
    return statement


def verify(model: Path, signature: Path, keys: Sequence[ec.EllipticCurvePublicKey]) -> Statement:
    """Return what was signed, once each file of the model is as it was, and none is missing or new.

    Raises:
        SignatureError: one sentence says what is wrong.
    """
    statement = read_signature(signature, keys)
    if model.is_dir() == (SINGLE in statement.files):
        kinds = ("one file", "a folder")
        raise SignatureError(f"{signature} is for {kinds[not model.is_dir()]}, and {model} is {kinds[model.is_dir()]}.")
    ignored = statement.ignored & frozenset(GIT | _within(model, signature))
    actual = hash_files(model, ignored)
    for name, sha256 in statement.files.items():
        path = model if name == SINGLE else model / name
        if name not in actual:
            raise SignatureError(f"{path} was signed, and is missing.")
        if actual[name] != sha256:
            raise SignatureError(f"{path} is not what was signed: its sha256 is {actual[name]}, not {sha256}.")
    if extra := next(iter(sorted(actual.keys() - statement.files.keys())), None):
        raise SignatureError(f"{model / extra} was not signed.")
    return statement


def read_signature(path: Path, keys: Sequence[ec.EllipticCurvePublicKey]) -> Statement:
    """Return the statement of a signature that one of these keys made.

    Raises:
        SignatureError: there is none, or it is not accepted.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise SignatureError(f"{path} is missing: the model is not signed. Sign it by: catsdogs sign") from error
    except OSError as error:
        raise SignatureError(f"The signature {path} cannot be read: {error.strerror}.") from error
    return check_signature(data, str(path), keys)


def check_signature(data: bytes, source: str, keys: Sequence[ec.EllipticCurvePublicKey]) -> Statement:
    """Return the statement of a signature's bytes, as `read_signature` does; `source` is for the error."""
    try:
        return open_bundle(data, keys)
    except ValueError as error:
        raise SignatureError(f"The signature {source} is not accepted: {error}.") from error


def single_sha256(statement: Statement, source: str) -> str:
    """Return the sha256 of the only file, where the signature is that of an archive.

    Raises:
        SignatureError: it is that of a folder.
    """
    if SINGLE not in statement.files:
        raise SignatureError(f"{source} is the signature of a folder: sign the archive by catsdogs sign.")
    return statement.files[SINGLE]


def hash_files(model: Path, ignored: frozenset[str] = frozenset()) -> dict[str, str]:
    """Return the sha256 of each file by its path within the model.

    Raises:
        UserError: something there is no plain file, for what a link leads to may be exchanged; or there are too many.
    """
    if model.is_file():
        return {SINGLE: sha256_file(model)}
    if not model.is_dir():
        raise UserError(f"There is no file or folder {model}.")
    files: dict[str, str] = {}
    for place, folders, names in os.walk(model):
        folders[:] = sorted(name for name in folders if _relative(model, place, name) not in ignored)
        for name in sorted(names) + [name for name in folders if Path(place, name).is_symlink()]:
            path, relative = Path(place, name), _relative(model, place, name)
            if relative in ignored:
                continue
            if path.is_symlink() or not path.is_file():
                raise SignatureError(f"{path} is a link or no plain file: a signature is for plain files alone.")
            if not is_path(relative) or len(files) == MAX_FILES:
                raise SignatureError(f"{model} has more than {MAX_FILES} files, or one with an odd name.")
            files[relative] = sha256_file(path)
    if not files:
        raise UserError(f"{model} has no files.")
    return files


def _relative(model: Path, place: str, name: str) -> str:
    return (Path(place) / name).relative_to(model).as_posix()


def _within(model: Path, signature: Path) -> set[str]:
    """Return the signature's path within the model, where it lies there."""
    there = signature.resolve().is_relative_to(model.resolve())
    return {signature.resolve().relative_to(model.resolve()).as_posix()} if there else set()
