"""The page's picture on a phone, docs/phone.png, taken of the running server: make screenshot"""

import re
import shutil
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

from serving.client.samples import SAMPLES
from serving.server.launch import Server
from serving.server.options import server_options

PHOTO = SAMPLES / "cat" / "4055.jpg"
OUT = Path(__file__).with_name("phone.png")


def main() -> None:
    with Server(server_options(Path("model-store/catsdogs.mar"), any_port=True)) as server, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 375, "height": 650}, color_scheme="dark")
        page.goto(server.options.url)
        page.set_input_files("#file", PHOTO)
        expect(page.locator("#facts")).to_have_text(re.compile("Answered in"))
        page.screenshot(path=OUT)
        browser.close()


if __name__ == "__main__":
    main()
