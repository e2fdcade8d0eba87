"""From a folder as people have them, with everything wrong in it, to an answer over HTTP."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from serving.server.launch import Server
from tests import zoo
from tests.e2e.support import start
from tests.training.conftest import SMALL, settings

TINTS = {"bird": (0.3, 1.0, 0.3), "cat": (1.0, 0.4, 0.3), "dog": (0.3, 0.4, 1.0)}
PER_CLASS = 40


def tinted(seed: int, label: str) -> Image.Image:
    """Smooth random light in the colour of its class."""
    coarse = np.random.default_rng(seed).uniform(60, 255, (8, 8)).astype(np.uint8)
    light = np.asarray(Image.fromarray(coarse).resize((72, 56), Image.Resampling.BICUBIC), dtype=np.float32)
    return Image.fromarray((light[..., None] * np.array(TINTS[label], dtype=np.float32)).astype(np.uint8))


def grey(seed: int) -> Image.Image:
    return tinted(seed, "cat").convert("L")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes, of which some pictures are CMYK, grey, with alpha, turned by EXIF, twins, or broken."""
    root = tmp_path_factory.mktemp("messy")
    for offset, label in enumerate(TINTS):
        (root / label).mkdir()
        for number in range(PER_CLASS):
            picture, name = tinted(1000 * offset + number, label), f"{number}.jpg"
            extra: dict[str, Any] = {"quality": 90}
            if number == 0:
                picture = picture.convert("CMYK")
            elif number == 1:
                picture, name, extra = picture.convert("RGBA"), "1.png", {}
                picture.putalpha(200)
            elif number == 2:
                exif = Image.Exif()
                exif[0x0112] = 6
                picture, extra = picture.transpose(Image.Transpose.ROTATE_90), {"quality": 90, "exif": exif}
            picture.save(root / label / name, **extra)
        # A smaller copy of a picture, and the very same file under another name.
        tinted(1000 * offset + 5, label).resize((36, 28)).save(root / label / "small-twin.jpg", quality=85)
        (root / label / "same.jpg").write_bytes((root / label / "6.jpg").read_bytes())
    grey(77).save(root / "cat" / "grey.jpg")
    whole = (root / "cat" / "7.jpg").read_bytes()
    (root / "cat" / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "dog" / "empty.jpg").write_bytes(b"")
    (root / "dog" / "notes.txt").write_text("Rex, 2019")
    (root / "bird" / "bomb.png").write_bytes(zoo.bomb())
    return root


@pytest.fixture(scope="module")
def served(folder: Path, invoke: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    work = tmp_path_factory.mktemp("work")
    store = work / "store"
    # In fp32 on each processor: with few pictures, bf16 learns something else.
    recipe = [*SMALL, "train.epochs=20", "train.learning_rate=0.01", "train.color=0.0", "train.amp=off"]
    data = work / "data"
    invoke("prepare", folder, "--out", data, "--split", "60/20/20")  # whose parts the pipeline's own keeps
    arguments = [folder, "--data", data, "--store", store, "--version", "3.0.0", "--name", "animals", *settings(recipe)]
    invoke("pipeline", *arguments)
    made = {path: path.stat().st_mtime_ns for path in (store / "runs").rglob("best.pt")}
    archive = (store / "animals.mar").read_bytes()
    invoke("pipeline", *arguments)
    assert made == {path: path.stat().st_mtime_ns for path in made} != {}
    assert (store / "animals.mar").read_bytes() == archive
    with start(store / "animals.mar") as server:
        yield server


@pytest.fixture(scope="module")
def data(served: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return next(path.parent for path in tmp_path_factory.getbasetemp().glob("work*/data/manifest.csv"))


def test_what_cannot_be_read_is_set_aside_with_its_reason_and_stops_nothing(data: Path) -> None:
    with (data / "quarantine.csv").open(newline="") as file:
        reasons = {Path(row["path"]).name: row["reason"].split(":")[0] for row in csv.DictReader(file)}
    assert reasons == {
        "truncated.jpg": "corrupt_image",
        "empty.jpg": "no_image",
        "notes.txt": "unsupported_image",
        "bomb.png": "too_many_pixels",
    }


def test_twins_share_a_side_and_every_class_is_on_all_three(data: Path) -> None:
    with (data / "manifest.csv").open(newline="") as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    for label in TINTS:
        for original, twin in (("5.jpg", "small-twin.jpg"), ("6.jpg", "same.jpg")):
            first, second = rows[f"{label}/{original}"], rows[f"{label}/{twin}"]
            assert (first["split"], first["group"]) == (second["split"], second["group"])
        assert {row["split"] for row in rows.values() if row["label"] == label} == {"train", "val", "test"}
    assert len(rows) == 3 * (PER_CLASS + 2) + 1


def ask(server: Server, picture: Image.Image, format: str = "JPEG") -> dict[str, object]:
    buffer = io.BytesIO()
    picture.save(buffer, format, **({"quality": 95} if format == "JPEG" else {}))
    response = httpx.post(
        f"{server.options.url}/predictions/animals", content=buffer.getvalue(), trust_env=False, timeout=30
    )
    assert response.status_code == 200, response.text
    answer: dict[str, object] = json.loads(response.content)
    return answer


@pytest.mark.parametrize("label", TINTS)
def test_the_served_archive_tells_three_classes_apart(served: Server, label: str) -> None:
    answers = [ask(served, tinted(9000 + number, label)) for number in range(4)]
    assert [answer["label"] for answer in answers] == [label] * 4
    assert set(answers[0]["probabilities"]) == set(TINTS)  # type: ignore[call-overload]
    assert sum(answers[0]["probabilities"].values()) == pytest.approx(1, abs=1e-4)  # type: ignore[attr-defined]


@pytest.mark.parametrize("mode", ["CMYK", "RGBA", "L"])
def test_the_served_archive_answers_every_mode(served: Server, mode: str) -> None:
    picture = tinted(9100, "dog").convert(mode)
    answer = ask(served, picture, "PNG" if mode == "RGBA" else "JPEG")
    assert mode == "L" or answer["label"] == "dog"
    assert answer["model"]["version"] == "3.0.0"  # type: ignore[index]
