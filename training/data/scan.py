"""Trees of class folders -> every file decoded once: its sha256, dHash and size, or the reason why it is set aside.

Results are kept in a file of one JSON line per picture, so that a run that was killed goes on where it stopped
and the next one only looks at times and sizes.
"""

import hashlib
import json
import os
import signal
import stat
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path

import PIL

from handler.files import UserError, write_atomic
from handler.load_image import upright
from handler.open_image import open_image
from handler.problem import Problem
from training.data.duplicates import dhash
from training.interrupts import held_back

# A kept line holds for the decoder that wrote it: another one may round a pixel, and so a hash, otherwise.
DECODER = f"2, Pillow {PIL.__version__}"
# Pictures that a worker takes at once: Ctrl-C waits for them, at most seconds where each has 50 megapixels.
CHUNK = 16


@dataclass(frozen=True, slots=True)
class Stamp:
    """A file's size in bytes and time of last change in ns, by which it is known to be unchanged."""

    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Scanned:
    """A picture that can be trained on; its size in pixels is that of the upright picture."""

    path: Path
    stamp: Stamp
    sha256: str
    dhash: bytes
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A file that cannot be trained on, and why: a code, a colon and a sentence.

    `stamp` is None where the reason may pass without a change of the file, so that it is looked at again.
    """

    path: str
    reason: str
    stamp: Stamp | None = None


def scan_file(path: Path) -> Scanned | Quarantined:
    """Decodes one picture fully: `verify()` of Pillow lets truncated JPEGs pass."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return Quarantined(str(path), "not_a_file: it is a device, pipe or socket")
        stamp = Stamp(status.st_size, status.st_mtime_ns)
        data = path.read_bytes()
    except OSError as error:
        return Quarantined(str(path), f"unreadable: {error.strerror}")
    if not data:
        return Quarantined(str(path), "no_image: the file is empty", stamp)
    try:
        image = upright(open_image(data))
        bits = dhash(image)
    except Problem as problem:
        return Quarantined(str(path), f"{problem.code}: {problem.detail}", stamp)
    except MemoryError:
        return Quarantined(str(path), "out_of_memory: this machine has too little to decode it")
    except Exception as error:
        return Quarantined(str(path), f"corrupt_image: {error}", stamp)
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return Quarantined(str(path), "bad_name: the path is not UTF-8, so a manifest cannot name it", stamp)
    return Scanned(path, stamp, hashlib.sha256(data).hexdigest(), bits, image.width, image.height)


def scan(
    files: Sequence[Path],
    kept: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[list[Scanned | Quarantined], int]:
    """Scans files on all cores, in their order.

    Args:
        kept: file that holds the results of earlier runs, and to which this one adds.
        progress: called with files done and files in all.

    Returns:
        One result per file, and how many of the files had to be decoded.
    """
    results = _known(files, kept) if kept else {}
    new = [path for path in files if path not in results]
    progress(len(files) - len(new), len(files))
    if new:
        # Closing stops the workers at once where Ctrl-C or a full disk ends the loop.
        with _appended(kept) as keep, closing(_decoded(new)) as decoded:
            for done, result in enumerate(decoded, start=len(files) - len(new) + 1):
                results[Path(result.path)] = result
                keep(result)
                if done % CHUNK == 0 or done == len(files):
                    progress(done, len(files))
    return [results[path] for path in files], len(new)


def _decoded(files: Sequence[Path]) -> Generator[Scanned | Quarantined]:
    # A server that forks workers: they share no lock with our threads, and no pipe with each other that would keep
    # them alive when we are killed.
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    pool = ProcessPoolExecutor(mp_context=context, initializer=_start_worker)
    try:
        with held_back():
            results = pool.map(scan_file, files, chunksize=CHUNK)
        yield from results
    except BrokenProcessPool as error:
        raise UserError(
            "A process that decodes pictures was killed, perhaps for want of memory. The same command goes on there."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@contextmanager
def _appended(kept: Path | None) -> Iterator[Callable[[Scanned | Quarantined], None]]:
    """A function that adds a result to the file, where there is one, and gives it to the system at once."""
    if kept is None:
        yield lambda result: None
        return
    kept.parent.mkdir(parents=True, exist_ok=True)
    whole = not kept.exists() or kept.read_bytes()[-1:] in (b"", b"\n")
    with kept.open("a", buffering=1, encoding="ascii") as file:
        # What a kill or a full disk cut off stays a line of its own, which nobody can read.
        file.write("" if whole else "\n")
        yield lambda result: _write_line(file.write, result)


def _write_line(write: Callable[[str], object], result: Scanned | Quarantined) -> None:
    if result.stamp is not None:
        write(f"{_line(result)}\n")


def _line(result: Scanned | Quarantined) -> str:
    assert result.stamp is not None
    rest = (
        [result.reason]
        if isinstance(result, Quarantined)
        else [result.sha256, result.dhash.hex(), result.width, result.height]
    )
    # JSON in ASCII holds any path, with line breaks and bytes that are no UTF-8.
    return json.dumps([DECODER, str(result.path), result.stamp.size, result.stamp.mtime_ns, *rest])


def _known(files: Sequence[Path], kept: Path) -> dict[Path, Scanned | Quarantined]:
    """Return the kept results for those of `files` that have not changed since."""
    try:
        lines = kept.read_text(encoding="ascii", errors="replace").splitlines()
    except FileNotFoundError:
        return {}
    latest = {str(result.path): result for result in map(_parse, lines) if result is not None}
    # Changed pictures leave their old lines behind.
    if len(lines) > 2 * len(latest) + 1000:
        write_atomic(kept, "".join(f"{_line(result)}\n" for result in latest.values()).encode())
    return dict(_unchanged(files, latest))


def _unchanged(
    files: Sequence[Path], latest: Mapping[str, Scanned | Quarantined]
) -> Iterator[tuple[Path, Scanned | Quarantined]]:
    for path in files:
        result = latest.get(str(path))
        if result is None:
            continue
        try:
            status = path.stat()
        except OSError:
            continue
        if result.stamp == Stamp(status.st_size, status.st_mtime_ns):
            yield path, result


def _parse(line: str) -> Scanned | Quarantined | None:
    try:
        decoder, path, size, mtime_ns, *rest = json.loads(line)
        if decoder != DECODER:
            return None
        if len(rest) == 1:
            return Quarantined(path, rest[0], Stamp(size, mtime_ns))
        sha256, bits, width, height = rest
        return Scanned(Path(path), Stamp(size, mtime_ns), sha256, bytes.fromhex(bits), width, height)
    except (ValueError, TypeError):
        return None
