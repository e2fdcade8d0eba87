"""The members of an archive: their names, and the list of their sha256 that `package` puts beside them."""

import json
import re
from collections.abc import Mapping
from typing import Any

MANIFEST = "MAR-INF/MANIFEST.json"
# In the form that `sha256sum --check` reads. It names every member but itself.
LIST = "MAR-INF/SHA256SUMS"
RELEASE = "release.json"
HANDLER = "catsdogs_handler.py"
CONFIG = "model-config.yaml"
CARD = "MODEL_CARD.md"
# Below 2 GiB, from where Python's zipfile writes the extended form.
MAX_BYTES = 2_000_000_000
MAX_NAME = 200
# Of a model's name and of its version, which become part of addresses, settings and names of files.
MAX_WORD = 100
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")


def check_member_name(name: str) -> str:
    """Return a member's name as it is.

    Raises:
        ValueError: it could lead out of the folder that the archive is unpacked to, be hidden there, or break a line.
    """
    if len(name) > MAX_NAME or not NAME.fullmatch(name):
        raise ValueError(
            f"a member is named {name[:MAX_NAME]!a}: a name has letters, digits and - _ . in it, with / between folders"
        )
    return name


def list_of(sha256s: Mapping[str, str]) -> bytes:
    """Return the content of LIST for these members, by name: always the same for the same members."""
    return "".join(f"{sha256s[name]}  {name}\n" for name in sorted(sha256s)).encode()


def manifest_text(manifest: Mapping[str, Any]) -> bytes:
    """Return the content of MANIFEST: always the same for the same values."""
    return json.dumps(manifest, indent=2, sort_keys=True).encode()
