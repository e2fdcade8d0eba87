"""Time from a picture to its answer in the demo, in a real Chromium: python -m tests.demo.timing build/web-demo"""

import argparse
import statistics
from base64 import b64encode
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.browser import ARGUMENTS, CHROMIUM
from tests.demo.support import BLOB, SAMPLES, large, serving

# JavaScript: the milliseconds of the answer to a picture.
TIMED = f"""
async (bytes) => {{
  {BLOB}
  const {{classify}} = await import("./backend.js");
  const blob = blobOf(bytes);
  const started = performance.now();
  await classify(blob);
  return performance.now() - started;
}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the demo in Chromium.")
    parser.add_argument("folder", type=Path, help="Folder of the demo.")
    parser.add_argument("--rounds", type=int, default=5, help="How often each picture is asked about (default: 5).")
    given = parser.parse_args()
    small = [path.read_bytes() for path in SAMPLES]
    with serving(given.folder, "/") as site, sync_playwright() as playwright:
        page = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS).new_page()
        site.open(page)
        for name, pictures in (("samples of up to 500 pixels", small), ("one of 12 megapixels", [large(14)])):
            times = [
                page.evaluate(TIMED, b64encode(picture).decode()) for _ in range(given.rounds) for picture in pictures
            ]
            print(f"{name}: median {statistics.median(times):.0f} ms of {len(times)}, fastest {min(times):.0f} ms")


if __name__ == "__main__":
    main()
