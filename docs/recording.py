"""A recording of the page at work, docs/page.webp, taken of the running server: make recording"""

import io
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, ViewportSize, expect, sync_playwright

from serving.client.samples import SAMPLES
from serving.server.launch import Server
from serving.server.options import server_options

OUT = Path(__file__).with_name("page.webp")
SIZE: ViewportSize = {"width": 960, "height": 660}
PICTURES = sorted(SAMPLES.glob("*/*.jpg"))
# How long a frame is shown while tiles fill.
FILLING_MS = 250
QUALITY = 70


class Recording:
    """Frames of a page, each with the time that it is shown."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.frames: list[Image.Image] = []
        self.durations: list[int] = []

    def frame(self, milliseconds: int) -> None:
        self.frames.append(Image.open(io.BytesIO(self.page.screenshot())).convert("RGB"))
        self.durations.append(milliseconds)

    def save(self, path: Path) -> None:
        first, *others = self.frames
        first.save(
            path, save_all=True, append_images=others, duration=self.durations, loop=0, quality=QUALITY, method=6
        )


def main() -> None:
    with Server(server_options(Path("model-store/catsdogs.mar"), any_port=True)) as server, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE, color_scheme="light", reduced_motion="reduce")
        page.goto(server.options.url)
        expect(page.locator("#samplelist img")).to_have_count(4)
        page.wait_for_load_state("networkidle")
        recording = Recording(page)
        recording.frame(1200)
        show_one(page, recording)
        show_many(page, recording)
        recording.save(OUT)
        browser.close()
    print(f"{OUT.name}: {len(recording.frames)} frames, {OUT.stat().st_size / 1e3:.0f} kB")


def show_one(page: Page, recording: Recording) -> None:
    sample = page.get_by_role("button", name="Sample: tabby cat")
    sample.hover()
    recording.frame(600)
    sample.click()
    expect(page.locator("#facts")).to_contain_text("Answered in")
    recording.frame(1800)
    why = page.get_by_role("button", name="Why?")
    why.hover()
    recording.frame(500)
    why.click()
    expect(page.locator("#map")).to_be_visible()
    recording.frame(2600)


def show_many(page: Page, recording: Recording) -> None:
    page.mouse.move(0, 0)
    page.set_input_files("#file", PICTURES)
    tiles = page.locator(".tile[data-status=answered]")
    page.locator("#gallery").evaluate("part => part.scrollIntoView({block: 'start'})")
    for count in range(2, len(PICTURES) + 2, 3):
        expect(tiles.nth(count - 1)).to_be_visible()
        recording.frame(FILLING_MS)
    expect(page.locator("#summary")).to_contain_text(f"{len(PICTURES) + 1} pictures:")
    expect(page.locator(".tile img")).to_have_count(len(PICTURES) + 1)
    recording.frame(1800)
    tile = page.locator(".tile", has_text="4123.jpg")
    tile.hover()
    recording.frame(600)
    tile.click()
    expect(page.locator("#facts")).to_contain_text("Answered in")
    recording.frame(2200)


if __name__ == "__main__":
    main()
