"""The upload of a picture on the page, in a real Chromium: its progress, its limits, and servers that do not answer."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from serving.server.launch import Server
from tests import zoo
from tests.browser import without_complaints
from tests.e2e.test_page_many import ANSWER

LARGE = {"name": "large.jpg", "mimeType": "image/jpeg", "buffer": zoo.CAT.read_bytes() + bytes(4_000_000)}


class Held(BaseHTTPRequestHandler):
    """Takes the first half of a body, and the rest once `rest` is set; answers once `answer` is set."""

    protocol_version = "HTTP/1.1"
    rest = threading.Event()
    answer = threading.Event()

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self.rfile.read(length // 2)
        if not self.rest.wait(60):
            return
        self.rfile.read(length - length // 2)
        if not self.answer.wait(60):
            return
        body = json.dumps(ANSWER).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_OPTIONS(self) -> None:
        self.send_response(204)
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Access-Control-Allow-Headers", "*")
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def held() -> Iterator[ThreadingHTTPServer]:
    for event in (Held.rest, Held.answer):
        event.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Held) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        Held.rest.set()
        Held.answer.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    """The page, whose clock the test moves."""
    page = browser.new_page()
    with without_complaints(page):
        page.clock.install()
        page.goto(server.options.url)
        expect(page.locator("h1")).to_have_text("Cat or dog?")
        yield page
    page.close()


@pytest.fixture
def slow(browser: Browser, server: Server, held: ThreadingHTTPServer) -> Iterator[Page]:
    """The page, whose predictions go to a server that takes a body in two halves."""
    context = browser.new_context(bypass_csp=True)
    page = context.new_page()
    page.add_init_script(
        """{
            const open = XMLHttpRequest.prototype.open;
            XMLHttpRequest.prototype.open = function (method, path) {
                return open.call(this, method, new URL(path, "http://127.0.0.1:PORT/"));
            };
        }""".replace("PORT", str(held.server_port))
    )
    with without_complaints(page):
        page.clock.install()
        page.goto(server.options.url)
        expect(page.locator("h1")).to_have_text("Cat or dog?")
        yield page
    context.close()


def test_a_slow_upload_shows_its_progress_and_may_take_minutes(slow: Page) -> None:
    slow.set_input_files("#file", LARGE)  # type: ignore[arg-type]
    expect(slow.locator("#amount")).to_contain_text("% of 4.0 MB sent")
    expect(slow.locator("#upload")).to_be_visible()
    slow.clock.run_for(300_000)
    expect(slow.locator("#slow")).to_be_empty()
    expect(slow.locator("#error")).to_be_hidden()
    Held.rest.set()
    expect(slow.locator("#amount")).to_have_text("Sent. Waiting for the answer.")
    Held.answer.set()
    expect(slow.locator("#facts")).to_contain_text(" ms by catsdogs ")
    expect(slow.locator("#sending")).to_be_hidden()
    # Its rate was measured.
    expect(slow.locator("#slow")).to_have_text("Turned on because your connection is slow.")
    expect(slow.locator("#scale")).to_be_checked()


def test_the_time_limit_begins_at_the_end_of_the_upload(slow: Page) -> None:
    Held.rest.set()
    slow.set_input_files("#file", zoo.CAT)
    expect(slow.locator("#amount")).to_have_text("Sent. Waiting for the answer.")
    slow.clock.run_for(29_000)
    expect(slow.locator("#error")).to_be_hidden()
    slow.clock.run_for(2_000)
    expect(slow.locator("#error")).to_contain_text("The server did not answer in time.")
    Held.answer.set()
    slow.get_by_role("button", name="Try again").click()
    expect(slow.locator("#facts")).to_contain_text(" ms by catsdogs ")


def test_an_upload_is_cancelled(slow: Page) -> None:
    slow.set_input_files("#file", LARGE)  # type: ignore[arg-type]
    expect(slow.locator("#amount")).to_contain_text("% of 4.0 MB sent")
    slow.get_by_role("button", name="Cancel", exact=True).click()
    expect(slow.locator("#error")).to_contain_text("Cancelled.")
    expect(slow.locator("#sending")).to_be_hidden()
    Held.rest.set()
    Held.answer.set()
    slow.get_by_role("button", name="Try again").click()
    expect(slow.locator("#facts")).to_contain_text(" ms by catsdogs ")


@pytest.mark.parametrize(
    ("status", "detail"),
    [(503, "The queue is full: try again in a second."), (429, "Too many pictures: try again in 7 seconds.")],
)
def test_a_busy_server_is_asked_again_by_a_button(page: Page, status: int, detail: str) -> None:
    busy = {"status": status, "headers": {"Retry-After": "7"}, "json": {"detail": detail, "code": "overloaded"}}
    page.route("**/predictions*", lambda route: route.fulfill(**busy))
    page.set_input_files("#file", zoo.CAT)
    expect(page.locator("#problem")).to_have_text(detail)
    page.unroute("**/predictions*")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#verdict")).to_have_text("This is a cat.", timeout=15_000)
    expect(page.locator("#error")).to_be_hidden()


def test_a_refusal_that_would_stay_has_no_button(page: Page) -> None:
    page.set_input_files("#file", {"name": "a.txt", "mimeType": "text/plain", "buffer": b"Dear cat,"})
    expect(page.locator("#problem")).to_contain_text("This is text")
    expect(page.locator("#again")).to_be_hidden()


def test_an_empty_file_is_said(page: Page) -> None:
    page.set_input_files("#file", {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": b""})
    expect(page.locator("#problem")).to_have_text("The file is empty.")


@pytest.mark.parametrize("body", ["<html>Log in</html>", '{"detail": "a proxy"}', "null"])
def test_an_answer_that_is_not_the_servers_is_said_in_words(page: Page, body: str) -> None:
    page.route("**/predictions*", lambda route: route.fulfill(body=body))
    page.set_input_files("#file", zoo.CAT)
    expect(page.locator("#problem")).to_contain_text("This answer is not the server's")
    expect(page.locator("#again")).to_be_visible()


def test_a_server_that_is_gone_is_asked_about_once_in_five_seconds(page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if request.url.endswith("/readyz") else None)
    page.route("**/*", lambda route: route.abort())
    page.set_input_files("#file", [zoo.CAT] * 10)
    expect(page.locator(".tile[data-status=failed]")).to_have_count(10)
    expect(page.locator("#state")).to_contain_text("cannot be reached")
    before = len(asked)
    for _ in range(3):
        with page.expect_event("requestfailed", lambda request: request.url.endswith("/readyz")):
            page.clock.run_for(5_000)
    assert len(asked) == before + 3


def test_the_state_of_the_server_is_shown_and_asked_for_again(page: Page, server: Server) -> None:
    expect(page.locator("#state")).to_have_text("Ready")
    page.route("**/*", lambda route: route.abort())
    page.set_input_files("#file", zoo.CAT)
    expect(page.locator("#error")).to_contain_text("cannot be reached")
    expect(page.locator("#state")).to_have_text("The server cannot be reached. This page asks again.")
    page.unroute("**/*")

    def starting(route: Route) -> None:
        route.fulfill(status=503, json={"ready": False, "reason": "starting"})

    page.route("**/readyz", starting)
    page.clock.run_for(6_000)
    expect(page.locator("#state")).to_have_text("The server is starting, or has no worker. This page asks again.")
    page.unroute("**/readyz")
    page.clock.run_for(6_000)
    expect(page.locator("#state")).to_have_text("Ready")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#verdict")).to_have_text("This is a cat.", timeout=15_000)


def test_a_page_that_was_opened_too_early_introduces_the_model_later(browser: Browser, server: Server) -> None:
    page = browser.new_page()
    page.clock.install()
    for path in ("**/openapi.json", "**/readyz"):
        page.route(path, lambda route: route.fulfill(status=503, json={}))
    page.goto(server.options.url)
    expect(page.locator("#state")).to_contain_text("starting")
    expect(page.locator("h1")).to_have_text("What is it?")
    page.unroute_all()
    page.clock.run_for(6_000)
    expect(page.locator("h1")).to_have_text("Cat or dog?")
    expect(page.locator("#model")).to_have_text(f"{zoo.MODEL} · server 0.2.0")
    page.set_input_files("#file", zoo.CAT)
    expect(page.locator("#model")).to_contain_text(f"{zoo.MODEL} · int8", timeout=15_000)
    page.close()
