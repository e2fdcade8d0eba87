"""The page's button "Wrong?" in a real Chromium."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from serving.feedback.settings import FeedbackSettings
from serving.server.launch import Server
from tests import zoo
from tests.browser import open_with_answer, without_complaints
from tests.e2e.support import start


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("feedback")


@pytest.fixture(scope="module")
def listening(archive: Path, place: Path) -> Iterator[Server]:
    with start(archive, workers=1, feedback=FeedbackSettings(str(place), pictures=True)) as running:
        yield running


@pytest.fixture
def page(browser: Browser, listening: Server) -> Iterator[Page]:
    """A page that shows an answer, and must not complain."""
    page = open_with_answer(browser, listening.options.url, zoo.CAT)
    with without_complaints(page):
        yield page
    page.close()


def newest(place: Path) -> dict[str, Any]:
    path = max(place.glob("*/*.json"), key=lambda path: path.stat().st_mtime_ns)
    return dict(json.loads(path.read_bytes()))


def test_where_no_feedback_is_taken_there_is_no_button(browser: Browser, server: Server) -> None:
    page = open_with_answer(browser, server.options.url, zoo.CAT)
    expect(page.locator("#feedback")).to_be_hidden()
    page.close()


def test_before_a_picture_is_chosen_there_is_no_button(browser: Browser, listening: Server) -> None:
    page = browser.new_page()
    page.goto(listening.options.url)
    expect(page.locator("#wrong")).to_be_hidden()
    page.close()


def test_a_wrong_answer_is_corrected_by_the_keyboard_and_the_picture_is_not_stored(page: Page, place: Path) -> None:
    page.get_by_role("button", name="Wrong?").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#labels button")).to_have_text(["cat", "dog", "neither"])
    expect(page.locator("#privacy")).to_have_text(
        "Your answer will be stored. The picture will be stored only if you tick the box, with the place and time that "
        "a camera writes into it."
    )
    expect(page.locator("#labels button").first).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Thank you. Your answer is stored.")).to_be_visible()
    expect(page.locator("#right")).to_be_hidden()
    stored = newest(place)
    assert (stored["predicted"], stored["label"], stored["picture"]) == ("cat", "dog", None)


def test_a_ticked_box_stores_the_picture_as_it_was_sent(page: Page, place: Path) -> None:
    page.get_by_role("button", name="Wrong?").click()
    box = page.get_by_label("Also store this picture")
    expect(box).not_to_be_checked()
    box.check()
    page.get_by_role("button", name="neither").click()
    expect(page.locator("#thanks")).to_have_text("Thank you. Your answer is stored, with the picture.")
    stored = newest(place)
    assert stored["label"] == "other"
    assert next(place.glob(f"*/{stored['picture']}")).read_bytes() == zoo.CAT.read_bytes()


def test_the_next_picture_begins_anew(page: Page) -> None:
    page.get_by_role("button", name="Wrong?").click()
    page.get_by_label("Also store this picture").check()
    page.set_input_files("#file", zoo.DOG)
    expect(page.locator("#verdict")).to_contain_text("dog", timeout=15_000)
    expect(page.locator("#right")).to_be_hidden()
    page.get_by_role("button", name="Wrong?").click()
    expect(page.get_by_label("Also store this picture")).not_to_be_checked()


def test_where_pictures_are_not_stored_the_page_says_so_and_offers_no_box(page: Page) -> None:
    terms = {"labels": ["cat", "dog", "other"], "pictures": False, "max_age_seconds": 86400}
    page.route("**/feedback", lambda route: route.fulfill(json=terms))
    page.get_by_role("button", name="Wrong?").click()
    expect(page.locator("#privacy")).to_have_text("Your answer will be stored. The picture will not.")
    expect(page.get_by_label("Also store this picture")).to_be_hidden()


def test_many_classes_are_a_list_to_choose_from(page: Page) -> None:
    terms = {"labels": [*"abcdefgh", "other"], "pictures": False, "max_age_seconds": 86400}
    sent: list[Any] = []

    def answer(route: Route) -> None:
        if route.request.method == "GET":
            route.fulfill(json=terms)
            return
        sent.append(route.request.post_data_json)
        route.fulfill(json={"id": "0" * 32, "label": "other", "picture": False})

    page.route("**/feedback", answer)
    page.get_by_role("button", name="Wrong?").click()
    page.get_by_label("What the picture shows").select_option("something else")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#thanks")).to_contain_text("Thank you.")
    assert sent[0]["label"] == "other"


def test_two_clicks_give_one_label(page: Page) -> None:
    sent: list[Any] = []

    def answer(route: Route) -> None:
        sent.append(route.request.post_data_json)
        route.fulfill(json={"id": "0" * 32, "label": "dog", "picture": False})

    page.get_by_role("button", name="Wrong?").click()
    expect(page.locator("#labels button")).to_have_count(3)
    page.route("**/feedback", answer)
    page.evaluate("for (const button of document.querySelectorAll('#labels button')) button.click()")
    expect(page.locator("#thanks")).to_contain_text("Thank you.")
    assert [given["label"] for given in sent] == ["cat"]


def test_a_refusal_is_said_in_the_servers_words_and_can_be_tried_again(page: Page) -> None:
    detail = "The token has expired: request the prediction again."
    page.get_by_role("button", name="Wrong?").click()
    expect(page.locator("#labels button")).to_have_count(3)
    page.route("**/feedback", lambda route: route.fulfill(status=403, json={"detail": detail}))
    page.get_by_role("button", name="dog", exact=True).click()
    expect(page.locator("#thanks")).to_have_text(detail)
    expect(page.locator("#right")).to_be_visible()
    page.unroute("**/feedback")
    page.get_by_role("button", name="dog", exact=True).click()
    expect(page.locator("#thanks")).to_contain_text("Thank you.")


def test_a_server_that_is_gone_is_said(page: Page) -> None:
    page.route("**/feedback", lambda route: route.abort())
    page.get_by_role("button", name="Wrong?").click()
    expect(page.locator("#thanks")).to_have_text("The server cannot be reached.")


def test_the_feedback_of_a_phone_fits_its_width(page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    page.get_by_role("button", name="Wrong?").click()
    expect(page.locator("#labels")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
