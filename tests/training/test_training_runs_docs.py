"""The training runs on the page of benchmarks: the table, the released model, the picture."""

import json
from pathlib import Path
from typing import Any

from docs.training_runs import RUNS, draw, table, written
from tests.zoo import ROOT

PAGE = (ROOT / "docs" / "benchmarks.md").read_text()


def test_the_page_has_the_table() -> None:
    assert table() in PAGE


def test_its_last_row_is_the_released_model() -> None:
    release = json.loads((ROOT / "model-store" / "catsdogs" / "release.json").read_text())
    last = RUNS[-1]
    assert last.name == release["version"]
    sources = {name: (figures["right"], figures["count"]) for name, figures in release["metrics"].items()}
    assert (last.small, last.photographs) == (sources["petimages"], sources["photos"])
    assert sum(part["epochs"] for part in lineage(release)) == last.epochs


def lineage(release: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the release and what it started from."""
    start = release.get("start")
    return [release, *(lineage(start) if isinstance(start, dict) else [])]


def test_figures_have_wilsons_interval() -> None:
    assert written((489, 500)) == "97.80 % (96.10 to 98.77, n = 500)"


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    draw(tmp_path / "runs.png")
    assert (tmp_path / "runs.png").read_bytes().startswith(b"\x89PNG")
