"""The page in a real Chromium."""

from typing import Literal

import pytest
from playwright.sync_api import Browser, expect

from common.verdicts import Verdict
from loadtest.report.report import write
from tests.browser import browser, contrasts, expect_accessible
from tests.loadtest.support import build

__all__ = ["browser"]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("report")
    write(build(failing=0.002), folder, old=build(seed=2, failing=0.002, protocols=("grpc",)))
    return (folder / "report.html").as_uri()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[Verdict, str]:
    """The address of a page for each verdict."""
    folder = tmp_path_factory.mktemp("verdicts")
    for verdict in Verdict:
        nothing: dict[str, object] = {name: [] for name in ("findings", "rows", "failures", "server", "seconds")}
        changed = nothing if verdict is Verdict.NOT_READY else {}
        made = build(failing=0.002, duration=20, verdict=verdict).model_copy(update=changed)
        write(made, folder / verdict)
    return {verdict: (folder / verdict / "report.html").as_uri() for verdict in Verdict}


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


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (390, "light"),
        (1280, "dark"),
        pytest.param(390, "dark", marks=pytest.mark.slow),
        pytest.param(1280, "light", marks=pytest.mark.slow),
    ],
)
def test_it_is_accessible_whatever_the_verdict(
    browser: Browser, pages: dict[Verdict, str], width: int, scheme: Literal["light", "dark"]
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    for verdict, address in pages.items():
        page.goto(address)
        expect(page.locator("#verdict")).to_have_text(verdict.replace("_", " "))
        expect_accessible(page)


def test_it_asks_nobody_for_anything(browser: Browser, address: str) -> None:
    page = browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    assert asked == [address]
