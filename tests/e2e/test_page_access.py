"""Accessibility of the page, in a real Chromium: axe-core's rules, screens, the keyboard, samples, a path prefix."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from serving.feedback.settings import FeedbackSettings
from serving.server.launch import Server
from tests import zoo
from tests.browser import expect_accessible, without_complaints
from tests.e2e.support import behind_prefix, start

# Each width and each scheme; the other two pairs take a minute more.
SIZES = [
    (390, "dark"),
    (1280, "light"),
    pytest.param((390, "light"), marks=pytest.mark.slow),
    pytest.param((1280, "dark"), marks=pytest.mark.slow),
]


@pytest.fixture(scope="module")
def listening(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that takes feedback, so that every part of the page can be seen."""
    folder = tmp_path_factory.mktemp("feedback")
    with start(archive, workers=1, feedback=FeedbackSettings(str(folder), pictures=True)) as running:
        yield running


@pytest.fixture(params=SIZES, ids=lambda size: f"{size[0]}-{size[1]}")
def page(request: pytest.FixtureRequest, browser: Browser, listening: Server) -> Iterator[Page]:
    width, scheme = request.param
    page = browser.new_page(viewport={"width": width, "height": 850}, color_scheme=scheme)
    with without_complaints(page):
        page.goto(listening.options.url)
        expect(page.locator("#samplelist img")).to_have_count(4)
        yield page
    page.close()


def test_the_empty_page_is_accessible(page: Page) -> None:
    page.get_by_text("Use it in a program").click()
    expect_accessible(page)


def test_an_answer_its_explanation_and_its_feedback_are_accessible(page: Page) -> None:
    page.set_input_files("#file", zoo.CAT)
    expect(page.locator("#verdict")).to_have_text("This is a cat.", timeout=15_000)
    page.get_by_role("button", name="Why?").click()
    expect(page.locator("#map")).to_be_visible()
    page.get_by_role("button", name="Wrong?").click()
    expect(page.locator("#labels button")).to_have_count(3)
    expect_accessible(page)


def test_many_pictures_with_an_error_are_accessible(page: Page, tmp_path: Path) -> None:
    text = tmp_path / "letter.txt"
    text.write_text("Dear cat,")
    page.set_input_files("#file", [zoo.CAT, zoo.DOG, text])
    expect(page.locator("#summary")).to_have_text("3 pictures: cat 1, dog 1, no answer 1", timeout=15_000)
    expect_accessible(page)
    page.locator(".tile", has_text="letter.txt").click()
    expect(page.locator("#error")).to_be_visible()
    expect_accessible(page)


def test_a_picture_on_its_way_and_the_question_for_a_key_are_accessible(page: Page) -> None:
    routes: list[Any] = []
    page.route("**/predictions*", lambda route: routes.append(route))
    page.set_input_files("#file", zoo.CAT)
    expect(page.get_by_role("button", name="Cancel", exact=True)).to_be_visible()
    expect_accessible(page)
    routes[0].fulfill(status=401, json={"detail": "The key is missing or wrong.", "code": "unauthorized"})
    expect(page.get_by_label("API key")).to_be_focused()
    expect_accessible(page)


def test_everything_can_be_reached_by_the_keyboard(page: Page) -> None:
    page.set_input_files("#file", [zoo.CAT, zoo.DOG])
    expect(page.locator(".tile[data-status=answered]")).to_have_count(2, timeout=15_000)
    page.locator(".tile").first.click()
    page.get_by_text("Use it in a program").click()
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    page.locator("h1").click()
    reached = []
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                """() => {
                    const part = document.activeElement;
                    const ring = part.matches(".out-of-sight") ? part.nextElementSibling : part;
                    if (getComputedStyle(ring).outlineStyle === "none") return `no ring: ${part.id}`;
                    return part.id || part.className || part.textContent;
                }"""
            )
        )
        if reached[-1] == "About the model":
            break
    samples = ["sample"] * (4 if page.locator("#samples").is_visible() else 0)
    inputs = ["file", "camera", "folder"]
    answer = ["why", "wrong"]
    many = ["save", "clear", "tile", "tile"]
    more = ["scale", "SUMMARY", "tab-curl", "snippetpanel", "copy", "For programs", "About the model"]
    assert [name if name != "Use it in a program" else "SUMMARY" for name in reached] == [
        *inputs,
        *samples,
        *answer,
        *many,
        *more,
    ]


def test_motion_is_spared_where_it_is_not_wanted(browser: Browser, listening: Server) -> None:
    page = browser.new_page(reduced_motion="reduce")
    page.goto(listening.options.url)
    page.route("**/predictions*", lambda route: None)
    page.set_input_files("#file", zoo.CAT)
    expect(page.locator("#sending")).to_be_visible()
    assert page.evaluate("document.getAnimations().length") == 0
    page.close()


def test_a_sample_is_clicked(page: Page) -> None:
    page.get_by_role("button", name="Sample: puppy").click()
    expect(page.locator("#verdict")).to_have_text("This is a dog.", timeout=15_000)


def test_it_works_behind_a_prefix_and_asks_nobody_else(browser: Browser, listening: Server, tmp_path: Path) -> None:
    page = browser.new_page()
    outside: list[str] = []
    with behind_prefix(listening.options.ports.rest, tmp_path) as url, without_complaints(page):
        page.on("request", lambda r: None if r.url.startswith((url, "blob:")) else outside.append(r.url))
        page.goto(url)
        page.get_by_role("button", name="Sample: tabby cat").click()
        expect(page.locator("#verdict")).to_have_text("This is a cat.", timeout=15_000)
        page.get_by_role("button", name="Why?").click()
        expect(page.locator("#map")).to_be_visible()
        page.get_by_role("button", name="Wrong?").click()
        page.locator("#labels button").first.click()
        expect(page.locator("#thanks")).to_have_text("Thank you. Your answer is stored.")
        expect(page.locator("#state")).to_have_text("Ready")
        page.get_by_role("link", name="For programs").click()
        expect(page.locator("h1")).to_have_text("API of catsdogs")
    page.close()
    assert outside == []


def test_the_model_card_is_plain_text(page: Page, listening: Server) -> None:
    page.get_by_role("link", name="About the model").click()
    expect(page.locator("pre")).to_contain_text("# Model card: catsdogs")
    response = page.request.get(f"{listening.options.url}/model-card")
    assert response.body() == (zoo.ROOT / "model-store" / "catsdogs" / "MODEL_CARD.md").read_bytes()
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.headers["x-content-type-options"] == "nosniff"


def test_many_classes_are_searched(browser: Browser, listening: Server) -> None:
    classes = [f"breed_{number}" for number in range(37)]
    api = {"info": {"title": "pets"}, "components": {"schemas": {"Label": {"enum": classes}}}}
    page = browser.new_page()
    page.route("**/openapi.json", lambda route: route.fulfill(json=api))
    page.goto(listening.options.url)
    page.get_by_text("The 37 classes").click()
    page.get_by_label("Search").fill("breed 3")
    expect(page.locator("#classlist li:visible")).to_have_text(
        ["breed 3", *(f"breed {number}" for number in range(30, 37))]
    )
    expect(page.locator("#classesfound")).to_have_text("8 of 37")
    expect(page.locator("#samples")).to_be_hidden()
    expect_accessible(page)
    page.close()


def test_its_files_have_strict_headers_and_nothing_inline(listening: Server, page: Page) -> None:
    for path in ("", "page.js", "backend.js", "page.css", "icon.svg", "icon.png"):
        response = page.request.get(f"{listening.options.url}/{path}")
        assert response.status == 200, path
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
    text = page.request.get(listening.options.url).text()
    assert " style=" not in text
    assert "<style" not in text
    assert text.count("<script") == text.count("<script src=")
