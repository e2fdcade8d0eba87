"""A real Chromium, for the tests of pages."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# Its own requests to its maker go nowhere here and would only take time.
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


# For a module, because playwright runs an event loop in this thread for as long as it is open.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real Chromium."""
    if CHROMIUM is None:
        assert "CI" not in os.environ, "CI must install Chromium: what browsers do is tested nowhere else"
        pytest.skip("no Chromium on the PATH")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


# JavaScript: the contrast ratios (WCAG 2) of the elements of a selector to the background of another element.
CONTRAST = """
([ground, selector]) => {
  const light = text => {
    const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
    canvas.fillStyle = text;
    canvas.fillRect(0, 0, 1, 1);
    const parts = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map(v => v / 255);
    const [r, g, b] = parts.map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = light(getComputedStyle(document.querySelector(ground)).backgroundColor);
  return [...document.querySelectorAll(selector)].map(part => {
    const style = getComputedStyle(part);
    const ink = light(part.tagName === "text" ? style.fill : style.color);
    return (Math.max(ink, behind) + 0.05) / (Math.min(ink, behind) + 0.05);
  });
}
"""


def contrasts(page: Page, ground: str, selector: str) -> list[float]:
    """Return the contrast ratio of the text of each element to a background, from 1 to 21."""
    return [float(ratio) for ratio in page.evaluate(CONTRAST, [ground, selector])]


def expect_accessible(page: Page) -> None:
    """Fail with axe-core's findings, and if the page is wider than the screen."""
    # What fades in is judged when it is there.
    page.evaluate("Promise.all(document.getAnimations().map((animation) => animation.finished))")
    results = Axe().run(page)
    assert results.violations_count == 0, results.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def open_with_answer(browser: Browser, url: str, picture: Path, **settings: Any) -> Page:
    """Open the server's page, choose a picture, and wait for its prediction."""
    page = browser.new_page(**settings)
    page.goto(url)
    page.set_input_files("#file", picture)
    expect(page.locator("#facts")).to_contain_text(" ms by catsdogs ", timeout=15_000)
    return page


@contextmanager
def without_complaints(page: Page) -> Iterator[Page]:
    """Fail if the page logs an error or throws. Chromium reports each answer of 4xx as an error; those are allowed."""
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    assert [text for text in complaints if "Failed to load resource" not in text] == []
