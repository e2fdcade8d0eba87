"""The page of a review in a real Chromium, without a network."""

from collections.abc import Callable, Iterator
from pathlib import Path

import click.testing
import pytest
from playwright.sync_api import Browser, Page

from common import review_csv
from monitoring.feedback.page import page as make_page
from tests.browser import browser
from tests.feedback.support import cat_and_dog, give, id_of
from tests.zoo import DOG

__all__ = ["browser"]

Call = Callable[..., click.testing.Result]


@pytest.fixture
def out(tmp_path: Path, call: Call) -> Path:
    """A review of three pictures, the last of which has two labels."""
    place, out = cat_and_dog(tmp_path / "feedback"), tmp_path / "review"
    give(place, 3, DOG.read_bytes() + b"3", label="cat", predicted="dog", probability=0.7)
    give(place, 4, DOG.read_bytes() + b"3", label="dog", predicted="dog", probability=0.7)
    assert call("review", place, "--out", out).exit_code == 0
    return out


@pytest.fixture
def page(browser: Browser, out: Path) -> Iterator[Page]:
    page = browser.new_page()
    errors: list[str] = []
    requests: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text))
    page.on("request", lambda request: requests.append(request.url))
    page.goto((out / "review.html").as_uri())
    yield page
    page.close()
    assert errors == []
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []


def shown(page: Page) -> list[int]:
    cards = page.locator("article").evaluate_all("cards => cards.map(card => card.dataset.id)")
    return [int(id, 16) for id in cards]


def press(page: Page, number: int, name: str) -> None:
    page.locator(f'article[data-id="{id_of(number)}"]').get_by_role("button", name=name, exact=True).click()


def test_a_person_decides_and_saves_the_table(page: Page, out: Path, tmp_path: Path, call: Call) -> None:
    press(page, 1, "accept: cat")
    press(page, 2, "reject")
    press(page, 3, "it is: dog")
    press(page, 4, "accept: dog")
    press(page, 4, "accept: dog")  # once more takes it back
    assert page.get_by_role("status").inner_text() == "3 of 4 decided"
    with page.expect_download() as download:
        page.get_by_role("button", name="Save review.csv").click()
    assert download.value.suggested_filename == "review.csv"
    download.value.save_as(out / "review.csv")
    rows = {row.id: row for _, row in review_csv.parse((out / "review.csv").read_bytes())}
    assert {int(id, 16): row.decision for id, row in rows.items()} == {1: "accept", 2: "reject", 3: "dog", 4: ""}
    assert rows[id_of(3)].conflict == "cat, dog"
    assert {int(id, 16): row.truth for id, row in rows.items()} == {1: "cat", 2: None, 3: "dog", 4: None}
    assert "3 decided" in call("review", tmp_path / "feedback", "--out", out).stdout


def test_pictures_are_seen_in_the_order_that_is_chosen(page: Page) -> None:
    assert shown(page) == [3, 4, 1, 2]
    page.get_by_label("Order").select_option("label")
    assert shown(page) == [1, 3, 4, 2]


def test_what_is_decided_can_be_hidden(page: Page) -> None:
    press(page, 1, "reject")
    page.get_by_label("only undecided pictures").check()
    assert shown(page) == [3, 4, 2]


def test_each_picture_is_drawn_and_several_labels_are_marked(page: Page) -> None:
    sizes = page.locator("article img").evaluate_all("some => some.map(img => img.complete && img.naturalWidth)")
    assert len(sizes) == 4
    assert min(sizes) > 50
    assert page.locator("article.conflict").count() == 2
    assert page.get_by_text("Several labels from users: cat, dog").count() == 2


def test_a_script_in_a_record_does_not_run(browser: Browser, tmp_path: Path) -> None:
    """No such label is taken from a record; the page does not rely on it."""
    text = "</script><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"
    row = review_csv.Reviewed(id_of(1), text, "ab" * 32, "", text, "0.5", text, text, text)
    path = tmp_path / "review.html"
    path.write_bytes(make_page([row], [row], {}))
    page = browser.new_page()
    page.goto(path.as_uri())
    assert shown(page) == [1]
    assert page.title() == "Review of feedback"
    assert text in page.locator("article").inner_text()
    assert page.locator("article script, article img").count() == 0
    page.close()


def test_a_phone_shows_it_without_scrolling_sideways(browser: Browser, out: Path) -> None:
    page = browser.new_page(viewport={"width": 360, "height": 740})
    page.goto((out / "review.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.close()
