"""The page in a real Chromium."""

import pytest
from playwright.sync_api import Browser

from loadtest.report.report import write
from tests.browser import browser, contrasts
from tests.loadtest.support import build

__all__ = ["browser"]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("report")
    write(build(failing=0.002), folder, old=build(seed=2, failing=0.002, protocols=("grpc",)))
    return (folder / "report.html").as_uri()


def test_a_phone_shows_it_without_scrolling_sideways(browser: Browser, address: str) -> None:
    page = browser.new_page(viewport={"width": 360, "height": 740})
    page.goto(address)
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_all_tables_fit_a_desk(browser: Browser, address: str) -> None:
    page = browser.new_page(viewport={"width": 1100, "height": 800})
    page.goto(address)
    widths = page.evaluate("[...document.querySelectorAll('.scroll')].map(e => e.scrollWidth - e.clientWidth)")
    assert widths == [0] * len(widths)
    assert len(widths) == 4


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_that_is_written_stands_out_from_its_card(browser: Browser, address: str, scheme: str) -> None:
    page = browser.new_page(color_scheme="light" if scheme == "light" else "dark")
    page.goto(address)
    ratios = contrasts(page, ".card", ".card text, .card td, .card th, .tag")
    assert len(ratios) > 200
    assert min(ratios) > 4.5


def test_it_asks_nobody_for_anything(browser: Browser, address: str) -> None:
    page = browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    assert asked == [address]
