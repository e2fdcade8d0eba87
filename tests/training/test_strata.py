"""Small classes have pictures on each side of the split, by content; large ones are split by the hash alone."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from PIL import Image

from training.data import manifest
from training.data.split import SPLITS, Group, assign, choose_split, fewest_groups

Invoke = Callable[..., str]
Photo = Callable[..., Image.Image]
RATIOS = (80, 10, 10)


def groups(label: str, count: int) -> list[Group]:
    return [
        Group(hashlib.sha256(f"{label} {number}".encode()).hexdigest()[:16], frozenset([label]))
        for number in range(count)
    ]


def split(some: Sequence[Group], ratios: tuple[int, int, int] = RATIOS) -> dict[str, str]:
    return dict(zip((group.name for group in some), assign(some, ratios), strict=True))


def count_by_class(some: Sequence[Group]) -> dict[str, Counter[str]]:
    counts: dict[str, Counter[str]] = {}
    for group, side in zip(some, assign(some, RATIOS), strict=True):
        for label in group.labels:
            counts.setdefault(label, Counter())[side] += 1
    return counts


@pytest.mark.parametrize(("per_class", "wanted"), [(3, (1, 1, 1)), (6, (4, 1, 1)), (40, (26, 3, 3)), (100, (68, 8, 8))])
def test_each_of_many_classes_has_its_fewest_pictures_on_each_side(
    per_class: int, wanted: tuple[int, int, int]
) -> None:
    counts = count_by_class([group for number in range(200) for group in groups(f"class {number}", per_class)])
    assert [min(counts[label][side] for label in counts) for side in SPLITS] == list(wanted)


def test_chance_alone_would_leave_small_classes_untested() -> None:
    """The reason for it all: the hash gives many a class of six nothing to test."""
    classes = [groups(f"class {number}", 6) for number in range(200)]
    untested = sum("test" not in {choose_split(group.name, RATIOS) for group in some} for some in classes)
    assert untested > 80


@pytest.mark.parametrize("per_class", [6, 40])
def test_five_classes_drawn_as_pictures_are_on_each_side(
    per_class: int, tmp_path: Path, photo: Photo, invoke: Invoke
) -> None:
    for number, label in enumerate(["daisy", "dandelion", "rose", "sunflower", "tulip"]):
        (tmp_path / "flowers" / label).mkdir(parents=True)
        for seed in range(per_class):
            photo(1000 * number + seed).save(tmp_path / "flowers" / label / f"{seed}.jpg")
    output = invoke("prepare", tmp_path / "flowers", "--out", tmp_path / "data", "--no-contact")
    counts = Counter((row.label, row.split) for row in manifest.read(tmp_path / "data").pictures)
    assert len(counts) == 15
    least = {6: 1, 40: 3}[per_class]
    assert min(count for (_, side), count in counts.items() if side != "train") >= least
    assert "Fewer than 20 test pictures, so the accuracy of the class is uncertain: daisy (" in output
    few = json.loads((tmp_path / "data" / "summary.json").read_text())["few_test_pictures"]
    assert few == {label: counts[label, "test"] for label in ("daisy", "dandelion", "rose", "sunflower", "tulip")}


def test_large_classes_are_split_by_the_hash_alone() -> None:
    some = [*groups("cat", 5000), *groups("dog", 5000)]
    assert split(some) == {group.name: choose_split(group.name, RATIOS) for group in some}


def test_a_large_class_keeps_its_sides_when_pictures_are_added() -> None:
    some = groups("cat", 1200)
    assert split(some[:600]).items() <= split(some).items()


def test_few_pictures_of_a_small_class_change_sides_when_pictures_are_added_without_the_previous_manifest() -> None:
    changed, all_of_them = 0, 0
    for number in range(50):
        some = groups(f"class {number}", 60)
        before, after = split(some[:40]), split(some)
        changed += sum(after[name] != side for name, side in before.items())
        all_of_them += len(before)
    assert changed / all_of_them < 0.04


@pytest.mark.parametrize("side", SPLITS)
def test_pictures_of_the_previous_manifest_are_never_moved_to_fill_a_side(side: str) -> None:
    old = [Group(group.name, group.labels, before=side) for group in groups("cat", 12)]
    assert set(assign(old, RATIOS)) == {side}


def test_new_pictures_fill_the_sides_that_old_ones_left_empty() -> None:
    old = [Group(group.name, group.labels, before="train") for group in groups("cat", 30)]
    sides = assign([*old, *groups("new", 0), *groups("cat", 40)[30:]], RATIOS)
    assert set(sides[:30]) == {"train"}
    assert Counter(sides[30:])["test"] >= 3
    assert Counter(sides[30:])["val"] >= 3


def test_the_order_of_the_groups_does_not_matter() -> None:
    some = [group for number in range(20) for group in groups(f"class {number}", 7)]
    assert split(some) == split(some[::-1])


def test_a_group_of_two_classes_is_not_taken_from_one_to_fill_the_other() -> None:
    shared = Group("00", frozenset(["cat", "dog"]))
    for number in range(50):
        some = [shared, *groups(f"cat {number}", 0)]
        some += [Group(group.name, frozenset(["cat"])) for group in groups(f"cat {number}", 9)]
        some += [Group(group.name, frozenset(["dog"])) for group in groups(f"dog {number}", 9)]
        for counts in count_by_class(some).values():
            assert min(counts[side] for side in SPLITS) >= 1


@pytest.mark.parametrize(
    ("count", "ratios", "wanted"),
    [
        (1, RATIOS, (1, 0, 0)),
        (2, RATIOS, (1, 0, 1)),
        (5, (0, 1, 0), (0, 4, 0)),
        (2, (1, 1, 0), (1, 1, 0)),
        (10**6, RATIOS, (60, 8, 8)),
    ],
)
def test_the_fewest_groups_of_a_side(count: int, ratios: tuple[int, int, int], wanted: tuple[int, int, int]) -> None:
    assert tuple(fewest_groups(count, ratios).values()) == wanted


def test_the_fewest_groups_are_never_more_than_there_are() -> None:
    for count in range(1, 120):
        for ratios in ((1, 98, 1), (98, 1, 1), (1, 1, 98), (0, 99, 1), (1, 1, 1), (80, 10, 10)):
            assert sum(fewest_groups(count, ratios).values()) <= count, (count, ratios)


def test_a_class_whose_pictures_are_nearly_the_same_is_told_that_it_cannot_be_tested(
    tmp_path: Path, photo: Photo, invoke: Invoke
) -> None:
    for number, label in enumerate(["rose", "tulip"]):
        (tmp_path / label).mkdir()
        for seed in range(6):
            photo(100 * number + seed).save(tmp_path / label / f"{seed}.jpg")
    for side in range(40, 60, 2):
        (tmp_path / "copies").mkdir(exist_ok=True)
        photo(7, size=(side, side)).save(tmp_path / "copies" / f"{side}.png")
    output = invoke("prepare", tmp_path, "--out", tmp_path.parent / "data-of-copies", "--no-contact")
    assert "No picture in val and test of copies: add some that differ from each other." in output.splitlines()
