"""`catsdogs prepare --feedback`: pictures that users gave a label to, and that a person accepted."""

import csv
import dataclasses
import hashlib
import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from common import review_csv
from common.review_csv import Reviewed
from handler.files import UserError
from tests.aws import Aws, reader, serve_aws
from tests.feedback.support import give, id_of
from tests.zoo import SAMPLES
from training.data.manifest import Prepared
from training.data.prepare import prepare

Photo = Callable[..., Image.Image]
Folders = Callable[..., Path]
Invoke = Callable[..., str]


class Review:
    """A folder with review.csv, to which a test adds rows."""

    def __init__(self, folder: Path, photo: Photo) -> None:
        self.folder, self.photo = folder, photo
        self.rows: list[Reviewed] = []
        folder.mkdir()

    def add(self, seed: int, decision: str, label: str = "cat", size: tuple[int, int] = (64, 48)) -> Path:
        """Draw a picture and write its row; seeds of a cat are even, those of a dog odd."""
        path = self.folder / f"{len(self.rows)}.jpg"
        self.photo(seed, "Dog" if seed % 2 else "Cat", size).save(path, quality=90)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        row = Reviewed(id_of(len(self.rows)), "2026-11-28", sha256, path.name, "dog", "0.9", label, "1", "", decision)
        self.write([*self.rows, row])
        return path

    def write(self, rows: list[Reviewed]) -> None:
        self.rows = rows
        (self.folder / review_csv.NAME).write_bytes(review_csv.text_of(rows))


@pytest.fixture
def web(tmp_path: Path, class_folders: Folders) -> Path:
    return class_folders(tmp_path / "web", 8)


@pytest.fixture
def review(tmp_path: Path, photo: Photo) -> Review:
    return Review(tmp_path / "review", photo)


def added(prepared: Prepared) -> dict[str, str]:
    """Return the labels of the pictures that come from the review."""
    return {picture.path: picture.label for picture in prepared.pictures if picture.path.startswith("review/")}


def split_of(prepared: Prepared, path: str) -> str:
    return next(picture.split for picture in prepared.pictures if picture.path == path)


def test_accepted_and_corrected_labels_are_taken_and_nothing_else(web: Path, review: Review) -> None:
    for seed, decision in ((100, "accept"), (101, "dog"), (102, "reject"), (104, ""), (106, "other")):
        review.add(seed, decision)
    prepared = prepare([web], feedback=[review.folder])
    assert added(prepared) == {"review/0.jpg": "cat", "review/1.jpg": "dog"}
    assert len(prepared.pictures) == 18
    assert prepared.feedback == ["review/0.jpg", "review/1.jpg"]
    assert prepared.notes == [
        f"Feedback: 2 accepted pictures (Cat 1, Dog 1) from {review.folder}/review.csv. "
        "Left out: not decided 1, other 1, rejected 1."
    ]


def test_a_label_that_a_user_gave_as_other_is_left_out(web: Path, review: Review) -> None:
    review.add(100, "accept", label="other")
    assert added(prepare([web], feedback=[review.folder])) == {}


def test_the_manifest_names_the_classes_as_the_folders_do(web: Path, review: Review) -> None:
    for seed in range(100, 140, 2):
        review.add(seed, "accept")
    assert prepare([web], feedback=[review.folder]).names == {"cat": "Cat", "dog": "Dog"}


def test_a_label_that_is_no_class_is_refused(web: Path, review: Review) -> None:
    review.add(100, "accept")
    review.add(102, "dgo")
    with pytest.raises(UserError, match=r"review\.csv, line 3: dgo is not a class of the pictures \(cat, dog\)\.$"):
        prepare([web], feedback=[review.folder])


def test_a_picture_that_was_changed_after_the_review_is_refused(
    tmp_path: Path, web: Path, review: Review, photo: Photo, invoke: Invoke
) -> None:
    path = review.add(100, "accept")
    photo(102).save(path)
    with pytest.raises(UserError, match=r"line 2: .*0\.jpg is not the picture that was reviewed: its sha256 is"):
        invoke("prepare", web, "--feedback", review.folder, "--out", tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_a_picture_that_is_gone_is_refused(web: Path, review: Review) -> None:
    review.add(100, "accept").unlink()
    with pytest.raises(UserError, match=r"line 2: there is no .*0\.jpg\. Restore it"):
        prepare([web], feedback=[review.folder])


def test_a_changed_picture_that_was_rejected_is_no_matter(web: Path, review: Review) -> None:
    review.add(100, "reject").unlink()
    assert added(prepare([web], feedback=[review.folder])) == {}


def test_two_labels_of_one_picture_are_refused(web: Path, review: Review) -> None:
    review.add(100, "accept")
    review.add(100, "dog")
    with pytest.raises(UserError, match=r"line 3: the picture is accepted as dog, but in .*line 2 as cat\. Reject one"):
        prepare([web], feedback=[review.folder])


def test_a_picture_that_was_accepted_twice_is_taken_once(web: Path, review: Review) -> None:
    review.add(100, "accept")
    review.add(100, "cat")
    assert added(prepare([web], feedback=[review.folder])) == {"review/0.jpg": "cat"}


def test_a_near_duplicate_of_an_evaluation_only_picture_is_never_trained_on(
    tmp_path: Path, web: Path, review: Review, photo: Photo
) -> None:
    for offset, label in enumerate(("Cat", "Dog")):
        (tmp_path / "photos" / label).mkdir(parents=True)
        photo(300 + offset, label, (320, 240)).save(tmp_path / "photos" / label / "1.jpg", quality=95)
    review.add(300, "accept")
    review.add(302, "accept")
    prepared = prepare([web], [tmp_path / "photos"], (1, 0, 0), feedback=[review.folder])
    assert split_of(prepared, "review/0.jpg") == "test"
    assert split_of(prepared, "review/1.jpg") == "train"


def test_a_near_duplicate_of_a_tested_picture_stays_on_its_side(web: Path, review: Review) -> None:
    tested = {hashlib.sha256((web / "Cat" / "3.jpg").read_bytes()).hexdigest(): "test"}
    review.add(6, "accept", size=(320, 240))
    prepared = prepare([web], ratios=(1, 0, 0), previous=tested, feedback=[review.folder])
    assert split_of(prepared, "review/0.jpg") == "test"


def test_in_a_split_of_the_users_own_it_is_trained_on_unless_it_is_like_a_tested_one(
    tmp_path: Path, review: Review, class_folders: Folders
) -> None:
    sides = {side: [class_folders(tmp_path / side, 3, 20 * number)] for number, side in enumerate(("train", "test"))}
    review.add(100, "accept")
    review.add(40, "accept", size=(320, 240))  # a larger copy of test/Cat/20.jpg
    prepared = prepare([], own_split=sides, feedback=[review.folder])
    assert split_of(prepared, "review/0.jpg") != "test"
    assert [row.path for row in prepared.quarantine] == ["review/1.jpg"]


def test_a_picture_that_lies_in_its_class_folder_is_there_once(web: Path, review: Review) -> None:
    review.add(100, "accept").rename(web / "Cat" / "new.jpg")
    review.write([dataclasses.replace(review.rows[0], picture="../web/Cat/new.jpg")])
    prepared = prepare([web], feedback=[review.folder])
    assert len(prepared.pictures) == 17


def test_a_picture_that_lies_in_another_class_folder_is_refused(web: Path, review: Review) -> None:
    review.add(100, "accept").rename(web / "Dog" / "new.jpg")
    review.write([dataclasses.replace(review.rows[0], picture="../web/Dog/new.jpg")])
    with pytest.raises(UserError, match=r"is accepted as Cat, but its class folder is dog"):
        prepare([web], feedback=[review.folder])


def test_a_spreadsheets_semicolons_and_capitals_are_read(web: Path, review: Review) -> None:
    review.add(100, "ACCEPT")
    path = review.folder / review_csv.NAME
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b",", b";").replace(b"\n", b"\r\n"))
    assert added(prepare([web], feedback=[review.folder])) == {"review/0.jpg": "cat"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "line 1: the column id is missing"),
        (b"path,label\n1.jpg,cat\n", "line 1: the column id is missing"),
        (b"\xff\xfe", "not text in UTF-8"),
        (b"x" * 200_000, "field larger than field limit"),
    ],
)
def test_a_table_that_is_none_is_one_sentence(web: Path, review: Review, text: bytes, why: str) -> None:
    (review.folder / review_csv.NAME).write_bytes(text)
    with pytest.raises(UserError, match=why):
        prepare([web], feedback=[review.folder])


def test_a_review_among_the_class_folders_is_refused(tmp_path: Path, web: Path, review: Review, invoke: Invoke) -> None:
    review.add(100, "accept")
    review.folder.rename(web / "review")
    with pytest.raises(UserError, match=r"review is inside .*web, whose folders are taken as classes\. Move it"):
        invoke("prepare", web, "--feedback", web / "review", "--out", tmp_path / "data")


def test_a_folder_without_a_review_is_one_sentence(web: Path, review: Review) -> None:
    with pytest.raises(UserError, match=r"There is no .*review\.csv\. Make it by: catsdogs feedback review PLACE"):
        prepare([web], feedback=[review.folder])


def test_the_same_command_decodes_nothing_again_and_writes_the_same_manifest(
    tmp_path: Path, web: Path, review: Review, invoke: Invoke
) -> None:
    review.add(100, "accept")
    command = ("prepare", web, "--feedback", review.folder, "--out", tmp_path / "data", "--no-contact")
    assert "17 of 17 files had to be decoded" in invoke(*command)
    before = (tmp_path / "data" / "manifest.csv").read_bytes()
    assert "0 of 17 files had to be decoded" in invoke(*command)
    assert (tmp_path / "data" / "manifest.csv").read_bytes() == before
    assert json.loads((tmp_path / "data" / "summary.json").read_bytes())["feedback"] == ["review/0.jpg"]


@pytest.fixture(scope="module")
def aws() -> Iterator[Aws]:
    with serve_aws() as made:
        made.put("/store")
        yield made


@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_from_a_users_label_to_the_manifest(
    tmp_path: Path, invoke: Invoke, kind: str, aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Photographs of this repository: 12 are there already, and 4 come from users."""
    samples = {label: sorted((SAMPLES / label).glob("*.jpg")) for label in ("cat", "dog")}
    for label, paths in samples.items():
        (tmp_path / "pictures" / label).mkdir(parents=True)
        for path in paths[:6]:
            shutil.copy(path, tmp_path / "pictures" / label)
    place = tmp_path / "feedback"
    give(place, 1, samples["cat"][6].read_bytes(), label="cat")  # right
    give(place, 2, samples["cat"][7].read_bytes(), label="dog")  # wrong, and corrected
    give(place, 3, samples["dog"][6].read_bytes(), label="dog")  # rejected
    give(place, 4, samples["dog"][7].read_bytes(), label="dog")  # not decided
    name = str(place)
    if kind == "bucket":
        for path in place.rglob("*.*"):
            aws.put(f"/store/feedback/{path.relative_to(place)}", path.read_bytes())
        shutil.rmtree(place)
        name = "s3://store/feedback"
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", aws.url)
    with reader(aws) as (access, secret):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", access)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
        invoke("feedback", "review", name, "--out", tmp_path / "review")
    decisions = {id_of(1): "accept", id_of(2): "cat", id_of(3): "reject"}
    table = tmp_path / "review" / "review.csv"
    rows = [row for _, row in review_csv.parse(table.read_bytes())]
    rows = [dataclasses.replace(row, decision=decisions.get(row.id, "")) for row in rows]
    table.write_bytes(review_csv.text_of(rows))
    output = invoke(
        "prepare", tmp_path / "pictures", "--feedback", tmp_path / "review", "--out", tmp_path / "data", "--no-contact"
    )
    assert "2 accepted pictures (cat 2)" in output
    text = (tmp_path / "data" / "manifest.csv").read_text()
    manifest = {row["sha256"]: row for row in csv.DictReader(io.StringIO(text, newline=""))}
    assert len(manifest) == 14
    users = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (*samples["cat"][6:], *samples["dog"][6:])]
    assert [manifest[sha256]["label"] if sha256 in manifest else None for sha256 in users] == ["cat", "cat", None, None]
    assert {manifest[sha256]["path"].split("/")[0] for sha256 in users[:2]} == {
        {"folder": "feedback", "bucket": "review"}[kind]
    }
