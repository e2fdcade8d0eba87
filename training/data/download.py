"""One file from the web: goes on after a break, and is there only when its sha256 is right."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from handler.files import UserError, sha256_file

if TYPE_CHECKING:
    import httpx

TIMEOUT_S = 30.0  # without a byte

Progress = Callable[[int, int], None]


def fetch(url: str, target: Path, size: int, sha256: str, progress: Progress = lambda done, total: None) -> None:
    """Downloads into `target`.part and renames it when its checksum is right.

    A download that breaks off is taken up again where it stopped, now as long as each attempt brings something, and
    else when the command is given again.

    Args:
        size: of the file in bytes.
        progress: called with bytes done and bytes in all.

    Raises:
        UserError: the server cannot be reached or refuses, or the file is another one.
    """
    import httpx

    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    with httpx.Client(follow_redirects=True, timeout=TIMEOUT_S) as client:
        while (before := _size(part)) < size:
            try:
                _go_on(client, url, part, size, progress)
                problem = "the server ended the answer too early"
            except httpx.HTTPStatusError as error:
                raise UserError(
                    f"{url} cannot be downloaded: the server answers {error.response.status_code}."
                ) from error
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                problem = str(error) or type(error).__name__
            if _size(part) <= before:
                raise UserError(f"{url} cannot be downloaded: {problem}. The same command goes on where it stopped.")
    if sha256_file(part) != sha256:
        part.unlink()
        raise UserError(f"{url} is not the file that it should be (its sha256 is not {sha256}), and was removed.")
    part.replace(target)


def _go_on(client: "httpx.Client", url: str, part: Path, size: int, progress: Progress) -> None:
    done = _size(part)
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={done}-"} if done else {})}
    with client.stream("GET", url, headers=headers) as response:
        response.raise_for_status()
        # A server that knows no ranges sends the whole file again.
        done = done if response.status_code == 206 else 0
        with part.open("ab" if done else "wb") as file:
            progress(done, size)
            # Blocks as they come: to gather larger ones would lose those at hand when the connection breaks.
            for block in response.iter_raw():
                # An endless answer to a wrong address must not fill the disk.
                file.write(block[: size - done + 1])
                done += len(block)
                progress(min(done, size), size)
                if done > size:
                    break
            file.flush()
            os.fsync(file.fileno())


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0
