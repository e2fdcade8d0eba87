"""Archives that the tests on a cluster deploy: python -m tests.cluster.models ARCHIVE OUT"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.e2e.support import repack

NEXT_VERSION = "9.9.9"
POOR_VERSION = "6.6.6"
Change = Callable[[dict[str, Any]], object]


def make(archive: Path, out: Path) -> None:
    """next.mar is of another version; broken.mar is whole, but its network does not answer as it says; poor.mar is of
    another version and passes its own check, but calls every cat a dog."""
    change(archive, out / "next.mar", "release.json", lambda release: release.update(version=NEXT_VERSION))
    name(out / "next.mar", NEXT_VERSION)
    change(archive, out / "broken.mar", "release.json", exchange_golden_answers)
    # What the network gives stays as it was measured: only whose place in it is whose is exchanged.
    swapped = {"version": POOR_VERSION, "classes": ["dog", "cat"]}
    change(archive, out / "poor.mar", "release.json", lambda release: release.update(swapped))
    name(out / "poor.mar", POOR_VERSION)


def exchange_golden_answers(release: dict[str, Any]) -> None:
    """Reverse the order of the golden answers, in each precision."""
    for facts in (release, *release.get("precisions", {}).values()):
        if "golden_logits" in facts:
            facts["golden_logits"].reverse()


def name(archive: Path, version: str) -> None:
    """Its version, as TorchServe is told it."""
    change(archive, archive, "MAR-INF/MANIFEST.json", lambda manifest: manifest["model"].update(modelVersion=version))


def change(archive: Path, out: Path, file: str, step: Change) -> None:
    """A copy of an archive, with one file of JSON changed."""

    def changed(data: bytes) -> bytes:
        document = json.loads(data)
        step(document)
        return json.dumps(document, indent=2).encode()

    half = out.with_suffix(".half")
    repack(archive, half, file, changed)
    half.replace(out)


if __name__ == "__main__":
    make(Path(sys.argv[1]), Path(sys.argv[2]))
