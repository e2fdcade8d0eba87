"""The page of a review: one HTML file that needs no network, on which a person decides and saves review.csv."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from PIL import Image

from common.review_csv import COLUMNS, OTHER, Reviewed
from monitoring.feedback.pictures import jpeg

NAME = "review.html"
FOLDER = Path(__file__).parent / "page_files"


def page(rows: Sequence[Reviewed], shown: Sequence[Reviewed], thumbnails: Mapping[str, Image.Image]) -> bytes:
    """Return the page.

    The text of records reaches it as JSON alone, which its script shows as text. The policy in its head lets no other
    script run and no request leave.

    Args:
        rows: of review.csv, all of which the page saves.
        shown: those that it shows.
        thumbnails: by id.
    """
    script, style = ((FOLDER / f"review.{suffix}").read_text() for suffix in ("js", "css"))
    document = {
        "columns": COLUMNS,
        "rows": [asdict(row) for row in rows],
        "shown": [row.id for row in shown],
        "labels": sorted({OTHER, *(row.label for row in rows), *(row.predicted for row in rows)}),
        "thumbnails": {id: base64.b64encode(jpeg(image)).decode() for id, image in thumbnails.items()},
    }
    # A closing tag in JSON would end the element that holds it.
    data = json.dumps(document).replace("<", "\\u003c")
    text = (FOLDER / "review.html").read_text()
    for mark, part in (
        ("@POLICY@", _policy(script, style)),
        ("@STYLE@", style),
        ("@SCRIPT@", script),
        ("@DATA@", data),
    ):
        text = text.replace(mark, part)
    return text.encode()


def _policy(script: str, style: str) -> str:
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (script, style)]
    return f"default-src 'none'; img-src data:; script-src 'sha256-{hashes[0]}'; style-src 'sha256-{hashes[1]}'"
