"""`catsdogs audit`: suspicious pictures of each kind with contact sheets, and the effect of corrections."""

import csv
import hashlib
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from docs.data_audit import page as page_of
from handler.files import UserError
from tests.zoo import ROOT
from training.audit.agreement import agreement
from training.audit.candidates import BOTH, DUPLICATE, LABEL, NEITHER, OUTLIER, Candidate, find_candidates
from training.audit.effect import both_ways, ceilings, count_corrections, count_duplicates
from training.audit.networks import ANIMALS, animal_shares
from training.audit.outliers import similarity
from training.audit.sheets import write_sheets
from training.data.corrections import Correction, Corrections, as_csv, read_corrections
from training.data.manifest import Picture
from training.learning.crossfit import check_groups, cross_fitted

Photo = Callable[..., Image.Image]
Invoke = Callable[..., str]
RELEASE = ROOT / "model-store" / "catsdogs"


def sha(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def picture(number: int, label: str = "cat", split: str = "test", group: int | None = None) -> Picture:
    return Picture(
        f"web/{label}/{number}.jpg", label, split, sha(number), sha(number if group is None else group), 9, 9
    )


def corrected(*rows: Correction) -> Corrections:
    return Corrections("corrections.csv", "0" * 64, {row.sha256: row for row in rows})


def test_a_wrong_label_gets_a_small_probability() -> None:
    random = np.random.default_rng(0)
    truth = np.arange(200) % 2
    features = (random.normal(size=(200, 8)) + 3 * (2 * truth[:, None] - 1)).astype(np.float16)
    labels = truth.copy()
    labels[[4, 7]] = 1 - labels[[4, 7]]
    rows = cross_fitted(features[:, None], labels, [str(number) for number in range(200)])[:, 0]
    own = rows[np.arange(200), labels]
    assert rows.sum(axis=1) == pytest.approx(1)
    assert set(np.argsort(own)[:2]) == {4, 7}
    assert own[[4, 7]].max() < 0.3


def test_a_picture_is_not_judged_by_its_near_duplicates() -> None:
    """Random features: a copy of a picture with the same label is the only thing that could tell its label."""
    random = np.random.default_rng(0)
    features = np.repeat(random.normal(size=(60, 200)), 2, axis=0).astype(np.float16)
    labels = np.repeat(np.arange(60) % 2, 2)
    apart = cross_fitted(features[:, None], labels, [str(number) for number in range(120)])
    together = cross_fitted(features[:, None], labels, [str(number // 2) for number in range(120)])
    assert (apart[:, 0].argmax(axis=1) == labels).mean() > 0.9, "leaks over the folds"
    assert (together[:, 0].argmax(axis=1) == labels).mean() < 0.7


def test_agreement_is_counted_by_split_and_source() -> None:
    pictures = [picture(0, "cat", "train"), picture(1, "dog", "train"), picture(2), picture(3, "dog")]
    pictures.append(replace(picture(4), path="photos/cat/4.jpg"))
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.1, 0.9], [1.0, 0.0]])
    found = agreement(pictures, ["cat", "dog"], probabilities)
    assert {name: (part.right, part.count) for name, part in found.items()} == {
        "train": (1, 2), "test, photos": (1, 1), "test, web": (1, 2)
    }  # fmt: skip


def test_too_few_pictures_are_refused() -> None:
    with pytest.raises(UserError, match="The class cat has 4 pictures that are not near-duplicates"):
        check_groups(["cat", "dog"] * 6, [str(n // 3) for n in range(12)])
    with pytest.raises(UserError, match="at least two classes are needed"):
        check_groups(["cat"] * 6, [str(n) for n in range(6)])


def test_the_shares_of_animals_are_those_of_imagenets_classes() -> None:
    head = nn.Linear(1000, 1000)
    with torch.no_grad():
        head.weight.copy_(20 * torch.eye(1000))
        head.bias.zero_()
    features = np.zeros((3, 1000), np.float16)
    features[0, 282] = features[1, 200] = features[2, 817] = 1  # tiger cat, a terrier, sports car
    shares = animal_shares(features, head, ["cat", "dog"])
    assert shares is not None
    assert shares[0] == pytest.approx([1, 0], abs=0.01)
    assert shares[1] == pytest.approx([0, 1], abs=0.01)
    assert shares[2].sum() < 0.01
    assert animal_shares(features, head, ["rose", "tulip"]) is None
    assert {label: len(numbers) for label, numbers in ANIMALS.items()} == {"cat": 5, "dog": 118}


def test_candidates_are_what_each_network_finds_suspicious() -> None:
    pictures = [picture(0), picture(1), picture(2, "dog"), picture(3, "dog", group=1), picture(4)]
    first = np.array([[0.1, 0.9], [0.9, 0.1], [0.1, 0.9], [0.2, 0.8], [0.2, 0.8]])
    second = np.array([[0.2, 0.8], [0.9, 0.1], [0.1, 0.9], [0.1, 0.9], [0.6, 0.4]])
    seen = np.array([[0.1, 0.8], [0.9, 0.01], [0.1, 0.8], [0.001, 0.001], [0.9, 0.01]])
    likeness = [np.array([0.9, 0.8, 0.2, 0.7, 0.6])] * 2
    found = find_candidates(pictures, ["cat", "dog"], [first, second], [seen, seen], likeness, 10)
    paths = {kind: [candidate.path for candidate in some] for kind, some in found.items()}
    assert paths[LABEL] == ["web/cat/0.jpg"], "the second network agrees with the label of 4"
    assert paths[NEITHER] == ["web/dog/3.jpg"]
    assert paths[BOTH] == ["web/cat/0.jpg", "web/dog/2.jpg"]
    assert paths[OUTLIER][:2] == ["web/dog/2.jpg", "web/cat/4.jpg"]
    assert paths[DUPLICATE] == ["web/cat/1.jpg", "web/dog/3.jpg"]
    assert [candidate.number for candidate in found[BOTH]] == [1, 2]
    assert len(find_candidates(pictures, ["cat", "dog"], [first], [seen], likeness, 1)[BOTH]) == 1
    assert set(find_candidates(pictures, ["cat", "dog"], [first], [], likeness, 1)) == {LABEL, OUTLIER, DUPLICATE}


def test_an_outlier_is_unlike_all_other_pictures() -> None:
    random = np.random.default_rng(0)
    features = (np.repeat(np.eye(2, 16), 30, axis=0) + 0.1 * random.normal(size=(60, 16))).astype(np.float16)
    features[17] = -np.eye(16)[5]
    assert similarity(features).argmin() == 17
    assert similarity(features).shape == (60,)


def test_a_sheet_shows_each_candidate(tmp_path: Path, photo: Photo) -> None:
    (tmp_path / "web" / "cat").mkdir(parents=True)
    for number in range(50):
        photo(number).save(tmp_path / "web" / "cat" / f"{number}.jpg")
    (tmp_path / "web" / "cat" / "3.jpg").write_bytes(b"changed meanwhile")
    some = [Candidate(n + 1, "both", f"web/cat/{n}.jpg", "cat", "test", sha(n), 0.5) for n in range(50)]
    sheets = write_sheets(tmp_path, some, tmp_path / "out")
    assert [path.name for path in sheets] == ["both-01.png", "both-02.png"]
    sizes = []
    for path in sheets:
        with Image.open(path) as page:
            sizes.append(page.size)
    assert sizes == [(1024, 864), (1024, 144)]


def test_the_effect_is_counted_by_split() -> None:
    pictures = [picture(0), picture(1), picture(2, "dog"), picture(3, "dog", "train"), picture(4, group=0), picture(4)]
    corrections = corrected(
        Correction(sha(0), "label:dog", "wrong label: a dog"),
        Correction(sha(2), "remove", "neither: a car"),
        Correction(sha(3), "remove", "neither: a house"),
        Correction(sha(9), "remove", "both: of another set"),
    )
    assert count_corrections(pictures, corrections) == {
        "neither": {"train": 1, "val": 0, "test": 1},
        "wrong label": {"train": 0, "val": 0, "test": 1},
    }
    assert count_duplicates(pictures)["test"] == {"exact": 2, "near": 2}
    test = ceilings(pictures, corrections)["test"]
    assert test == {"count": 5, "removed": 1, "relabelled": 1, "low": 0.6, "high": 0.8}
    assert set(ceilings(pictures, corrections)) == {"train", "test"}
    again = corrected(Correction(sha(0), "label:cat", "wrong label: a cat"))
    assert count_corrections(pictures, again) == {}, "it has this label already"
    assert ceilings(pictures, again)["test"]["low"] == 1
    both = both_ways(pictures[:3], np.array([1, 0, 0]), ["cat", "dog"], corrections)
    assert both["as_they_are"] is not None
    assert (both["as_they_are"]["right"], both["as_they_are"]["count"]) == (1, 3)
    assert both["corrected"] is not None
    assert (both["corrected"]["right"], both["corrected"]["count"]) == (2, 2)


def test_corrections_may_leave_no_test_picture_of_a_source() -> None:
    corrections = corrected(Correction(sha(2), "remove", "neither: a car"))
    both = both_ways([picture(2, "dog")], np.array([0]), ["cat", "dog"], corrections)
    assert both["as_they_are"] is not None
    assert both["as_they_are"]["count"] == 1
    assert both["corrected"] is None


@pytest.fixture
def prepared(tmp_path: Path, photo: Photo, class_folders: Callable[..., Path], invoke: Invoke) -> Path:
    """Prepared pictures of reddish cats and bluish dogs, one of them in the wrong folder."""
    folder = class_folders(tmp_path / "web", 20)
    photo(999, "Dog").save(folder / "Cat" / "wrong.jpg", quality=90)
    invoke("prepare", folder, "--out", tmp_path / "data", "--no-contact")
    return tmp_path / "data"


def test_the_verb_finds_a_wrong_label(prepared: Path, tmp_path: Path, invoke: Invoke) -> None:
    out = invoke("audit", "--data", prepared, "--out", tmp_path / "audit", "--size", "64", "--limit", "5")
    with (tmp_path / "audit" / "candidates.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows if row["kind"] == LABEL][:1] == ["Cat/wrong.jpg"]
    assert any(row["kind"] == NEITHER for row in rows), "light of one colour is no animal"
    assert (tmp_path / "audit" / "label-01.png").is_file()
    assert "timm:tf_efficientnet_lite0: agrees with" in out
    assert re.search(r"^mean of 2 networks: agrees with \d+\.\d\d % of the labels \(train \d+\.\d\d % \(", out, re.M)
    assert "next: look at" in out


def test_one_network_alone_is_refused(prepared: Path, tmp_path: Path, invoke: Invoke) -> None:
    network = ("--network", "timm:tf_efficientnet_lite0")
    with pytest.raises(UserError, match="Name at least two different networks"):
        invoke("audit", "--data", prepared, "--out", tmp_path / "audit", *network, *network)
    with pytest.raises(UserError, match="name them by --corrections"):
        invoke("audit", "--data", prepared, "--release", RELEASE)


def test_the_verb_writes_the_effect_of_corrections(prepared: Path, tmp_path: Path, invoke: Invoke) -> None:
    wrong = hashlib.sha256((tmp_path / "web" / "Cat" / "wrong.jpg").read_bytes()).hexdigest()
    file = tmp_path / "corrections.csv"
    file.write_bytes(as_csv([Correction(wrong, "label:dog", "wrong label: a dog")]))
    options = ("--data", prepared, "--out", tmp_path / "audit", "--corrections", file)
    out = invoke("audit", *options, "--release", shutil.copytree(RELEASE, tmp_path / "release"))
    assert "int8, all: accuracy on the labels as they are" in out
    assert "Rows that match no picture" not in out
    facts = json.loads((tmp_path / "audit" / "effect.json").read_bytes())
    assert sum(facts["corrections"]["wrong label"].values()) == 1
    assert set(facts["release"]["precisions"]) == {"fp32", "int8"}
    text = page_of(facts)
    assert "| is labelled cat and shows a dog, or the other way round | labelled otherwise |" in text
    assert "Each row of the file matches a picture." in text


def test_the_shipped_corrections_are_as_the_page_says() -> None:
    facts = json.loads((ROOT / "docs" / "data_audit.json").read_bytes())
    corrections = read_corrections(ROOT / "training" / "corrections.csv")
    assert corrections.sha256 == facts["corrections_sha256"]
    assert facts["unmatched"] == 0
    assert {row.reason.partition(":")[0] for row in corrections.rows.values()} == set(facts["corrections"])
    counted = sum(sum(counts.values()) for counts in facts["corrections"].values())
    assert counted >= len(corrections.rows), "a picture may have copies"
    assert page_of(facts) == (ROOT / "docs" / "reference" / "data-audit.md").read_text(), "make docs makes it anew"
