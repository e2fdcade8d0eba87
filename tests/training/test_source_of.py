"""Sources that a report tells apart."""

import pytest

from training.data.manifest import Picture
from training.evaluation.sources import source_of


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("Cat/1.jpg", "all"),
        ("web/Cat/1.jpg", "web"),
        ("1.jpg", "all"),
        # Folders of the user's own split: a picture of the val split may stand in train/.
        ("train/Cat/1.jpg", "all"),
        ("Validation/web/Cat/1.jpg", "web"),
        ("test/1.jpg", "all"),
    ],
)
def test_a_source_is_a_top_folder_that_is_neither_a_class_nor_a_split(path: str, source: str) -> None:
    assert source_of(Picture(path, "cat", "test", "", "", 1, 1), ["cat", "dog"]) == source


def test_a_class_may_be_named_like_a_split() -> None:
    assert source_of(Picture("test/web/1.jpg", "test", "test", "", "", 1, 1), ["other", "test"]) == "all"
