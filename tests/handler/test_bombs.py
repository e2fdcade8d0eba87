"""No picture costs more than 2 s of CPU time, and 300 MB besides what was sent."""

import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from handler.catsdogs_handler import ROW_S, CatsDogsHandler
from handler.image_memory import MAX_MEMORY
from handler.memory import ROW
from tests import zoo
from tests.bombs import BOMBS
from tests.handler.test_mutations import ask


def memory(line: str) -> int:
    """Bytes: VmRSS is what the process has now, VmHWM the most that it had since it was asked to forget."""
    (kib,) = [row.split()[1] for row in Path("/proc/self/status").read_text().splitlines() if row.startswith(line)]
    return 1024 * int(kib)


def cost(ready: CatsDogsHandler, folder: Path, bodies: list[bytes]) -> tuple[float, int, list[int]]:
    """Seconds of CPU time, bytes at the most, and the answers' statuses."""
    Path("/proc/self/clear_refs").write_text("5")
    before, started = memory("VmRSS"), time.process_time()
    answers = ask(ready, folder, bodies)
    return time.process_time() - started, memory("VmHWM") - before, [status for status, _ in answers]


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_goes_off_without_harm(ready: CatsDogsHandler, unpacked: Path, name: str) -> None:
    cpu_s, most, statuses = cost(ready, unpacked, [BOMBS[name](), zoo.CAT.read_bytes()])
    # What cannot be interrupted at once, one call into a decoder, is small.
    assert cpu_s < ROW_S + 1.2
    assert most < ROW
    assert statuses[0] in (200, 413, 415, 422)
    assert statuses[1] == 200


@pytest.mark.slow
def test_eight_bombs_at_once_leave_time_for_an_answer(ready: CatsDogsHandler, unpacked: Path) -> None:
    """TorchServe kills a worker after 10 s."""
    bombs = [BOMBS["jpeg of small scans"]()] * 7
    cpu_s, _, statuses = cost(ready, unpacked, [*bombs, zoo.CAT.read_bytes()])
    assert statuses == [413, *[503] * 6, 200]
    assert cpu_s < 7


LARGE: dict[str, tuple[str, dict[str, Any]]] = {
    "png": ("RGB", {}),
    "png with alpha": ("RGBA", {}),
    "png of 16 bits": ("I;16", {}),
    "gif": ("P", {"transparency": 3}),
    "tiff": ("CMYK", {"compression": "tiff_adobe_deflate"}),
    "jpeg": ("RGB", {}),
    "jpeg progressive": ("RGB", {"progressive": True}),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", LARGE)
def test_fifty_megapixels_are_answered_and_take_no_more_than_that(
    ready: CatsDogsHandler, unpacked: Path, kind: str
) -> None:
    mode, options = LARGE[kind]
    body = zoo.encode(Image.new(mode, (10_000, 5_000)), kind.split()[0].upper(), **options)
    cpu_s, most, statuses = cost(ready, unpacked, [body])
    assert statuses == [200]
    assert cpu_s < 2
    assert most < MAX_MEMORY
