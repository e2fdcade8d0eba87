"""Scaling and conversion of pictures on the page before they are sent, in a real Chromium."""

import io
from base64 import b64decode
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps
from playwright.sync_api import Browser, Page, expect

from serving.server.launch import Server
from tests import zoo
from tests.browser import without_complaints

# JavaScript: keeps what is sent.
RECORD = """{
    const send = XMLHttpRequest.prototype.send;
    window.sent = [];
    XMLHttpRequest.prototype.send = function (body) { window.sent.push(body); return send.call(this, body); };
}"""
# As text: playwright takes half a minute for an array of three million numbers.
READ = """() => new Promise((resolve) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.readAsDataURL(window.sent.at(-1));
})"""
TIMES = "\N{MULTIPLICATION SIGN}"
SLOW = "Object.defineProperty(navigator, 'connection', {value: {effectiveType: '3g'}})"


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    page = browser.new_page()
    page.add_init_script(RECORD)
    with without_complaints(page):
        page.goto(server.options.url)
        expect(page.locator("#scaling")).to_be_visible()
        yield page
    page.close()


def photograph(turned: int = 0) -> dict[str, Any]:
    """A photograph of 2,000 pixels, of some hundred kilobytes, and the turn that a camera notes in it."""
    rng = np.random.default_rng(1)
    picture = ImageOps.contain(zoo.photo(), (2000, 2000))
    noise = rng.integers(-24, 25, (picture.height, picture.width, 3))
    picture = Image.fromarray(np.clip(np.asarray(picture).astype(int) + noise, 0, 255).astype(np.uint8))
    exif = Image.Exif()
    if turned:
        picture = picture.transpose(Image.Transpose.ROTATE_90)
        exif[0x0112] = turned
    body = zoo.encode(picture, "JPEG", quality=95, exif=exif)
    return {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": body}


def sent(page: Page) -> bytes:
    """Return the last body that was sent."""
    url = page.evaluate(READ)
    return b64decode(url.partition(",")[2])


def send(page: Page, picture: Any) -> bytes:
    page.set_input_files("#file", picture)
    expect(page.locator("#facts")).to_contain_text(" ms by catsdogs ", timeout=15_000)
    return sent(page)


def test_a_picture_is_sent_as_it_is_unless_somebody_wants_otherwise(page: Page) -> None:
    picture = photograph()
    expect(page.locator("#scale")).not_to_be_checked()
    assert send(page, picture) == picture["buffer"]
    expect(page.locator("#facts")).not_to_contain_text("Scaled")


def test_a_large_photograph_is_scaled_and_the_page_says_so(page: Page) -> None:
    picture = photograph()
    page.get_by_label("Scale large photos before sending").check()
    body = send(page, picture)
    scaled = Image.open(io.BytesIO(body))
    width, height = Image.open(io.BytesIO(picture["buffer"])).size
    assert scaled.format == "JPEG"
    assert max(scaled.size) == 1024
    assert len(body) < len(picture["buffer"]) / 3
    expect(page.locator("#facts")).to_contain_text(
        f"Scaled from {width} {TIMES} {height} to {scaled.width} {TIMES} {scaled.height} pixels in your browser, "
        "so probabilities may differ a little."
    )
    expect(page.locator("#verdict")).to_have_text("This is a cat.")


def test_a_photograph_that_a_camera_turned_is_scaled_upright(page: Page) -> None:
    page.get_by_label("Scale large photos before sending").check()
    turned = Image.open(io.BytesIO(send(page, photograph(turned=6))))
    upright = Image.open(io.BytesIO(send(page, photograph())))
    assert turned.size == upright.size
    assert turned.getexif().get(0x0112) is None
    distance = np.abs(np.asarray(turned).astype(int) - np.asarray(upright).astype(int)).mean()
    assert distance < 8


def test_why_is_asked_about_the_picture_that_was_sent(page: Page) -> None:
    page.get_by_label("Scale large photos before sending").check()
    body = send(page, photograph())
    with page.expect_response("**/explanations*") as answered:
        page.get_by_role("button", name="Why?").click()
    width, height = Image.open(io.BytesIO(body)).size
    assert answered.value.json()["picture"] == {"width": width, "height": height}


def test_a_small_picture_is_never_changed(page: Page) -> None:
    page.get_by_label("Scale large photos before sending").check()
    assert send(page, zoo.CAT) == zoo.CAT.read_bytes()


def test_what_the_browser_cannot_read_is_sent_as_it_is(page: Page) -> None:
    tiff = zoo.encode(ImageOps.contain(zoo.photo(), (1500, 1500)), "TIFF")
    page.get_by_label("Scale large photos before sending").check()
    assert send(page, {"name": "a.tiff", "mimeType": "image/tiff", "buffer": tiff}) == tiff


def test_on_a_slow_connection_it_is_on_by_itself_and_can_be_turned_off(browser: Browser, server: Server) -> None:
    page = browser.new_page()
    page.add_init_script(RECORD)
    page.add_init_script(SLOW)
    page.goto(server.options.url)
    expect(page.locator("#scale")).to_be_checked()
    expect(page.locator("#slow")).to_have_text("Turned on because your connection is slow.")
    picture = photograph()
    assert len(send(page, picture)) < len(picture["buffer"])
    page.locator("#scale").uncheck()
    expect(page.locator("#slow")).to_be_empty()
    page.set_input_files("#file", picture)  # type: ignore[arg-type]
    expect(page.locator(".tile[data-status=answered]")).to_have_count(2)
    assert sent(page) == picture["buffer"]
    page.close()


def test_heic_that_the_browser_cannot_read_is_not_sent_and_the_page_says_what_to_do(page: Page) -> None:
    heic = {"name": "IMG_1.HEIC", "mimeType": "image/heic", "buffer": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64)}
    page.set_input_files("#file", heic)  # type: ignore[arg-type]
    expect(page.locator("#problem")).to_contain_text("This browser cannot read HEIC pictures. Save it as JPEG first")
    expect(page.locator("#again")).to_be_hidden()
    assert page.evaluate("window.sent.length") == 0


def test_a_format_that_only_the_browser_can_read_is_converted(page: Page) -> None:
    avif = zoo.encode(zoo.photo(), "AVIF", quality=90)
    body = send(page, {"name": "a.avif", "mimeType": "image/avif", "buffer": avif})
    converted = Image.open(io.BytesIO(body))
    assert (converted.format, converted.size) == ("JPEG", zoo.photo().size)
    expect(page.locator("#facts")).to_contain_text("Converted from AVIF in your browser")
    expect(page.locator("#verdict")).to_have_text("This is a cat.")


def test_a_converted_picture_has_at_most_4096_pixels_on_a_side(page: Page) -> None:
    avif = zoo.encode(zoo.photo().resize((4800, 600)), "AVIF", quality=50, speed=10)
    body = send(page, {"name": "a.avif", "mimeType": "image/avif", "buffer": avif})
    assert Image.open(io.BytesIO(body)).size == (4096, 512)
    expect(page.locator("#facts")).to_contain_text(
        f"Scaled from 4800 {TIMES} 600 to 4096 {TIMES} 512 pixels and converted from AVIF"
    )
