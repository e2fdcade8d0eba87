"""Photographs of other animals than cats and dogs, out of a package of Debian 12, for tests.monitoring.delays:

    apt-get download gcompris-qt-data && dpkg -x gcompris-qt-data_3.1-2_all.deb unpacked
    .venv-train/bin/python -m tests.monitoring.other_animals unpacked animals

Writes 82 pictures, 54 photographs of mammals, birds, reptiles and insects, and 28 of fish, and beside them animals.csv:
their statistics and predictions by the shipped release. The repository holds that file alone, for quick tests. The
package's copyright file names the photographs' authors.
"""

import struct
import sys
from collections.abc import Iterator
from pathlib import Path

from handler.components import FILE, read_components
from handler.features import FEATURES
from tests.monitoring.measuring import measured
from tests.monitoring.replay import RELEASE
from training.release.reference import sample

TABLE = "animals.csv"
# In the order of each file, without what is no photograph of an animal and without its cats and dogs.
CHOSEN = {
    "erase": set(range(32)),
    "explore_farm_animals": {0, 1, 2, 3, 5, 6, 8},
    "explore_world_animals": set(range(15)),
    "categorization": set(range(69, 97)),
}
FOLDER = Path("usr/share/gcompris-qt/rcc")


def pictures_in(data: bytes) -> Iterator[bytes]:
    """Yield the WebP pictures that lie uncompressed in one of Qt's resource files."""
    at = data.find(b"RIFF")
    while at >= 0:
        if data[at + 8 : at + 12] == b"WEBP":
            (size,) = struct.unpack_from("<I", data, at + 4)
            yield data[at : at + 8 + size]
        at = data.find(b"RIFF", at + 4)


def main(unpacked: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for name, chosen in CHOSEN.items():
        for number, picture in enumerate(pictures_in((unpacked / FOLDER / f"{name}.rcc").read_bytes())):
            if number in chosen:
                (out / f"{name}-{number:03d}.webp").write_bytes(picture)
    pictures = (path.read_bytes() for path in sorted(out.glob("*.webp")))
    names = [*FEATURES, *read_components(RELEASE / FILE).names]
    (out / TABLE).write_bytes(sample(measured(pictures), names))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
