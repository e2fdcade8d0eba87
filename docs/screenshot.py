"""The page's pictures in docs/, taken of the running server: make screenshot"""

import re
import shutil
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

from serving.client.samples import SAMPLES
from serving.server.launch import Server
from serving.server.options import server_options

DOCS = Path(__file__).parent
PHOTO = SAMPLES / "cat" / "4055.jpg"
VIEWS = {"page": (760, 590, "light"), "phone": (375, 650, "dark")}


def main() -> None:
    with Server(server_options(Path("model-store/catsdogs.mar"), any_port=True)) as server, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, (width, height, scheme) in VIEWS.items():
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)  # type: ignore[arg-type]
            page.goto(server.options.url)
            page.set_input_files("#file", PHOTO)
            expect(page.locator("#facts")).to_have_text(re.compile("Answered in"))
            page.screenshot(path=DOCS / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    main()
