"""The demo in a real Chromium: its page, its refusals, its policy, and that nothing leaves the browser."""

import re
from base64 import b64encode
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, expect

from tests import zoo
from tests.demo.support import BLOB, SAMPLES, Site, ask, large

# JavaScript: a request to another origin, in the page and in a worker that is started as the demo's own.
ELSEWHERE = """
async ([url, inWorker]) => {
  const attempt = `fetch(${JSON.stringify(url)}, {mode: "no-cors"}).then(() => "sent", () => "refused")`;
  if (!inWorker) return fetch(url, {mode: "no-cors"}).then(() => "sent", () => "refused");
  const code = new Blob([`${attempt}.then(postMessage)`], {type: "text/javascript"});
  const worker = new Worker(URL.createObjectURL(code), {type: "module"});
  return new Promise((resolve) => { worker.onmessage = ({data}) => resolve(data); });
}
"""
# JavaScript: the longest time that the page's thread is busy at a stretch while a picture is classified, in ms.
LONGEST_PAUSE = f"""
async (bytes) => {{
  {BLOB}
  const {{classify}} = await import("./backend.js");
  let [longest, last, running] = [0, performance.now(), true];
  const tick = () => {{
    const now = performance.now();
    [longest, last] = [Math.max(longest, now - last), now];
    if (running) setTimeout(tick, 0);
  }};
  const blob = blobOf(bytes);
  tick();
  const started = performance.now();
  await classify(blob);
  running = false;
  return [longest, performance.now() - started];
}}
"""
# JavaScript: labels of pictures, or the errors of those that are cancelled while the first is computed, and how many
# times longer than the first the last one took.
CANCELLED = f"""
async (bytes) => {{
  {BLOB}
  const {{classify}} = await import("./backend.js");
  const all = new AbortController();
  const asked = (signal) => classify(blobOf(bytes), {{signal}}).then(({{label}}) => label, ({{name}}) => name);
  const started = performance.now();
  const took = () => performance.now() - started;
  const first = asked();
  const times = [first.then(took)];
  const others = Array.from({{length: 20}}, () => asked(all.signal));
  const last = asked();
  times.push(last.then(took));
  all.abort();
  const labels = await Promise.all([first, ...others, last]);
  const [shorter, longer] = await Promise.all(times);
  return [labels, longer / shorter];
}}
"""
# JavaScript: the name of the error of an evaluation.
EVALUATED = """
() => new Promise((resolve) => setTimeout(() => {
  try {
    resolve(new Function("return 'no error'")());
  } catch (error) {
    resolve(error.name);
  }
}))
"""
# JavaScript: the code of the refusal of a file of one byte more than 16 MiB.
TOO_LARGE = """
async () => {
  const {classify} = await import("./backend.js");
  return classify(new Blob([new Uint8Array(2 ** 24 + 1)])).catch((error) => error.code);
}
"""


def choose(page: Page, picture: bytes, name: str = "picture.jpg") -> None:
    page.set_input_files("#file", {"name": name, "mimeType": "image/jpeg", "buffer": picture})


def test_a_picture_is_classified_and_explained(page: Page) -> None:
    expect(page.locator("h1")).to_have_text("Cat or dog?")
    choose(page, zoo.CAT.read_bytes())
    expect(page.locator("#verdict")).to_have_text("This is a cat.", timeout=15_000)
    expect(page.locator("#facts")).to_contain_text(" ms by catsdogs ")
    page.click("#why")
    expect(page.locator("#reason")).to_contain_text("The strongest sign of cat is ", timeout=15_000)
    expect(page.locator("#map")).to_be_visible()
    expect(page.locator("#feedback")).to_be_hidden()
    expect(page.locator("#state")).to_have_text("Ready")
    expect(page.locator("#model")).to_have_text(f"{zoo.MODEL} · fp32")
    page.get_by_role("link", name="About the model").click()
    expect(page.locator("body")).to_contain_text("Model card")


@pytest.mark.parametrize("size", [(390, "light"), (1280, "dark")], ids=["telephone", "desk"])
def test_the_demo_is_accessible(browser: Browser, site: Site, size: tuple[int, Literal["light", "dark"]]) -> None:
    page = browser.new_page(viewport={"width": size[0], "height": 850}, color_scheme=size[1])
    site.open(page)
    choose(page, zoo.CAT.read_bytes())
    expect(page.locator("#verdict")).to_have_text("This is a cat.", timeout=15_000)
    results = Axe().run(page)
    assert results.violations_count == 0, results.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.close()


def test_many_pictures_are_answered_in_turn(page: Page) -> None:
    page.set_input_files("#file", SAMPLES)
    expect(page.locator("#summary")).to_have_text(re.compile(r"^16 pictures: cat \d+, dog \d+$"), timeout=60_000)


def test_a_sample_is_classified_by_one_click(page: Page) -> None:
    page.get_by_role("button", name="Sample: puppy").click()
    expect(page.locator("#verdict")).to_have_text("This is a dog.", timeout=15_000)


def test_a_picture_that_is_chosen_before_the_model_is_there_is_answered(browser: Browser, site: Site) -> None:
    page = browser.new_page()
    page.goto(site.url)
    choose(page, zoo.DOG.read_bytes())
    expect(page.locator("#verdict")).to_have_text("This is a dog.", timeout=60_000)
    page.close()


@pytest.mark.parametrize("kind", list(zoo.refused()))
def test_a_bad_file_has_the_servers_status_and_code_and_a_sentence_on_the_page(page: Page, kind: str) -> None:
    data, status, code = zoo.refused()[kind]
    refusal = ask(page, "classify", data)
    assert (refusal["kind"], refusal["status"], refusal["code"]) == ("AnswerError", status, code)
    choose(page, data)
    expect(page.locator("#problem")).to_have_text(refusal["message"])
    expect(page.locator("#result")).to_be_hidden()


def test_a_file_that_is_too_large_is_refused_before_it_is_read(page: Page) -> None:
    assert page.evaluate(TOO_LARGE) == "too_many_bytes"


def test_one_bad_file_does_not_hinder_the_next_picture(page: Page) -> None:
    choose(page, b"no picture")
    expect(page.locator("#error")).to_be_visible()
    choose(page, zoo.CAT.read_bytes())
    expect(page.locator("#verdict")).to_have_text("This is a cat.", timeout=15_000)
    expect(page.locator("#error")).to_be_hidden()


@pytest.mark.parametrize("in_worker", [False, True], ids=["page", "worker"])
def test_the_policy_keeps_page_and_worker_from_other_origins(browser: Browser, site: Site, in_worker: bool) -> None:
    page = browser.new_page()
    page.goto(site.url)
    arrived: list[str] = []

    def note(route: Route) -> None:
        arrived.append(route.request.url)
        route.fulfill(body="")

    page.context.route("http://elsewhere.example/**", note)
    assert page.evaluate(ELSEWHERE, ["http://elsewhere.example/x", in_worker]) == "refused"
    assert page.evaluate(ELSEWHERE, [f"{site.url}model.json", in_worker]) == "sent"
    assert arrived == []
    page.close()


def test_code_cannot_be_evaluated_in_the_page(page: Page) -> None:
    # Later, since what the debugger's own call runs may evaluate.
    assert page.evaluate(EVALUATED) == "EvalError"


def test_the_page_stays_responsive_while_a_picture_is_computed(page: Page) -> None:
    longest, whole = page.evaluate(LONGEST_PAUSE, b64encode(large(6)).decode())
    assert longest < whole / 2


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        (r"\.onnx$", "The model could not be loaded: the host answered 503 to network."),
        (r"\.wasm$", "The model could not be loaded: the host answered 503 to onnxruntime/"),
        (r"/model\.json$", "The model could not be loaded: the host answered 503 to model.json."),
        (r"/worker\.js$", "The model could not be started: its files cannot be reached"),
        (r"/ort\.wasm\.bundle\.min\.js$", "The model could not be started: its files cannot be reached"),
    ],
)
def test_a_model_that_cannot_be_loaded_is_said_and_tried_again(
    browser: Browser, site: Site, path: str, sentence: str
) -> None:
    page = browser.new_page()
    page.context.route(re.compile(path), lambda route: route.fulfill(status=503))
    page.goto(site.url)
    expect(page.locator("#download")).to_contain_text(sentence, timeout=30_000)
    expect(page.locator("#state")).to_have_text("The model is not loaded.")
    choose(page, zoo.CAT.read_bytes())
    expect(page.locator("#problem")).to_contain_text(sentence, timeout=30_000)
    page.context.unroute_all()
    choose(page, zoo.CAT.read_bytes())
    expect(page.locator("#verdict")).to_have_text("This is a cat.", timeout=60_000)
    expect(page.locator("#download")).to_contain_text("The model is loaded")
    expect(page.locator("#state")).to_have_text("Ready")
    expect(page.locator("h1")).to_have_text("Cat or dog?")
    page.close()


def test_a_connection_that_breaks_is_said_in_words(browser: Browser, site: Site) -> None:
    page = browser.new_page()
    page.context.route(re.compile(r"\.onnx$"), lambda route: route.abort())
    page.goto(site.url)
    expect(page.locator("#download")).to_contain_text("the connection broke at network.", timeout=30_000)
    page.close()


def test_pictures_that_are_cancelled_are_not_computed(page: Page) -> None:
    labels, longer = page.evaluate(CANCELLED, b64encode(zoo.CAT.read_bytes()).decode())
    assert labels == ["cat", *["AbortError"] * 20, "cat"]
    assert longer < 10  # 22 pictures would take 22 times as long


def test_the_samples_have_their_terms_beside_them(folder: Path) -> None:
    assert len(list((folder / "samples").glob("*/*.jpg"))) == 4
    assert "not under this repository's licence" in " ".join((folder / "samples" / "README.md").read_text().split())
