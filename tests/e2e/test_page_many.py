"""Many pictures at once on the page, in a real Chromium."""

import csv
import io
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, FilePayload, Page, Route, expect

from serving.server.launch import Server
from tests import zoo
from tests.browser import without_complaints

PICTURES = sorted(zoo.SAMPLES.glob("*/*.jpg"))
ANSWER = {
    "label": "cat",
    "probability": 0.9,
    "probabilities": {"cat": 0.9, "dog": 0.1},
    "model": {"name": "catsdogs", "version": "1", "precision": "fp32", "sha256": "0" * 64},
}
# JavaScript: how often the text of a live region changed, and to what.
LISTEN = """() => {
    window.heard = [];
    const part = document.getElementById("announcement");
    new MutationObserver(() => window.heard.push(part.textContent)).observe(part, {childList: true});
}"""


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    with without_complaints(page):
        page.goto(server.options.url)
        expect(page.locator("h1")).to_have_text("Cat or dog?")
        yield page
    page.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of three pictures, one of them in a folder of its own, and of files that are no pictures."""
    top = tmp_path / "pets"
    (top / "more").mkdir(parents=True)
    shutil.copy(zoo.CAT, top / "a cat.jpg")
    shutil.copy(zoo.DOG, top / "more" / "dog 2.jpg")
    shutil.copy(zoo.DOG, top / "more" / "dog 10.jpg")
    (top / "notes.txt").write_text("Two dogs.")
    (top / ".hidden.jpg").write_bytes(b"")
    return top


def tile(page: Page, name: str) -> Any:
    return page.locator(".tile", has_text=name)


def wait_for(page: Page, requests: list[Route], count: int) -> None:
    """Wait until so many requests have come; they come while the page does something."""
    deadline = time.monotonic() + 15
    while len(requests) < count:
        assert time.monotonic() < deadline
        page.evaluate("new Promise(requestAnimationFrame)")


def expect_all_answered(page: Page, count: int) -> None:
    expect(page.locator(".tile[data-status=answered]")).to_have_count(count, timeout=30_000)


def test_twenty_pictures_are_tiles_with_their_predictions(page: Page) -> None:
    files = [*PICTURES, *PICTURES[:4]]
    page.evaluate(LISTEN)
    page.set_input_files("#file", files)
    expect_all_answered(page, 20)
    first = page.locator(".tile").first
    assert first.inner_text().split("\n")[0] == "11.jpg"
    expect(first.locator(".label")).to_have_text("cat")
    expect(first.locator(".number")).to_contain_text("%")
    expect(page.locator(".tile img")).to_have_count(20)
    expect(page.locator("#summary")).to_have_text("20 pictures: cat 12, dog 8")
    expect(page.locator("#result")).to_be_hidden()
    # Said once at the beginning and once at the end, whatever the number of pictures.
    assert page.evaluate("window.heard") == ["20 pictures. Looking …", "20 pictures: cat 12, dog 8"]


def test_few_are_asked_about_at_a_time_and_answers_are_shown_as_they_come(page: Page) -> None:
    waiting: list[Route] = []
    page.route("**/predictions*", lambda route: waiting.append(route))
    page.set_input_files("#file", PICTURES[:6])
    expect(page.locator(".tile[data-status=sending]")).to_have_count(3)
    wait_for(page, waiting, 3)
    expect(page.locator("#summary")).to_have_text("0 of 6 pictures done")
    for count in range(1, 7):
        wait_for(page, waiting, min(6, count + 2))
        waiting[count - 1].fulfill(json=ANSWER)
        expect(page.locator(".tile[data-status=answered]")).to_have_count(count)
        expect(page.locator(".tile[data-status=sending]")).to_have_count(min(3, 6 - count))
    assert len(waiting) == 6


def test_a_tile_opens_in_the_large_view_with_why(page: Page) -> None:
    page.set_input_files("#file", [zoo.CAT, zoo.DOG])
    expect_all_answered(page, 2)
    tile(page, zoo.DOG.name).click()
    expect(page.locator("#verdict")).to_have_text("This is a dog.")
    expect(page.locator("#preview")).to_have_attribute("alt", f"Your picture: {zoo.DOG.name}")
    expect(tile(page, zoo.DOG.name)).to_have_attribute("aria-current", "true")
    page.get_by_role("button", name="Why?").click()
    expect(page.locator("#reason")).to_contain_text("Orange parts speak for dog")
    tile(page, zoo.CAT.name).focus()
    page.keyboard.press("Enter")
    expect(page.locator("#verdict")).to_have_text("This is a cat.")
    expect(page.locator("#because")).to_be_hidden()
    expect(page.locator("#picture")).to_be_focused()


def test_an_opened_tile_is_brought_into_view(page: Page) -> None:
    page.set_viewport_size({"width": 960, "height": 500})
    page.set_input_files("#file", PICTURES)
    expect_all_answered(page, len(PICTURES))
    page.locator(".tile").last.click()
    expect(page.locator("#preview")).to_be_visible()
    expect(page.locator("#verdict")).to_be_in_viewport(ratio=1)


def test_one_picture_that_is_added_below_is_brought_into_view(page: Page) -> None:
    page.set_viewport_size({"width": 960, "height": 500})
    page.set_input_files("#file", PICTURES)
    expect_all_answered(page, len(PICTURES))
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    page.set_input_files("#file", zoo.CAT)
    expect(page.locator("#verdict")).to_have_text("This is a cat.", timeout=15_000)
    expect(page.locator("#verdict")).to_be_in_viewport(ratio=1)


def test_a_bad_file_has_its_sentence_and_harms_no_other(page: Page, tmp_path: Path) -> None:
    text = tmp_path / "letter.txt"
    text.write_text("Dear cat,")
    page.set_input_files("#file", [zoo.CAT, text, zoo.DOG])
    expect_all_answered(page, 2)
    expect(tile(page, "letter.txt")).to_contain_text("This is text, which is not read here")
    expect(page.locator("#summary")).to_have_text("3 pictures: cat 1, dog 1, no answer 1")
    expect(page.locator("#retry")).to_be_hidden()
    tile(page, "letter.txt").click()
    expect(page.locator("#error")).to_contain_text("This is text, which is not read here")
    expect(page.locator("#again")).to_be_hidden()


def test_they_are_cancelled_and_asked_about_again(page: Page) -> None:
    waiting: list[Route] = []
    page.route("**/predictions*", lambda route: waiting.append(route))
    page.set_input_files("#file", PICTURES[:5])
    expect(page.locator(".tile[data-status=sending]")).to_have_count(3)
    page.get_by_role("button", name="Cancel all").click()
    expect(page.locator(".tile[data-status=cancelled]")).to_have_count(5)
    expect(page.locator("#stop")).to_be_hidden()
    page.unroute("**/predictions*")
    page.get_by_role("button", name="Try again").click()
    expect_all_answered(page, 5)


def test_one_that_failed_is_tried_again_from_above_the_tiles(page: Page) -> None:
    answers: Iterator[dict[str, Any]] = iter(
        [{"json": ANSWER}, {"status": 503, "json": {"detail": "The queue is full."}}, {"json": ANSWER}]
    )
    page.route("**/predictions*", lambda route: route.fulfill(**next(answers)))
    page.set_input_files("#file", PICTURES[:3])
    expect(page.locator(".tile[data-status=failed]")).to_have_count(1)
    page.unroute("**/predictions*")
    page.get_by_role("button", name="Try again").click()
    expect_all_answered(page, 3)


def test_no_copy_of_a_picture_stays_in_memory_after_clear(page: Page) -> None:
    page.evaluate(
        """() => {
            const [create, revoke] = [URL.createObjectURL, URL.revokeObjectURL];
            window.addresses = new Set();
            URL.createObjectURL = (blob) => {
                const address = create.call(URL, blob);
                window.addresses.add(address);
                return address;
            };
            URL.revokeObjectURL = (address) => { window.addresses.delete(address); revoke.call(URL, address); };
        }"""
    )
    page.set_input_files("#file", PICTURES)
    expect(page.locator(".tile img").nth(2)).to_be_visible()
    page.get_by_role("button", name="Clear").click()  # while others are being sent and drawn
    page.set_input_files("#file", zoo.CAT)
    expect(page.locator("#verdict")).to_have_text("This is a cat.", timeout=15_000)
    expect(page.locator(".tile img")).to_have_count(1)
    page.wait_for_function("() => window.addresses.size === 2")  # the picture and its tile


def test_all_pictures_stay_until_they_are_cleared(page: Page) -> None:
    page.set_input_files("#file", zoo.CAT)
    expect(page.locator("#verdict")).to_have_text("This is a cat.", timeout=15_000)
    expect(page.locator("#gallery")).to_be_hidden()
    page.set_input_files("#file", zoo.DOG)
    expect(page.locator("#verdict")).to_have_text("This is a dog.", timeout=15_000)
    expect(page.locator(".tile")).to_have_count(2)
    tile(page, zoo.CAT.name).click()
    expect(page.locator("#verdict")).to_have_text("This is a cat.")
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#gallery")).to_be_hidden()
    expect(page.locator("#result")).to_be_hidden()
    expect(page.locator("#empty")).to_be_visible()
    page.reload()
    expect(page.locator(".tile")).to_have_count(0)


def test_a_folder_is_chosen(page: Page, folder: Path) -> None:
    page.set_input_files("#folder", folder)
    expect_all_answered(page, 3)
    names = page.locator(".tile .name").all_inner_texts()
    assert names == ["pets/a cat.jpg", "pets/more/dog 2.jpg", "pets/more/dog 10.jpg"]
    expect(page.locator("#leftout")).to_have_text("2 other files were left out.")
    (folder / "notes.txt").unlink()
    page.set_input_files("#folder", folder)
    expect(page.locator("#leftout")).to_have_text("1 other file was left out.")


def test_a_folder_is_dropped(page: Page, folder: Path) -> None:
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(folder)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 300, "y": 300, "data": data})
    expect_all_answered(page, 3)
    names = page.locator(".tile .name").all_inner_texts()
    assert names == ["pets/a cat.jpg", "pets/more/dog 2.jpg", "pets/more/dog 10.jpg"]
    expect(page.locator("#drop")).to_be_hidden()


def test_a_folder_without_pictures_is_said(page: Page, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("Dear cat,")
    page.set_input_files("#folder", tmp_path / "texts")
    expect(page.locator("#problem")).to_have_text("There are no pictures in this folder.")


def rows(page: Page) -> list[dict[str, str]]:
    """Download the CSV, and return its rows."""
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    assert download.value.suggested_filename == "predictions.csv"
    text = Path(download.value.path()).read_bytes().decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_the_predictions_are_downloaded_as_csv(page: Page, tmp_path: Path, server: Server) -> None:
    text = tmp_path / "letter.txt"
    text.write_text("Dear cat,")
    page.set_input_files("#file", [zoo.CAT, text])
    expect_all_answered(page, 1)
    expect(tile(page, "letter.txt")).to_have_attribute("data-status", "failed")
    cat, letter = rows(page)
    asked = page.request.post(f"{server.options.url}/predictions", data=zoo.CAT.read_bytes()).json()
    assert (cat["file"], cat["label"], cat["error"]) == (zoo.CAT.name, "cat", "")
    assert float(cat["probability"]) == asked["probability"]
    assert {label: float(cat[label]) for label in ("cat", "dog")} == asked["probabilities"]
    assert (letter["label"], letter["cat"]) == ("", "")
    assert letter["error"].startswith("This is text")


@pytest.mark.parametrize("name", ['=HYPERLINK("x").jpg', "+1.jpg", "-1.jpg", "@cmd.jpg", 'a, "b".jpg'])
def test_no_cell_of_the_csv_is_a_formula(page: Page, name: str) -> None:
    picture: FilePayload = {"name": name, "mimeType": "image/jpeg", "buffer": zoo.CAT.read_bytes()}
    page.set_input_files("#file", [picture, picture])
    expect_all_answered(page, 2)
    wanted = name if name.startswith("a") else f"'{name}"
    assert [row["file"] for row in rows(page)] == [wanted, wanted]


def test_a_class_that_an_answer_does_not_name_has_an_empty_cell(browser: Browser, server: Server) -> None:
    # "constructor" is a property of every object of JavaScript.
    classes = ["constructor", "=1+1", "<img src=x onerror=alert(1)>", "a", "b", "c"]
    answer = ANSWER | {"label": classes[1], "probabilities": {classes[1]: 0.9, classes[2]: 0.1}}
    page = browser.new_page()
    api = {"info": {"title": "odd"}, "components": {"schemas": {"Label": {"enum": classes}}}}
    page.route("**/openapi.json", lambda route: route.fulfill(json=api))
    page.route("**/predictions*", lambda route: route.fulfill(json=answer))
    page.goto(server.options.url)
    page.set_input_files("#file", [zoo.CAT, zoo.DOG])
    expect_all_answered(page, 2)
    first = rows(page)[0]
    assert (first["constructor"], first["'=1+1"], first[classes[2]]) == ("", "0.9", "0.1")
    page.locator(".tile").first.click()
    expect(page.locator("#bars dt")).to_have_text(classes[1:3])
    page.close()


def test_more_than_a_thousand_are_refused(page: Page) -> None:
    page.evaluate(
        """() => {
            const files = new DataTransfer();
            for (let i = 0; i < 1001; i += 1) files.items.add(new File(["x"], `${i}.jpg`, {type: "image/jpeg"}));
            document.body.dispatchEvent(new DragEvent("drop", {dataTransfer: files, bubbles: true, cancelable: true}));
        }"""
    )
    expect(page.locator("#problem")).to_have_text("These are 1001 pictures; at most 1000 are taken at once.")
    expect(page.locator(".tile")).to_have_count(0)


def test_one_key_is_for_all_of_them(page: Page) -> None:
    problem = {"detail": "The key is missing or wrong.", "code": "unauthorized"}
    keys: list[str | None] = []

    def answer(route: Route) -> None:
        keys.append(route.request.headers.get("authorization"))
        if keys[-1] == "Bearer right":
            route.fulfill(json=ANSWER)
        else:
            route.fulfill(status=401, content_type="application/problem+json", body=json.dumps(problem))

    page.route("**/predictions*", answer)
    page.set_input_files("#file", PICTURES[:8])
    expect(page.locator("#error")).to_contain_text("The key is missing or wrong.")
    page.get_by_label("API key").fill("right")
    page.keyboard.press("Enter")
    expect_all_answered(page, 8)
    expect(page.locator("#error")).to_be_hidden()
    assert keys.count("Bearer right") == 8
    assert len(keys) <= 11


def refuse_all_but(page: Page, key: str) -> None:
    """Answer requests with a key, and refuse the others."""
    problem = {"detail": "The key is missing or wrong.", "code": "unauthorized"}

    def answer(route: Route) -> None:
        if route.request.headers.get("authorization") == f"Bearer {key}":
            route.fulfill(json=ANSWER)
        else:
            route.fulfill(status=401, json=problem)

    page.route("**/predictions*", answer)


def test_a_picture_that_is_added_while_a_key_is_wanted_says_so(page: Page) -> None:
    refuse_all_but(page, "right")
    page.set_input_files("#file", PICTURES[:2])
    expect(page.get_by_label("API key")).to_be_visible()
    page.set_input_files("#file", zoo.CAT)
    expect(page.locator(".tile")).to_have_count(3)
    expect(page.locator("#problem")).to_have_text("The key is missing or wrong.")
    expect(page.locator("#problem")).to_be_visible()
    expect(page.locator("#result")).to_be_hidden()
    page.get_by_label("API key").fill(" right ")
    page.keyboard.press("Enter")
    expect_all_answered(page, 3)
    expect(page.get_by_label("API key")).to_be_hidden()


def test_after_a_cancel_the_question_for_a_key_is_asked_anew(page: Page) -> None:
    refuse_all_but(page, "right")
    page.set_input_files("#file", PICTURES[:5])
    expect(page.get_by_label("API key")).to_be_visible()
    page.get_by_role("button", name="Cancel all").click()
    expect(page.locator(".tile[data-status=cancelled]")).to_have_count(5)
    expect(page.get_by_label("API key")).to_be_hidden()
    expect(page.locator("#error")).to_be_hidden()
    page.set_input_files("#file", zoo.CAT)
    expect(page.get_by_label("API key")).to_be_focused()


def test_what_cannot_be_a_key_is_said(page: Page) -> None:
    refuse_all_but(page, "right")
    page.set_input_files("#file", zoo.CAT)
    page.get_by_label("API key").fill("schlüssel€")
    page.keyboard.press("Enter")
    expect(page.locator("#problem")).to_have_text("This is not a key: a key has neither spaces nor accented letters.")
