"""The commands of docs/how-to/prepare-pictures.md, typed on the folders that the page describes."""

import csv
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.documentation import run_by

Photo = Callable[..., Image.Image]
# Pictures of each class in the folders whose classes are folders.
SEEDS = {"flowers": range(20), "seg_train": range(8), "seg_val": range(8, 12), "seg_test": range(12, 16)}


@pytest.fixture
def desk(tmp_path: Path, photo: Photo, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with class folders, an own split, and pictures whose labels are in a file."""
    for top, seeds in SEEDS.items():
        for offset, label in enumerate(("rose", "tulip")):
            (tmp_path / top / label).mkdir(parents=True)
            for seed in seeds:
                photo(2 * seed + offset).save(tmp_path / top / label / f"{seed}.jpg", quality=90)
    (tmp_path / "pictures" / "images").mkdir(parents=True)
    rows = ["path,label,split"]
    for seed in range(12):
        photo(seed).save(tmp_path / "pictures" / "images" / f"{seed}.jpg", quality=90)
        rows.append(f"images/{seed}.jpg,{('Pug', 'Golden Retriever')[seed % 2]},{('train', 'val', 'test')[seed // 4]}")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_each_command_prepares_the_pictures_it_names(desk: Path, invoke: Callable[..., str]) -> None:
    classes: list[set[str]] = []
    counts: list[list[int]] = []
    for block in run_by(__file__):
        for number, line in enumerate(block.commands):
            program, *words = shlex.split(line)
            assert program == "catsdogs"
            out = desk / f"data-{len(classes)}-{number}"
            invoke(*words, "--out", out, "--no-contact")
            with (out / "manifest.csv").open(newline="") as file:
                rows = list(csv.DictReader(file))
            classes.append({row["label"] for row in rows})
            counts.append([sum(row["split"] == split for row in rows) for split in ("train", "val", "test")])
    flowers = {"rose", "tulip"}
    assert classes == [flowers, flowers, {"pug", "golden retriever"}]
    assert counts[1:] == [[16, 8, 8], [4, 4, 4]]
    assert sum(counts[0]) == 40
    assert min(counts[0]) >= 2
