import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from handler.files import UserError
from handler.preprocess import InputSpec, decode
from handler.problem import Problem
from training.data import manifest
from training.data.manifest import Picture, Prepared
from training.data.prepare import prepare
from training.data.scan import Quarantined, scan_file

Photo = Callable[..., Image.Image]
Folders = Callable[..., Path]


def sides(prepared: Prepared) -> dict[str, str]:
    """Which split each content is in."""
    return {picture.sha256: picture.split for picture in prepared.pictures}


def by_path(prepared: Prepared) -> dict[str, Picture]:
    return {picture.path: picture for picture in prepared.pictures}


def test_every_picture_is_in_exactly_one_row(tmp_path: Path, class_folders: Folders) -> None:
    prepared = prepare([class_folders(tmp_path / "a", 4)])
    assert [picture.path for picture in prepared.pictures] == [
        f"{label}/{number}.jpg" for label in ("Cat", "Dog") for number in range(4)
    ]


def test_a_folder_that_is_named_twice_is_read_once(tmp_path: Path, class_folders: Folders) -> None:
    folder = class_folders(tmp_path / "a", 3)
    assert prepare([folder, folder]).pictures == prepare([folder]).pictures


def test_labels_are_the_lower_cased_names_of_class_folders_of_all_trees(tmp_path: Path, photo: Photo) -> None:
    for seed, name in enumerate(["a/Cat/1.jpg", "b/CAT/2.jpg", "b/dog/3.jpg", "b/dog/4.jpg"]):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        photo(seed).save(tmp_path / name)
    prepared = prepare([tmp_path / "a", tmp_path / "b"])
    assert [picture.label for picture in prepared.pictures] == ["cat", "cat", "dog", "dog"]
    assert prepared.classes == ["cat", "dog"]


def test_a_row_gives_the_pictures_size_and_sha256(tmp_path: Path, class_folders: Folders, photo: Photo) -> None:
    folder = class_folders(tmp_path, 2)
    photo(9, size=(70, 50)).save(folder / "Cat" / "9.png")
    picture = by_path(prepare([folder]))["Cat/9.png"]
    assert (picture.width, picture.height) == (70, 50)
    assert picture.sha256 == hashlib.sha256((folder / "Cat" / "9.png").read_bytes()).hexdigest()


def test_files_that_are_no_whole_picture_are_set_aside_with_a_reason(
    tmp_path: Path, class_folders: Folders, photo: Photo
) -> None:
    folder = class_folders(tmp_path / "a", 2)
    photo(1, size=(320, 240)).save(tmp_path / "whole.jpg")
    whole = (tmp_path / "whole.jpg").read_bytes()
    with Image.open(tmp_path / "whole.jpg") as image:
        image.verify()
    (folder / "Cat" / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "Cat" / "empty.jpg").write_bytes(b"")
    (folder / "Cat" / "garbage.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(range(256)))
    (folder / "Dog" / "notes.txt").write_text("These are dogs.")
    prepared = prepare([folder])
    reasons = {row.path: row.reason.partition(":")[0] for row in prepared.quarantine}
    assert reasons == {
        "Cat/truncated.jpg": "corrupt_image",
        "Cat/empty.jpg": "no_image",
        "Cat/garbage.jpg": "unsupported_image",
        "Dog/notes.txt": "unsupported_image",
    }
    assert len(prepared.pictures) == 4


def test_pillows_own_check_lets_the_truncated_picture_pass(tmp_path: Path, photo: Photo) -> None:
    # The reason for decoding every picture fully. Where this fails, `verify` has become good enough.
    path = tmp_path / "truncated.jpg"
    photo(1, size=(320, 240)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with Image.open(path) as image:
        image.verify()
    assert isinstance(scan_file(path), Quarantined)


def test_hidden_files_and_folders_are_ignored(tmp_path: Path, class_folders: Folders) -> None:
    folder = class_folders(tmp_path / "a", 2)
    (folder / "Cat" / ".DS_Store").write_bytes(b"x")
    (folder / ".thumbnails").mkdir()
    shutil.copyfile(folder / "Cat" / "0.jpg", folder / ".thumbnails" / "0.jpg")
    prepared = prepare([folder])
    assert len(prepared.pictures) == 4
    assert prepared.quarantine == []


def test_pictures_below_a_hidden_folder_are_found_where_the_user_names_it(
    tmp_path: Path, class_folders: Folders
) -> None:
    folder = class_folders(tmp_path / ".cache" / "pictures", 2)
    assert len(prepare([folder]).pictures) == 4


def test_every_picture_that_is_admitted_can_be_decoded_by_the_servers_rule(
    tmp_path: Path, class_folders: Folders, photo: Photo
) -> None:
    # Evaluation decodes by it, and would stop at the first picture that is refused.
    folder = class_folders(tmp_path / "a", 2)
    noise = np.random.default_rng(0).integers(0, 256, (2400, 2400, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "Cat" / "more-than-16-MiB.bmp")
    photo(1).save(folder / "Dog" / "broken-exif.jpg", exif=b"Exif\0\0not a TIFF header")
    prepared = prepare([folder])
    refused = {}
    for picture in prepared.pictures:
        try:
            decode((folder / picture.path).read_bytes(), InputSpec(32))
        except Problem as problem:
            refused[picture.path] = problem.code
    assert refused == {}
    assert len(prepared.pictures) + len(prepared.quarantine) == 6


def test_a_squeezed_recompressed_copy_shares_group_and_side(
    tmp_path: Path, class_folders: Folders, photo: Photo
) -> None:
    folder = class_folders(tmp_path / "a", 6)
    for seed in range(100, 112):
        original = photo(seed, size=(500, 375))
        original.save(folder / "Cat" / f"original-{seed}.jpg", quality=95)
        original.resize((160, 160)).save(folder / "Dog" / f"twin-{seed}.jpg", quality=68)
    pictures = by_path(prepare([folder], ratios=(1, 1, 1)))
    for seed in range(100, 112):
        original_row, twin = pictures[f"Cat/original-{seed}.jpg"], pictures[f"Dog/twin-{seed}.jpg"]
        assert (original_row.group, original_row.split) == (twin.group, twin.split)


def test_an_upright_copy_of_a_photograph_that_lies_on_its_side_shares_its_group(
    tmp_path: Path, class_folders: Folders, photo: Photo
) -> None:
    # Phones store pictures lying, with a note in EXIF; copies on the web are turned.
    folder = class_folders(tmp_path, 2)
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = photo(99, size=(320, 240))
    lying.save(folder / "Cat" / "phone.jpg", exif=exif)
    lying.transpose(Image.Transpose.ROTATE_270).resize((160, 160)).save(folder / "Cat" / "web.jpg")
    pictures = by_path(prepare([folder]))
    assert pictures["Cat/phone.jpg"].group == pictures["Cat/web.jpg"].group
    assert pictures["Cat/phone.jpg"].group != pictures["Cat/0.jpg"].group


def test_unlike_pictures_have_groups_of_their_own(tmp_path: Path, class_folders: Folders) -> None:
    prepared = prepare([class_folders(tmp_path / "a", 20)])
    assert len({picture.group for picture in prepared.pictures}) == 40


@pytest.mark.parametrize("name", ["a-photos", "z-photos"])
def test_a_photographs_twin_is_never_trained_on(
    tmp_path: Path, class_folders: Folders, photo: Photo, name: str
) -> None:
    web, photos = class_folders(tmp_path / "web", 10), tmp_path / name
    (photos / "Cat").mkdir(parents=True)
    for seed in range(6):
        # 2 * seed is what class_folders drew Cat/<seed>.jpg from.
        photo(2 * seed, size=(320, 240)).save(photos / "Cat" / f"{seed}.jpg", quality=95)
    pictures = by_path(prepare([web], [photos], (100, 0, 0)))
    tested = {path for path, picture in pictures.items() if picture.split == "test"}
    assert tested == {f"{tree}/Cat/{seed}.jpg" for tree in ("web", name) for seed in range(6)}


def test_the_split_is_the_same_after_renaming_and_moving(tmp_path: Path, class_folders: Folders) -> None:
    folder = class_folders(tmp_path / "a", 20)
    before = sides(prepare([folder], ratios=(1, 1, 1)))
    moved = tmp_path / "elsewhere" / "deep" / "b"
    shutil.copytree(folder, moved)
    for path in sorted(moved.rglob("*.jpg")):
        path.rename(path.with_name(f"renamed-{hashlib.sha256(path.name.encode()).hexdigest()}.jpeg"))
    assert sides(prepare([moved], ratios=(1, 1, 1))) == before


def test_unrelated_new_pictures_leave_the_others_where_they_were(tmp_path: Path, class_folders: Folders) -> None:
    folder = class_folders(tmp_path / "a", 20)
    before = sides(prepare([folder], ratios=(1, 1, 1)))
    class_folders(folder, 20, first_seed=500)
    after = sides(prepare([folder], ratios=(1, 1, 1), previous=before))
    assert len(after) == 80
    assert before.items() <= after.items()


def test_what_is_written_is_read_back(tmp_path: Path, class_folders: Folders) -> None:
    folder = class_folders(tmp_path / "a", 3)
    (folder / "Cat" / "0.jpg").rename(folder / "Cat" / 'a "strange", näme\n.jpg')
    prepared = prepare([folder])
    digest = manifest.write(prepared, tmp_path / "data")
    written = manifest.read(tmp_path / "data")
    assert (written.root, written.pictures, written.sha256) == (folder, prepared.pictures, digest)
    assert written.classes == ["cat", "dog"]
    assert all((written.root / picture.path).is_file() for picture in written.pictures)


def test_the_sha256_of_a_manifest_does_not_depend_on_where_the_pictures_lie(
    tmp_path: Path, class_folders: Folders
) -> None:
    here, there = class_folders(tmp_path / "a", 3), class_folders(tmp_path / "b" / "c", 3)
    digests = {manifest.write(prepare([folder]), tmp_path / "data") for folder in (here, there)}
    assert len(digests) == 1


def test_the_quarantine_is_written_beside_the_manifest(tmp_path: Path, class_folders: Folders) -> None:
    folder = class_folders(tmp_path / "a", 2)
    (folder / "Cat" / "bad.jpg").write_bytes(b"")
    manifest.write(prepare([folder]), tmp_path / "data")
    header, row = (tmp_path / "data" / "quarantine.csv").read_text().splitlines()
    assert header == "path,reason"
    assert row.startswith("Cat/bad.jpg,")
    assert "no_image" in row


def test_a_manifest_changed_by_hand_is_refused(tmp_path: Path, class_folders: Folders) -> None:
    manifest.write(prepare([class_folders(tmp_path / "a", 3)]), tmp_path / "data")
    path = tmp_path / "data" / "manifest.csv"
    path.write_text(path.read_text().replace(",dog,", ",cat,", 1))
    with pytest.raises(UserError, match="was changed after it was made"):
        manifest.read(tmp_path / "data")


@pytest.mark.parametrize("name", ["manifest.csv", "summary.json"])
def test_a_missing_manifest_is_answered_by_how_to_make_it(tmp_path: Path, class_folders: Folders, name: str) -> None:
    manifest.write(prepare([class_folders(tmp_path / "a", 2)]), tmp_path / "data")
    (tmp_path / "data" / name).unlink()
    with pytest.raises(UserError, match=rf"{name} is missing\. Make it by: catsdogs prepare"):
        manifest.read(tmp_path / "data")


def test_a_summary_that_is_no_json_is_the_users_to_mend(tmp_path: Path, class_folders: Folders) -> None:
    manifest.write(prepare([class_folders(tmp_path / "a", 2)]), tmp_path / "data")
    (tmp_path / "data" / "summary.json").write_text("{")
    with pytest.raises(UserError, match=r"summary\.json"):
        manifest.read(tmp_path / "data")


def test_nothing_but_broken_files_is_an_error_that_says_why(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    for name in ("1.jpg", "2.jpg"):
        (tmp_path / "cat" / name).write_bytes(b"broken")
    with pytest.raises(UserError, match="None of the 2 files is a picture that can be read: unsupported_image"):
        prepare([tmp_path])


def test_a_folder_without_class_folders_is_an_error_that_shows_what_is_expected(tmp_path: Path, photo: Photo) -> None:
    photo(1).save(tmp_path / "1.jpg")
    with pytest.raises(UserError, match=r"holds no class folders with pictures \(expected .*/cat/1\.jpg"):
        prepare([tmp_path])


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere is not a folder"):
        prepare([tmp_path / "nowhere"])


@pytest.mark.parametrize("ratios", [(0, 0, 0), (120, -10, -10)])
def test_ratios_that_divide_nothing_are_refused(
    tmp_path: Path, class_folders: Folders, ratios: tuple[int, int, int]
) -> None:
    with pytest.raises(UserError, match="must be 0 or more"):
        prepare([class_folders(tmp_path / "a", 2)], ratios=ratios)


def test_a_name_that_a_manifest_cannot_hold_is_set_aside(tmp_path: Path, class_folders: Folders) -> None:
    folder = class_folders(tmp_path / "pictures", 3)
    shutil.copy(folder / "Cat" / "0.jpg", folder / "Cat" / os.fsdecode(b"\xff.jpg"))
    prepared = prepare([folder])
    assert [row.reason.partition(":")[0] for row in prepared.quarantine] == ["bad_name"]
    manifest.write(prepared, tmp_path / "data")
    assert len(manifest.read(tmp_path / "data").pictures) == 6


def test_pictures_that_were_moved_away_are_missed_at_once(tmp_path: Path, class_folders: Folders) -> None:
    folder = class_folders(tmp_path / "pictures", 3)
    manifest.write(prepare([folder]), tmp_path / "data")
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="no longer in"):
        manifest.read(tmp_path / "data")
