"""The page's button "Why?" in a real Chromium."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Request, Route, expect

from serving.server.launch import Server
from tests import zoo
from tests.browser import contrasts, open_with_answer, without_complaints

COLOURS = """
() => {
  const canvas = document.getElementById("map");
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  const orange = [0, 0];
  for (let at = 0; at < pixels.length; at += 4) {
    const column = (at / 4) % canvas.width;
    if (pixels[at] - pixels[at + 2] > 120) orange[Math.floor((2 * column) / canvas.width)] += 1;
  }
  return orange;
}
"""


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    """A page that shows an answer, and must not complain."""
    page = open_with_answer(browser, server.options.url, zoo.CAT)
    with without_complaints(page):
        yield page
    page.close()


def expect_a_map(page: Page, label: str) -> None:
    expect(page.locator("#reason")).to_contain_text(f"Orange parts speak for {label}, violet parts against it.")
    expect(page.locator("#map")).to_be_visible()
    expect(page.locator("#preview")).to_be_hidden()


def test_before_a_picture_is_answered_there_is_no_button(browser: Browser, server: Server) -> None:
    page = browser.new_page()
    page.goto(server.options.url)
    expect(page.locator("#why")).to_be_hidden()
    page.close()


def test_many_pictures_after_an_explained_one_leave_no_picture_behind(page: Page) -> None:
    page.get_by_role("button", name="Why?").click()
    expect_a_map(page, "cat")
    page.set_input_files("#file", [zoo.CAT, zoo.DOG])
    expect(page.locator(".tile[data-status=answered]")).to_have_count(3, timeout=15_000)
    expect(page.locator("#empty")).to_be_visible()
    expect(page.locator("#preview")).to_be_hidden()
    expect(page.locator("#map")).to_be_hidden()


def test_nothing_is_asked_until_somebody_wants_to_know(browser: Browser, server: Server) -> None:
    asked: list[Request] = []
    page = browser.new_page()
    page.on("request", lambda request: asked.append(request) if "/explanations" in request.url else None)
    page.goto(server.options.url)
    page.set_input_files("#file", zoo.CAT)
    expect(page.get_by_role("button", name="Why?")).to_be_visible(timeout=15_000)
    assert asked == []
    page.get_by_role("button", name="Why?").click()
    expect_a_map(page, "cat")
    assert [request.url.rpartition("/")[2] for request in asked] == ["explanations?class=cat"]
    page.close()


def test_the_map_is_laid_over_the_picture_and_said_in_words(page: Page) -> None:
    shown = page.locator("#preview").bounding_box()
    page.get_by_role("button", name="Why?").click()
    expect_a_map(page, "cat")
    assert page.locator("#map").bounding_box() == shown
    left, right = page.evaluate(COLOURS)
    assert right > 2 * left, "the cat looks at us from the right"
    sentence = page.locator("#reason").inner_text()
    assert "The strongest sign of cat is at the middle right." in sentence
    assert page.get_by_role("img", name=f"Your picture: {zoo.CAT.name}. {sentence}").count() == 1


def test_it_works_by_keyboard_and_goes_again(page: Page) -> None:
    why = page.get_by_role("button", name="Why?")
    why.focus()
    assert why.get_attribute("aria-expanded") == "false"
    page.keyboard.press("Enter")
    expect_a_map(page, "cat")
    assert why.get_attribute("aria-expanded") == "true"
    page.keyboard.press("Tab")
    expect(page.get_by_label("Class")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect_a_map(page, "dog")
    why.focus()
    page.keyboard.press("Space")
    expect(page.locator("#map")).to_be_hidden()
    expect(page.locator("#preview")).to_be_visible()
    expect(page.locator("#because")).to_be_hidden()


def test_only_the_classes_of_the_answer_are_offered(page: Page) -> None:
    page.get_by_role("button", name="Why?").click()
    expect_a_map(page, "cat")
    assert page.locator("#explained option").all_inner_texts() == ["cat", "dog"]
    expect(page.locator("#explained")).to_have_value("cat")


def test_the_next_picture_begins_anew(page: Page) -> None:
    page.get_by_role("button", name="Why?").click()
    expect_a_map(page, "cat")
    page.set_input_files("#file", zoo.DOG)
    expect(page.locator("#verdict")).to_contain_text("dog", timeout=15_000)
    expect(page.locator("#map")).to_be_hidden()
    expect(page.locator("#preview")).to_be_visible()
    page.get_by_role("button", name="Why?").click()
    expect_a_map(page, "dog")


def test_a_model_without_explanations_says_so(page: Page) -> None:
    problem = {"detail": "This model has no explanations: its network is another.", "code": "no_explanation"}

    def refuse(route: Route) -> None:
        route.fulfill(status=404, content_type="application/problem+json", body=json.dumps(problem))

    page.route("**/explanations*", refuse)
    page.get_by_role("button", name="Why?").click()
    expect(page.locator("#reason")).to_have_text(problem["detail"])
    expect(page.locator("#preview")).to_be_visible()
    expect(page.locator("#others")).to_be_hidden()


def test_a_server_that_is_gone_is_said_in_words(page: Page) -> None:
    page.route("**/explanations*", lambda route: route.abort())
    page.get_by_role("button", name="Why?").click()
    expect(page.locator("#reason")).to_have_text("The server cannot be reached.")


def test_a_picture_that_the_browser_cannot_show_is_not_marked(page: Page, tmp_path_factory: Any) -> None:
    tiff = tmp_path_factory.mktemp("tiff") / "cat.tiff"
    tiff.write_bytes(zoo.accepted()["tiff"])
    page.set_input_files("#file", tiff)
    expect(page.locator("#empty")).to_have_text("No preview")
    page.get_by_role("button", name="Why?").click()
    expect(page.locator("#reason")).to_contain_text("This browser cannot show the picture")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_is_written_stands_out(browser: Browser, server: Server, scheme: str) -> None:
    page = open_with_answer(browser, server.options.url, zoo.CAT, color_scheme=scheme)
    page.get_by_role("button", name="Why?").click()
    expect_a_map(page, "cat")
    ratios = contrasts(page, "body", "#why, #reason, #others label")
    assert len(ratios) == 3
    assert min(ratios) > 4.5
    page.close()


def test_it_fits_a_phone(browser: Browser, server: Server) -> None:
    page = open_with_answer(
        browser, server.options.url, zoo.CAT, viewport={"width": 320, "height": 640}, is_mobile=True, has_touch=True
    )
    page.get_by_role("button", name="Why?").tap()
    expect_a_map(page, "cat")
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    page.close()


def test_a_long_refusal_is_wrapped_and_is_text(page: Page) -> None:
    detail = "<img src=x onerror=alert(1)>" + "a" * 300
    page.route("**/explanations*", lambda route: route.fulfill(status=500, json={"detail": detail}))
    page.get_by_role("button", name="Why?").click()
    expect(page.locator("#reason")).to_have_text(detail)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
