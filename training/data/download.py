"""One file of a dataset from the web: resumes after a break, and is there only when its sha256 is right."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from common.download.failures import Again, CutOff, Failure, GivenUp, OtherFile, Refused, TooLarge
from common.download.part import Part
from common.download.resume import Download, Limits
from common.download.transfer import TIMEOUT_S, Watch
from handler.files import UserError

if TYPE_CHECKING:
    import httpx

# A server that was asked again in vain is left alone: the same command resumes.
VAIN_TRIES = 2
FIRST_WAIT_S = 0.5

Progress = Callable[[int, int], None]


class Address:
    """A file of a web server. It may be moved elsewhere, by redirects."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __str__(self) -> str:
        return self.url

    @contextmanager
    def get(self, headers: dict[str, str], watch: Watch) -> "Iterator[httpx.Response]":
        import httpx

        try:
            with (
                httpx.Client(follow_redirects=True, timeout=TIMEOUT_S) as client,
                client.stream("GET", self.url, headers=headers, extensions=watch.extensions) as response,
            ):
                yield response
        except (httpx.ReadError, httpx.RemoteProtocolError) as error:
            raise CutOff(str(error) or type(error).__name__) from error
        except httpx.TransportError as error:
            raise Again(str(error) or type(error).__name__) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Refused(str(error) or type(error).__name__) from error

    def explain(self, response: "httpx.Response") -> str:
        return str(response.status_code)


def fetch(url: str, target: Path, size: int, sha256: str, progress: Progress = lambda done, total: None) -> None:
    """Download into `target`.part, and rename it when its checksum is right.

    A download that breaks off is resumed where it stopped, now as long as the tries bring something, and else when the
    command is given again. Another process that downloads the same file is waited for.

    Args:
        size: of the file in bytes.
        progress: called with bytes done and bytes in all.

    Raises:
        UserError: the server cannot be reached or refuses, or the file is another one.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    limits = Limits(math.inf, size, FIRST_WAIT_S, vain_tries=VAIN_TRIES)
    with Part(target, target.with_name(f"{target.name}.part"), math.inf, lambda sentence: None) as part:
        if target.exists():
            part.clear()
            return
        download = Download(
            Address(url), part, limits, math.inf, lambda done, _: progress(done, size), lambda sentence: None
        )
        try:
            download.run(sha256, size)
        except (OtherFile, TooLarge) as failure:
            part.clear()
            raise UserError(
                f"{url} is not the file that it should be (its sha256 is not {sha256}), and was removed."
            ) from failure
        except GivenUp as failure:
            raise UserError(
                f"{url} cannot be downloaded: {failure}. To resume, give the same command again."
            ) from failure
        except Failure as failure:
            raise UserError(f"{url} cannot be downloaded: {failure}.") from failure
        part.keep()
