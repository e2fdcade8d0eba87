import io
import random
from pathlib import Path

import pytest
from PIL import Image

from handler.files import UserError
from loadtest.defaults import PICTURES
from loadtest.generate.pictures import make_pool


def test_the_same_seed_makes_the_same_pictures() -> None:
    assert make_pool(PICTURES, 3).sha256 == make_pool(PICTURES, 3).sha256
    assert make_pool(PICTURES, 3).sha256 != make_pool(PICTURES, 4).sha256


def test_all_pictures_are_different_and_of_many_sizes() -> None:
    pool = make_pool(PICTURES)
    assert len({picture.data for picture in pool.good}) == len(pool.good) == 64
    sizes = {Image.open(io.BytesIO(picture.data)).size for picture in pool.good}
    assert max(max(size) for size in sizes) >= 4 * min(max(size) for size in sizes)


def test_a_picture_s_label_is_its_folder_s_name(tmp_path: Path) -> None:
    assert {picture.label for picture in make_pool(PICTURES).good} == {"cat", "dog"}
    Image.new("RGB", (40, 30)).save(tmp_path / "one.png")
    assert {picture.label for picture in make_pool(tmp_path).good} == {None}


def test_so_many_are_broken_as_was_asked_for() -> None:
    pool, rng = make_pool(PICTURES), random.Random(1)
    broken = sum(pool.draw(rng, 0.1).refusal is not None for _ in range(4000))
    assert broken == pytest.approx(400, abs=80)
    assert all(pool.draw(rng, 0).refusal is None for _ in range(100))


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no pictures"):
        make_pool(tmp_path)


def test_an_empty_file_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(UserError, match=r"empty\.jpg: The file is empty\."):
        make_pool(tmp_path)


def test_hidden_files_are_not_sent(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "one.png")
    (tmp_path / "._one.png").write_bytes(b"\0\5\x16\7")
    notes: list[str] = []
    assert len(make_pool(tmp_path, most=1, say=notes.append).good) == 1
    assert notes == [f"Skipped 1 file in {tmp_path}: 1 hidden."]


def test_what_only_looks_like_a_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    with pytest.raises(UserError, match=r"text\.jpg is not a picture that can be read"):
        make_pool(tmp_path)
