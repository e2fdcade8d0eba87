"""Archives that the tests on a cluster deploy: python -m tests.cluster.models ARCHIVE OUT"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.e2e.support import repack

NEXT_VERSION = "9.9.9"


def make(archive: Path, out: Path) -> None:
    """next.mar is of another version; broken.mar is whole, but its network does not answer as it says."""

    def of(change: Callable[[dict[str, Any]], object]) -> Callable[[bytes], bytes]:
        def changed(data: bytes) -> bytes:
            release = json.loads(data)
            change(release)
            return json.dumps(release, indent=2).encode()

        return changed

    half = repack(archive, out / "half.mar", "release.json", of(lambda release: release.update(version=NEXT_VERSION)))
    manifest = "MAR-INF/MANIFEST.json"
    repack(half, out / "next.mar", manifest, of(lambda manifest: manifest["model"].update(modelVersion=NEXT_VERSION)))
    half.unlink()
    repack(archive, out / "broken.mar", "release.json", of(lambda release: release["golden_logits"].reverse()))


if __name__ == "__main__":
    make(Path(sys.argv[1]), Path(sys.argv[2]))
