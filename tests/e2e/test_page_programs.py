"""The page's part for programs, in a real Chromium: its commands run, at the page's own address."""

import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from serving.server.launch import Server
from tests import zoo
from tests.browser import without_complaints
from tests.e2e.support import behind_prefix, start

RUN = {
    "curl": ["sh", "-c"],
    "Python": [sys.executable, "-c"],
    "JavaScript": ["node", "--input-type=module", "--eval"],
}


@pytest.fixture(scope="module")
def key() -> str:
    return secrets.token_urlsafe(32)


@pytest.fixture(scope="module")
def guarded(archive: Path, key: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    keys = tmp_path_factory.mktemp("guarded") / "keys"
    keys.write_text(key)
    with start(archive, workers=1, keys=keys) as running:
        yield running


def open_programs(page: Page, url: str) -> None:
    page.goto(url)
    page.get_by_text("Use it in a program").click()


def answer(language: str, code: str, folder: Path) -> str:
    """Run a snippet in a folder that has photo.jpg, and return what it writes."""
    (folder / "photo.jpg").write_bytes(zoo.CAT.read_bytes())
    done = subprocess.run([*RUN[language], code], cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    with without_complaints(page):
        yield page
    context.close()


@pytest.mark.parametrize("language", RUN)
def test_each_snippet_runs_behind_a_prefix(page: Page, server: Server, language: str, tmp_path: Path) -> None:
    with behind_prefix(server.options.ports.rest, tmp_path) as url:
        open_programs(page, url)
        page.get_by_role("tab", name=language).click()
        code = page.locator("#snippet").inner_text()
        assert f"{url}predictions" in code
        assert "cat" in answer(language, code, tmp_path)


@pytest.mark.parametrize("language", RUN)
def test_where_a_key_is_asked_for_its_place_is_shown_and_never_the_key(
    page: Page, guarded: Server, key: str, language: str, tmp_path: Path
) -> None:
    page.goto(guarded.options.url)
    page.set_input_files("#file", zoo.CAT)
    page.get_by_label("API key").fill(key)
    page.keyboard.press("Enter")
    expect(page.locator("#verdict")).to_have_text("This is a cat.", timeout=15_000)
    page.get_by_text("Use it in a program").click()
    page.get_by_role("tab", name=language).click()
    code = page.locator("#snippet").inner_text()
    assert key not in page.content()
    assert "Bearer YOUR_KEY" in code
    assert "cat" in answer(language, code.replace("YOUR_KEY", key), tmp_path)


def test_the_tabs_work_by_keyboard(page: Page, server: Server) -> None:
    open_programs(page, server.options.url)
    page.get_by_role("tab", name="curl").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Python")).to_be_focused()
    expect(page.get_by_role("tab", name="Python")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("tabpanel", name="Python")).to_contain_text("import urllib.request")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("tabpanel", name="JavaScript")).to_contain_text("await fetch")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Copy")).to_be_focused()


def test_a_snippet_is_copied(page: Page, server: Server) -> None:
    open_programs(page, server.options.url)
    page.get_by_role("button", name="Copy").click()
    expect(page.locator("#copied")).to_have_text("Copied.")
    assert page.evaluate("navigator.clipboard.readText()") == page.locator("#snippet").inner_text()


def test_without_the_clipboard_the_snippet_is_selected(page: Page, server: Server) -> None:
    page.add_init_script("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    open_programs(page, server.options.url)
    page.get_by_role("button", name="Copy").click()
    expect(page.locator("#copied")).to_have_text("Selected: copy it by Ctrl+C.")
    selected = page.evaluate("getSelection().toString()")
    assert json.dumps(selected.split()) == json.dumps(page.locator("#snippet").inner_text().split())
