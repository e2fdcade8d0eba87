"""The in-toto statement of a signature: the sha256 of each file of a model."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://model_signing/signature/v1.0"
SHA256 = re.compile(r"[0-9a-f]{64}")
# A single file has no path within the model.
SINGLE = "."
MAX_FILES = 10_000
MAX_NAME = 1000
MAX_SHOWN = 100


@dataclass(frozen=True, slots=True)
class Statement:
    """A model as it was signed."""

    name: str
    """Name of the file or folder at the time. It proves nothing: files may be renamed."""
    files: Mapping[str, str]
    """sha256 by path within the model; a single file has the path SINGLE."""
    ignored: frozenset[str] = frozenset()
    """Paths that the signer left out."""

    def to_bytes(self) -> bytes:
        names = sorted(self.files, key=lambda name: name.split("/"))
        document = {
            "_type": STATEMENT,
            "subject": [{"name": self.name, "digest": {"sha256": root_digest([self.files[name] for name in names])}}],
            "predicateType": PREDICATE,
            "predicate": {
                "serialization": {
                    "method": "files",
                    "hash_type": "sha256",
                    "allow_symlinks": False,
                    "ignore_paths": sorted(self.ignored),
                },
                "resources": [{"name": name, "algorithm": "sha256", "digest": self.files[name]} for name in names],
            },
        }
        return json.dumps(document, indent=2).encode()


def root_digest(digests: list[str]) -> str:
    """Return the sha256 of the files' digests, one behind the other."""
    return hashlib.sha256(b"".join(map(bytes.fromhex, digests))).hexdigest()


def parse_statement(data: bytes) -> Statement:
    """Read a statement whose signature was verified.

    Raises:
        ValueError: it is not one about a model's files by sha256.
    """
    document = read_json(data)
    if document.get("_type") != STATEMENT:
        raise ValueError(f"it is no in-toto statement of version 1, but {shown(document.get('_type'))}")
    if document.get("predicateType") != PREDICATE:
        raise ValueError(f"it states {shown(document.get('predicateType'))}, not {PREDICATE}")
    subject = document.get("subject")
    subject = _object(subject[0], "its subject") if isinstance(subject, list) and len(subject) == 1 else {}
    name, root = subject.get("name"), _object(subject.get("digest"), "its subject's digest").get("sha256")
    predicate = _object(document.get("predicate"), "its predicate")
    serialization = _object(predicate.get("serialization"), "its serialization")
    kind = serialization.get("method"), serialization.get("hash_type")
    if kind != ("files", "sha256"):
        raise ValueError(f"it lists {shown(kind[0])} by {shown(kind[1])}; sign files by sha256")
    ignored = serialization.get("ignore_paths", [])
    if not isinstance(name, str) or not isinstance(ignored, list) or not all(isinstance(path, str) for path in ignored):
        raise ValueError("it does not name its subject, or the paths that it ignores")
    files = _files(predicate.get("resources"))
    if root != root_digest(list(files.values())):
        raise ValueError("its subject's digest is not that of its files")
    return Statement(name, files, frozenset(ignored))


def _files(resources: object) -> dict[str, str]:
    if not isinstance(resources, list) or not 1 <= len(resources) <= MAX_FILES:
        raise ValueError(f"it must list 1 to {MAX_FILES} files")
    files: dict[str, str] = {}
    for resource in resources:
        values = _object(resource, "a file")
        name, digest = values.get("name"), values.get("digest")
        if values.get("algorithm") != "sha256" or not isinstance(digest, str) or not SHA256.fullmatch(digest):
            raise ValueError("it must give the sha256 of each file")
        if not isinstance(name, str) or not is_path(name):
            raise ValueError(f"it lists a file by a name that may lead elsewhere: {shown(name)}")
        if name in files:
            raise ValueError(f"it lists {shown(name)} twice")
        files[name] = digest
    if SINGLE in files and len(files) > 1:
        raise ValueError("it is of a single file and of others")
    return files


def is_path(name: str) -> bool:
    """Whether a name is a path within a folder, written in the only way, or SINGLE."""
    plain = name.isprintable() and "\\" not in name and len(name) <= MAX_NAME
    return name == SINGLE or (plain and all(part not in ("", ".", "..") for part in name.split("/")))


def read_json(data: bytes) -> dict[str, Any]:
    """Return a JSON object, in which no key stands twice.

    Raises:
        ValueError: it is none.
    """
    try:
        return _object(json.loads(data, object_pairs_hook=_once), "it")
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError("it is not JSON") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("it has a key twice")
    return values


def _object(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{where} is no JSON object")
    return value


def shown(value: object) -> str:
    """Return a value of a stranger's, short and in printable characters."""
    return f"{str(value)[:MAX_SHOWN]!a}"
