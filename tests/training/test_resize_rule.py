import dataclasses
import io
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from handler.files import sha256_file
from training.data.manifest import Manifest
from training.evaluation import resize_rule

Photo = Callable[..., Image.Image]


def encoded(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def test_aspects_come_in_the_tables_proportion() -> None:
    counts = Counter(resize_rule.usual_aspect(f"{number:064x}") for number in range(24))
    assert counts == Counter(resize_rule.ASPECTS)


@pytest.mark.parametrize("aspect", resize_rule.ASPECTS)
def test_a_square_is_stretched_to_its_aspect_at_the_same_area(aspect: tuple[int, int], photo: Photo) -> None:
    square = photo(1, size=(160, 160))
    with Image.open(io.BytesIO(resize_rule.natural(encoded(square), aspect))) as stretched:
        width, height = stretched.size
        back = np.asarray(stretched.resize((160, 160), Image.Resampling.BILINEAR), dtype=int)
    assert width / height == pytest.approx(aspect[0] / aspect[1], rel=0.01)
    assert width * height == pytest.approx(160 * 160, rel=0.01)
    # It shows the whole picture: squeezed again it is the same.
    assert np.abs(back - np.asarray(square, dtype=int)).mean() < 2


def test_a_picture_that_has_an_aspect_keeps_it(photo: Photo) -> None:
    data = encoded(photo(1, size=(64, 48)))
    assert resize_rule.natural(data, (9, 16)) == data


@pytest.mark.parametrize(
    ("only_squeeze", "only_crop", "p", "rule"),
    [
        (3, 12, 0.035, "crop"),
        (12, 3, 0.035, "squeeze"),
        # Neither is shown to be better, so the one that loses nothing.
        (3, 9, 0.15, "squeeze"),
        (0, 0, 1.0, "squeeze"),
    ],
)
def test_crop_is_chosen_only_where_it_is_shown_to_be_better(
    only_squeeze: int, only_crop: int, p: float, rule: str
) -> None:
    assert resize_rule.choose_rule({"only_first": only_squeeze, "only_second": only_crop, "p": p}) == rule


def test_the_rules_are_compared_on_val_and_the_test_split_has_no_say(
    run: Path, manifest: Manifest, tmp_path: Path
) -> None:
    whole = resize_rule.compare_rules(run / "best.pt", manifest, tmp_path)
    assert json.loads((tmp_path / "rules.json").read_bytes()) == whole
    assert whole["checkpoint_sha256"] == sha256_file(run / "best.pt")
    count = len(manifest.split("val"))
    assert (whole["decided_on"], whole["pictures"]) == ("val", count)
    squeeze, crop, test = whole["rules"]["squeeze"], whole["rules"]["crop"], whole["mcnemar"]
    assert squeeze["count"] == crop["count"] == count
    assert squeeze["right"] - crop["right"] == test["only_squeeze"] - test["only_crop"]
    assert whole["sentence"].startswith(f"{whole['chosen']} is chosen, ")
    # The pictures here are 4:3 already.
    assert whole["stretched"] == 0
    assert {name: row["crop"]["count"] for name, row in whole["test_pictures_as_they_are"].items()} == {
        name: sum(picture.path.startswith(f"{name}/") for picture in manifest.split("test"))
        for name in ("photos", "web")
    }
    untested = dataclasses.replace(manifest, pictures=manifest.split("val"))
    without = resize_rule.compare_rules(run / "best.pt", untested, tmp_path / "without")
    assert without == {**whole, "test_pictures_as_they_are": {}}
