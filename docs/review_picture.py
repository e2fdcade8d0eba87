"""The picture of a review in docs/, taken of the page on made feedback about the sample photos: make screenshot"""

import hashlib
import json
import shutil
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from monitoring.feedback.folder_place import Folder
from monitoring.feedback.page import NAME
from monitoring.feedback.review import review
from serving.client.samples import SAMPLES

PICTURE = Path(__file__).parent / "review.png"
DAY = "2026-11-28"
# Photo: label given, prediction, probability. The labels of the third and fourth are wrong.
GIVEN = {
    "cat/4055": ("cat", "dog", 0.93),
    "dog/886": ("dog", "cat", 0.81),
    "cat/509": ("dog", "cat", 0.98),
    "dog/13": ("cat", "dog", 0.9),
}


def give(place: Path, number: int, photo: str) -> None:
    """Write a record and its picture."""
    label, predicted, probability = GIVEN[photo]
    data, id = (SAMPLES / f"{photo}.jpg").read_bytes(), f"{number:032x}"
    record = {
        "id": id,
        "predicted_at": f"{DAY}T10:00:00Z",
        "given_at": f"{DAY}T10:00:07Z",
        "sha256": hashlib.sha256(data).hexdigest(),
        "label": label,
        "predicted": predicted,
        "probability": probability,
        "model": {"name": "catsdogs", "version": "0.2.0", "sha256": "ab" * 32, "precision": "int8"},
        "picture": f"{id}.jpg",
    }
    (place / DAY).mkdir(parents=True, exist_ok=True)
    (place / DAY / f"{id}.jpg").write_bytes(data)
    (place / DAY / f"{id}.json").write_text(json.dumps(record))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        place, out = Path(folder, "feedback"), Path(folder, "review")
        for number, photo in enumerate(GIVEN):
            give(place, number, photo)
        review(Folder(place), out, None, print)
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 940, "height": 520})
        page.goto((out / NAME).as_uri())
        for number, name in ((0, "accept: cat"), (1, "accept: dog"), (2, "it is: cat")):
            page.locator(f'article[data-id="{number:032x}"]').get_by_role("button", name=name, exact=True).click()
        page.screenshot(path=PICTURE)
        browser.close()
    # A third of the bytes, and no difference that anybody sees.
    with Image.open(PICTURE) as picture:
        small = picture.convert("RGB").quantize(128)
    small.save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
