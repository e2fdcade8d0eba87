"""The page /docs in a real Chromium, behind a proxy that takes a prefix away, and its curl commands."""

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
from playwright.sync_api import Browser, FilePayload, Locator, Page, Route, expect

from serving.feedback.settings import FeedbackSettings
from serving.server.launch import Server
from tests import zoo
from tests.browser import expect_accessible, without_complaints
from tests.e2e.support import behind_prefix, start

PREFIX = "/some/prefix"


@pytest.fixture(scope="module")
def key() -> str:
    return secrets.token_urlsafe(32)


@pytest.fixture(scope="module")
def full(archive: Path, key: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a key and every part that /docs can show."""
    folder = tmp_path_factory.mktemp("full")
    (folder / "keys").write_text(key)
    feedback = FeedbackSettings(str(folder / "feedback"))
    options: dict[str, Any] = {"feedback": feedback, "image_operations": True, "public_metrics": True}
    with start(archive, workers=1, keys=folder / "keys", **options) as running:
        yield running


@pytest.fixture(scope="module")
def proxy(full: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the server behind a Caddy that takes a prefix away."""
    with behind_prefix(full.options.ports.rest, tmp_path_factory.mktemp("proxy"), PREFIX) as url:
        yield url.rstrip("/")


@pytest.fixture
def page(browser: Browser, proxy: str) -> Iterator[Page]:
    """The page behind the prefix, which must ask for nothing outside of it."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, permissions=["clipboard-read"])
    made = context.new_page()
    outside: list[str] = []
    made.on("request", lambda r: None if r.url.startswith((f"{proxy}/", "blob:")) else outside.append(r.url))
    with without_complaints(made):
        made.goto(f"{proxy}/docs")
        expect(made.locator("h1")).to_have_text("API of catsdogs")
        yield made
    context.close()
    assert outside == []


@pytest.fixture
def shell(key: str, tmp_path: Path) -> Any:
    """Runs a command in an empty folder by a shell that has the key, and gives what it writes."""
    curl = tmp_path / "bin" / "curl"
    curl.parent.mkdir()
    curl.write_text(f'#!/bin/sh\nexec {shutil.which("curl")} --noproxy "*" -sS "$@"\n')
    curl.chmod(0o755)
    (tmp_path / "folder").mkdir()
    environment = {"PATH": f"{curl.parent}:{os.environ['PATH']}", "CATSDOGS_KEY": key}

    def run(command: str) -> bytes:
        done = subprocess.run(["sh", "-ec", command], cwd=tmp_path / "folder", env=environment, capture_output=True)
        assert (done.returncode, done.stderr) == (0, b""), (command, done.stderr)
        return done.stdout

    run.folder = tmp_path / "folder"  # type: ignore[attr-defined]
    return run


def send(card: Locator) -> str:
    """Press Send; return the answer that is shown then."""
    card.get_by_role("button", name="Send").click()
    expect(card.locator("pre")).to_contain_text(" after ", timeout=15_000)
    return card.locator("pre").inner_text()


def command_of(card: Locator) -> str:
    return card.locator(".command code").inner_text()


def kind_of(text: str) -> str:
    """Return what tells an answer from others: the label of a prediction, or the names that it has."""
    try:
        value = json.loads(text)
    except ValueError:
        return "# HELP" if text.startswith("# HELP") else text
    return str(value.get("label") or sorted(value)) if isinstance(value, dict) else str(sorted(value[0]))


def test_one_click_gives_a_real_answer_to_each_call_and_its_curl_command_the_same(
    page: Page, key: str, shell: Any
) -> None:
    page.get_by_label("API key").fill(key)
    cards = page.locator("article")
    assert cards.count() > 30
    for card in cards.all():
        name = card.locator("h2").inner_text()
        shown = send(card)
        assert shown.startswith("200 after "), (name, shown)
        command = command_of(card)
        assert key not in command
        written = shell(command)
        if " -o result." in command:
            (result,) = shell.folder.iterdir()
            assert result.read_bytes()[:4] in (b"\x89PNG", b"\x93NUM"), name
            result.unlink()
        elif not shown.endswith("…"):
            assert kind_of(written.decode()) == kind_of(shown.partition("\n\n")[2]), name
        else:
            assert written[:1] in (b"{", b"#"), name
    assert '"label": "cat"' in page.locator("#predict pre").inner_text()
    assert '"label": "cat"' in page.locator("#giveFeedback pre").inner_text()


def test_another_picture_and_all_values_are_in_the_curl_command(page: Page, key: str, shell: Any) -> None:
    page.get_by_label("API key").fill(key)
    name = "it's $HOME; a dog.jpg"
    picture: FilePayload = {"name": name, "mimeType": "image/jpeg", "buffer": zoo.DOG.read_bytes()}
    (shell.folder / name).write_bytes(zoo.DOG.read_bytes())
    for operation in ("predict", "predictV1", "inferV2"):
        card = page.locator(f"#{operation}")
        card.locator("input[type=file]").set_input_files(picture)
        card.get_by_label("top_k").fill("1")
        card.get_by_label("X-Request-Id").fill("from-docs")
        assert '"dog"' in send(card)
        answer = json.loads(shell(f"{command_of(card)} -D headers"))
        headers = (shell.folder / "headers").read_text().lower()
        assert "x-request-id: from-docs" in headers
        first = answer.get("predictions", [answer])[0]
        if operation != "inferV2":
            assert (first["label"], list(first["probabilities"])) == ("dog", ["dog"])
        else:
            assert "dog" in str(answer["outputs"])


def test_an_answer_of_bytes_goes_into_a_file_by_curl(page: Page, key: str, shell: Any) -> None:
    page.get_by_label("API key").fill(key)
    card = page.locator("#imageNormalize")
    assert " -o " not in command_of(card)
    card.get_by_label("format").select_option("npy")
    shell(command_of(card))
    assert (shell.folder / "result.npy").read_bytes()[:6] == b"\x93NUMPY"


def test_an_error_does_not_become_the_file(page: Page, shell: Any) -> None:
    command = command_of(page.locator("#imageShowInput"))
    assert b"401" in shell(f"{command} 2>&1 || true")
    assert list(shell.folder.iterdir()) == []


def test_without_a_key_the_problem_is_shown(page: Page) -> None:
    card = page.locator("#predict")
    shown = send(card)
    assert shown.startswith("401 after ")
    assert '"code": "unauthorized"' in shown
    assert "CATSDOGS_KEY" not in command_of(card)


def test_a_broken_picture_is_refused_with_a_reason(page: Page, key: str) -> None:
    page.get_by_label("API key").fill(key)
    card = page.locator("#predict")
    broken: FilePayload = {"name": "letter.jpg", "mimeType": "image/jpeg", "buffer": b"no picture"}
    card.locator("input[type=file]").set_input_files(broken)
    shown = send(card)
    assert shown.startswith("415 after ")
    assert '"code": "unsupported_image"' in shown


def test_a_server_that_is_gone_gives_no_answer_but_a_hint(page: Page) -> None:
    card = page.locator("#ready")
    page.route("**/readyz", lambda route: route.abort())
    card.get_by_role("button", name="Send").click()
    expect(card.locator("pre")).to_contain_text("No answer. Is the server running")
    page.unroute("**/readyz")
    assert send(card).startswith("200 after ")


def test_what_claims_to_be_json_and_is_not_is_shown_as_it_is(page: Page) -> None:
    page.route("**/readyz", lambda route: route.fulfill(status=502, content_type="application/json", body="<h1>Bad"))
    shown = send(page.locator("#ready"))
    assert shown.startswith("502 after ")
    assert shown.endswith("<h1>Bad")


def test_a_late_answer_does_not_replace_that_to_a_later_request(page: Page) -> None:
    waiting: list[Route] = []
    page.route("**/readyz", lambda route: waiting.append(route))
    card = page.locator("#ready")
    for _ in range(2):
        with page.expect_request("**/readyz"):
            card.get_by_role("button", name="Send").click()
    waiting[1].fulfill(status=200, body="second")
    expect(card.locator("pre")).to_contain_text("second")
    with page.expect_response("**/readyz"):
        waiting[0].fulfill(status=200, body="first")
    page.evaluate("new Promise((resolve) => setTimeout(resolve, 100))")
    expect(card.locator("pre")).to_contain_text("second")


def test_codes_and_fields_in_descriptions_are_set_as_code(page: Page) -> None:
    card = page.locator("#predict")
    expect(card.locator("small code").first).to_have_text("unsure")
    card.get_by_text("Answers").click()
    expect(card.get_by_role("row", name="401").locator("code")).to_have_text("unauthorized")
    assert "`" not in card.inner_text()


def paste(page: Page) -> str:
    page.get_by_label("API key").evaluate("input => { input.type = 'text'; input.value = ''; input.focus(); }")
    page.keyboard.press("Control+V")
    return page.get_by_label("API key").input_value()


@pytest.mark.parametrize("has_clipboard", [True, False], ids=["clipboard", "insecure page"])
def test_a_curl_command_is_copied(page: Page, has_clipboard: bool) -> None:
    if not has_clipboard:
        page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    card = page.locator("#predictV1")
    card.get_by_role("button", name="Copy").click()
    expect(card.get_by_role("status")).to_have_text("Copied.")
    command = command_of(card)
    assert f"{PREFIX}/v1/models/catsdogs:predict" in command
    assert paste(page) == command


def test_a_call_is_made_and_copied_by_the_keyboard_alone(page: Page, key: str) -> None:
    page.get_by_label("API key").fill(key)
    page.get_by_role("link", name="GET /readyz").press("Enter")
    assert page.evaluate("location.hash") == "#ready"
    card = page.locator("#ready")
    expect(card).to_be_in_viewport()
    page.keyboard.press("Tab")
    expect(card.get_by_role("button", name="Send")).to_be_focused()
    page.keyboard.press("Enter")
    expect(card.locator("pre")).to_contain_text("200 after ")
    page.keyboard.press("Tab")
    expect(card.get_by_role("button", name="Copy")).to_be_focused()
    page.keyboard.press("Space")
    expect(card.get_by_role("status")).to_have_text("Copied.")
    page.keyboard.press("Tab")
    expect(card.locator("pre")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(card.get_by_role("table")).to_be_visible()


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (390, "dark"),
        (1280, "light"),
        pytest.param(390, "light", marks=pytest.mark.slow),
        pytest.param(1280, "dark", marks=pytest.mark.slow),
    ],
)
def test_it_is_accessible_on_a_phone_and_a_desk(
    page: Page, key: str, width: int, scheme: Literal["light", "dark"]
) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)
    page.get_by_label("API key").fill(key)
    for operation in ("predict", "inferV2", "imageShowInput"):
        send(page.locator(f"#{operation}"))
    page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    expect_accessible(page)


def test_the_description_names_the_prefix_as_its_server(proxy: str) -> None:
    document = httpx.get(f"{proxy}/openapi.json", trust_env=False)
    server = document.url.join(document.json()["servers"][0]["url"])
    assert str(server) == f"{proxy}/"
