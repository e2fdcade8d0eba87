"""The demo in a browser, and what is asked of its modules."""

import re
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, Request, expect

from serving.demo.serve import server
from tests import zoo
from tests.browser import without_complaints

SAMPLES = sorted(zoo.SAMPLES.glob("*/*.jpg"))
# JavaScript: a blob of base64's text. Lists of numbers take minutes to get into a page.
BLOB = "const blobOf = (text) => new Blob([Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))]);"
# JavaScript: the answer of a function of backend.js to the bytes of a picture, or the refusal.
ASK = f"""
async ([name, bytes, ...rest]) => {{
  {BLOB}
  const backend = await import("./backend.js");
  try {{
    return await backend[name](blobOf(bytes), ...rest);
  }} catch (error) {{
    return {{kind: error.name, status: error.status, code: error.code, message: error.message}};
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Site:
    """A web server with the demo."""

    origin: str
    prefix: str

    @property
    def url(self) -> str:
        return f"{self.origin}{self.prefix}"

    def open(self, page: Page) -> None:
        """Open the demo, and wait until its model is loaded."""
        page.goto(self.url)
        expect(page.locator("#download")).to_have_text(re.compile("The model is loaded"), timeout=60_000)


@contextmanager
def serving(folder: Path, prefix: str) -> Iterator[Site]:
    """Serve a folder, in which the demo lies under a prefix."""
    with server(folder) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        try:
            yield Site(f"http://127.0.0.1:{running.server_port}", prefix)
        finally:
            running.shutdown()
            thread.join()


@contextmanager
def opened(browser: Browser, site: Site) -> Iterator[Page]:
    """The open demo with its model loaded, which must not complain, ask other origins, or send anything."""
    page = browser.new_page()
    outside: list[str] = []
    sent: list[str] = []

    def note(request: Request) -> None:
        if not request.url.startswith((site.url, "blob:")):
            outside.append(request.url)
        if request.method != "GET" or request.post_data_buffer is not None:
            sent.append(f"{request.method} {request.url}")

    page.on("request", note)
    with without_complaints(page):
        site.open(page)
        yield page
    page.close()
    assert outside == []
    assert sent == []


def ask(page: Page, name: str, picture: bytes | Path, *rest: object) -> dict[str, Any]:
    """Return what `classify` or `explain` of the demo's backend.js answers."""
    data = picture.read_bytes() if isinstance(picture, Path) else picture
    answer: dict[str, Any] = page.evaluate(ASK, [name, b64encode(data).decode(), *rest])
    return answer


def large(factor: int) -> bytes:
    """Return a photograph as large as a camera's, with a sensor's noise."""
    photo = zoo.photo()
    scaled = photo.resize((photo.width * factor, photo.height * factor), Image.Resampling.BICUBIC)
    noise = np.random.default_rng(0).normal(0, 8, (scaled.height, scaled.width, 3))
    noisy = np.clip(np.asarray(scaled) + noise, 0, 255).astype(np.uint8)
    return zoo.encode(Image.fromarray(noisy), "JPEG", quality=90)
