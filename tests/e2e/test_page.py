"""The page in a real Chromium."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from serving.server.launch import Server
from tests import zoo
from tests.browser import without_complaints
from tests.e2e.support import start


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    """An open page that must neither complain nor ask anyone but its server for anything."""
    context = browser.new_context(viewport={"width": 900, "height": 1000}, permissions=["clipboard-read"])
    page = context.new_page()
    outside: list[str] = []
    page.on("request", lambda r: None if r.url.startswith((server.options.url, "blob:")) else outside.append(r.url))
    # Asked for before the page is there: a first listener is told to Chromium in the background, and a key pressed
    # at once may overtake that.
    page.on("filechooser", lambda chooser: None)
    with without_complaints(page):
        page.goto(server.options.url)
        yield page
    context.close()
    assert outside == []


def expect_a_verdict(page: Page) -> None:
    expect(page.locator("#verdict")).to_contain_text("cat", timeout=15_000)
    expect(page.locator("#facts")).to_contain_text(" ms by catsdogs ")
    expect(page.locator("#bars dt")).to_have_count(2)
    expect(page.locator("#bars .number").first).to_contain_text("%")
    expect(page.locator("#preview")).to_be_visible()
    expect(page.locator("#error")).to_be_hidden()


def give(page: Page, event: str, path: Path, kind: str = "image/jpeg") -> None:
    """Drops or pastes a file, as the browser would deliver it."""
    page.evaluate(
        """([event, bytes, name, kind]) => {
            const files = new DataTransfer();
            if (name) files.items.add(new File([new Uint8Array(bytes)], name, {type: kind}));
            const made = event === "paste"
                ? new ClipboardEvent("paste", {clipboardData: files, bubbles: true})
                : new DragEvent(event, {dataTransfer: files, bubbles: true, cancelable: true});
            document.body.dispatchEvent(made);
        }""",
        [event, list(path.read_bytes()), path.name, kind],
    )


def test_title_and_heading_follow_the_model(page: Page) -> None:
    expect(page.locator("h1")).to_have_text("Cat or dog?")
    expect(page).to_have_title("Cat or dog? · catsdogs")


@pytest.mark.parametrize(
    ("classes", "names", "heading"),
    [
        (["rose", "tulip", "iris"], {"iris": "Iris"}, "Rose, tulip or Iris?"),
        (["a", "b", "c", "d", "e"], {}, "Which of 5 classes is it?"),
    ],
)
def test_a_model_of_other_classes_has_another_heading_and_its_own_names(
    browser: Browser, server: Server, classes: list[str], names: dict[str, str], heading: str
) -> None:
    page = browser.new_page()
    label = {"enum": classes, "x-display-names": names}
    api = {"info": {"title": "flowers"}, "components": {"schemas": {"Label": label}}}
    page.route("**/openapi.json", lambda route: route.fulfill(json=api))
    page.goto(server.options.url)
    expect(page.locator("h1")).to_have_text(heading)
    expect(page).to_have_title(f"{heading} · flowers")
    page.close()


def test_many_classes_are_listed_and_the_answer_says_how_many_it_names(browser: Browser, server: Server) -> None:
    classes = [f"breed_{number}" for number in range(37)]
    answer = {
        "label": "breed_7",
        "probability": 0.6,
        "probabilities": dict(zip(classes[7:12], (0.6, 0.1, 0.05, 0.04, 0.03), strict=True)),
        "model": {"name": "pets", "version": "1"},
    }
    page = browser.new_page()
    api = {"info": {"title": "pets"}, "components": {"schemas": {"Label": {"enum": classes}}}}
    page.route("**/openapi.json", lambda route: route.fulfill(json=api))
    page.route("**/predictions*", lambda route: route.fulfill(json=answer))
    page.goto(server.options.url)
    page.get_by_text("The 37 classes").click()
    expect(page.locator("#classlist li")).to_have_count(37)
    expect(page.locator("#classlist li").nth(36)).to_have_text("breed 36")
    page.set_input_files("#file", zoo.CAT)
    expect(page.locator("#verdict")).to_have_text("Not sure; most likely a breed 7.")
    expect(page.locator("#bars dt")).to_have_text([f"breed {number}" for number in range(7, 12)])
    expect(page.locator("#facts")).to_contain_text("The 5 most probable of 37 classes. Answered in")
    page.close()


def test_long_labels_leave_room_for_the_bars_and_fit_a_phone(browser: Browser, server: Server) -> None:
    classes = ["a" * 60, "American shorthair with a rather long name", "c"]
    answer = {
        "label": classes[0],
        "probability": 0.6,
        "probabilities": dict(zip(classes, (0.6, 0.3, 0.1), strict=True)),
        "model": {"name": "pets", "version": "1"},
    }
    page = browser.new_page(viewport={"width": 390, "height": 850})
    api = {"info": {"title": "pets"}, "components": {"schemas": {"Label": {"enum": classes}}}}
    page.route("**/openapi.json", lambda route: route.fulfill(json=api))
    page.route("**/predictions*", lambda route: route.fulfill(json=answer))
    page.goto(server.options.url)
    page.set_input_files("#file", [zoo.CAT, zoo.DOG])
    expect(page.locator(".tile[data-status=answered]")).to_have_count(2)
    page.locator(".tile").first.click()
    expect(page.locator("#bars dt")).to_have_count(3)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("meter").first.evaluate("node => node.getBoundingClientRect().width") > 80
    page.close()


def test_a_chosen_picture_gets_its_verdict(page: Page) -> None:
    page.set_input_files("#file", zoo.CAT)
    expect_a_verdict(page)


def test_a_photographed_picture_gets_its_verdict(page: Page) -> None:
    camera = page.locator("#camera")
    assert camera.get_attribute("capture") == "environment"
    camera.set_input_files(zoo.CAT)
    expect_a_verdict(page)


def test_a_dropped_picture_gets_its_verdict(page: Page) -> None:
    give(page, "dragenter", zoo.CAT)
    expect(page.locator("#drop")).to_be_visible()
    give(page, "drop", zoo.CAT)
    expect(page.locator("#drop")).to_be_hidden()
    expect_a_verdict(page)


def test_a_pasted_picture_gets_its_verdict(page: Page) -> None:
    give(page, "paste", zoo.CAT)
    expect_a_verdict(page)


def test_what_is_no_picture_is_said_in_words_and_the_next_one_works(page: Page, tmp_path: Path) -> None:
    text = tmp_path / "letter.txt"
    text.write_text("Dear cat,")
    page.set_input_files("#file", text)
    expect(page.locator("#error")).to_contain_text("This is text, which is not read here")
    expect(page.locator("#result")).to_be_hidden()
    page.set_input_files("#file", zoo.CAT)
    expect_a_verdict(page)


def test_too_large_a_file_is_refused_before_it_is_sent(page: Page, tmp_path: Path) -> None:
    large = tmp_path / "large.jpg"
    large.write_bytes(bytes(16 * 2**20 + 1))
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    page.set_input_files("#file", large)
    expect(page.locator("#error")).to_contain_text("16 MiB")
    assert sent == []


def test_a_server_that_is_gone_is_said_in_words(page: Page) -> None:
    page.route("**/predictions*", lambda route: route.abort())
    page.set_input_files("#file", zoo.CAT)
    expect(page.locator("#error")).to_contain_text("cannot be reached")


def test_it_works_by_keyboard(page: Page) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "file"
    outline = page.locator("label[for=file]").evaluate("node => getComputedStyle(node).outlineStyle")
    assert outline == "solid"
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Space")
    chooser.value.set_files(zoo.CAT)
    expect_a_verdict(page)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "camera"


def test_it_fits_a_phone(browser: Browser, server: Server) -> None:
    context = browser.new_context(viewport={"width": 320, "height": 640}, is_mobile=True, has_touch=True)
    page = context.new_page()
    page.goto(server.options.url)
    page.set_input_files("#file", zoo.CAT)
    expect_a_verdict(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    heights = page.locator(".button:visible").evaluate_all(
        "nodes => nodes.map(node => node.getBoundingClientRect().height)"
    )
    assert min(heights) >= 44, "too small for a finger"
    context.close()


def test_screen_readers_hear_the_verdict(page: Page) -> None:
    page.set_input_files("#file", zoo.CAT)
    expect_a_verdict(page)
    expect(page.get_by_role("status")).to_contain_text("cat")
    assert page.locator("#preview").get_attribute("alt") == f"Your picture: {zoo.CAT.name}"
    assert page.locator("html").get_attribute("lang") == "en"


def test_where_a_key_is_asked_for_it_is_entered_once_and_the_picture_answered(
    browser: Browser, archive: Path, tmp_path: Path
) -> None:
    key = secrets.token_urlsafe(32)
    (tmp_path / "keys").write_text(key)
    with start(archive, workers=1, keys=tmp_path / "keys") as guarded:
        context = browser.new_context()
        page = context.new_page()
        page.goto(guarded.options.url)
        expect(page.get_by_label("API key")).to_be_hidden()
        page.set_input_files("#file", zoo.CAT)
        expect(page.locator("#error")).to_contain_text("key")
        page.get_by_label("API key").fill(key)
        page.keyboard.press("Enter")
        expect_a_verdict(page)
        page.set_input_files("#file", zoo.CAT)
        expect_a_verdict(page)

        page.goto(f"{guarded.options.url}/docs")
        card = page.locator("#predictV1")
        card.locator("input[type=file]").set_input_files(zoo.CAT)
        card.get_by_role("button", name="Send").click()
        expect(card.locator("pre")).to_contain_text("401 after")
        page.get_by_label("API key").fill(key)
        card.get_by_role("button", name="Send").click()
        expect(card.locator("pre")).to_contain_text("200 after", timeout=15_000)
        context.close()


def open_docs(page: Page, server: Server) -> None:
    page.goto(f"{server.options.url}/docs")
    expect(page.locator("h1")).to_contain_text("API of catsdogs")


def test_the_docs_show_every_operation_but_those_by_put_which_are_the_same(page: Page, server: Server) -> None:
    open_docs(page, server)
    paths = page.request.get(f"{server.options.url}/openapi.json").json()["paths"]
    operations = [
        f"{method.upper()} {path}" for path, item in paths.items() for method in ("get", "post") if method in item
    ]
    assert sorted(page.locator("article h2").all_inner_texts()) == sorted(operations)
    expect(page.locator("#predict details")).to_contain_text("Not a picture")
    expect(page.locator("#error")).to_be_hidden()


@pytest.mark.parametrize(
    ("operation", "answer"),
    [
        *(("predict", '"label": "cat"'), ("predictVersion", '"label": "cat"'), ("predictV1", '"predictions": [')),
        *(("inferV2", '"model_name": "catsdogs"'), ("inferV2Version", '"model_name": "catsdogs"')),
    ],
)
def test_a_picture_is_sent_from_the_docs(page: Page, server: Server, operation: str, answer: str) -> None:
    open_docs(page, server)
    card = page.locator(f"#{operation}")
    card.locator("input[type=file]").set_input_files(zoo.CAT)
    card.get_by_role("button", name="Send").click()
    expect(card.locator("pre")).to_contain_text("200 after", timeout=15_000)
    expect(card.locator("pre")).to_contain_text(answer)


def test_the_docs_work_behind_a_prefix_that_a_proxy_takes_away(page: Page, server: Server) -> None:
    url = server.options.url

    def strip(route: Route) -> None:
        response = route.fetch(url=route.request.url.replace("/pets/", "/", 1))
        route.fulfill(response=response)

    page.route(f"{url}/pets/**", strip)
    page.goto(f"{url}/pets/docs")
    expect(page.locator("h1")).to_contain_text("API of catsdogs")
    ready = page.locator("#ready")
    with page.expect_request(f"{url}/pets/readyz"):
        ready.get_by_role("button", name="Send").click()
    expect(ready.locator("pre")).to_contain_text('"ready": true')


def test_parameters_and_questions_are_sent_from_the_docs(page: Page, server: Server) -> None:
    open_docs(page, server)
    card = page.locator("#predict")
    card.get_by_label("top_k").fill("1")
    card.get_by_label("X-Request-Id").fill("from-the-docs")
    card.locator("input[type=file]").set_input_files(zoo.CAT)
    card.get_by_role("button", name="Send").click()
    expect(card.locator("pre")).to_contain_text("request from-the-docs", timeout=15_000)
    expect(card.locator("pre")).not_to_contain_text('"dog"')
    ready = page.locator("#ready")
    ready.get_by_role("button", name="Send").click()
    expect(ready.locator("pre")).to_contain_text('"ready": true')


def test_the_docs_say_what_is_wrong_in_words(page: Page, server: Server, tmp_path: Path) -> None:
    open_docs(page, server)
    card = page.locator("#predict")
    text = tmp_path / "letter.txt"
    text.write_text("Dear cat,")
    card.locator("input[type=file]").set_input_files(text)
    card.get_by_role("button", name="Send").click()
    expect(card.locator("pre")).to_contain_text("415 after")
    expect(card.locator("pre")).to_contain_text("unsupported_image")


def test_its_headers_allow_nothing_from_outside(server: Server, page: Page) -> None:
    response = page.request.get(server.options.url)
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "server" not in response.headers
