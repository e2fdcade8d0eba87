"""Datasets of torchvision as class folders."""

import hashlib
import io
import pickle
import stat
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from handler.files import UserError
from training.data import manifest, sources

Invoke = Callable[..., str]


Photo = Callable[..., Image.Image]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture
def members(photo: Photo) -> dict[str, bytes]:
    """Make a small zip like Microsoft's: pictures, a broken one, and files that are no pictures."""
    pictures = {
        f"PetImages/{label}/{number}.jpg": jpeg(photo(2 * number + offset, label))
        for offset, label in enumerate(("Cat", "Dog"))
        for number in range(3)
    }
    return {
        **pictures,
        "PetImages/Cat/666.jpg": b"",
        "PetImages/Dog/Thumbs.db": b"thumbnails",
        "readme[1].txt": b"Read me.",
        "../../PetImages/Cat/7.jpg": b"outside",
        "/PetImages/Cat/8.jpg": b"outside",
        "PetImages/Cat/../../9.jpg": b"outside",
    }


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        for name, data in members.items():
            packed.writestr(name, data)
        link = zipfile.ZipInfo("PetImages/Cat/10.jpg")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        packed.writestr(link, "/etc/passwd")
    return buffer.getvalue()


@pytest.fixture
def archive(tmp_path: Path, members: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "kagglecatsanddogs_small.zip"
    path.write_bytes(zipped(members))
    monkeypatch.setattr(sources, "MICROSOFT_ZIPS", {sha256(path.read_bytes()): "kagglecatsanddogs_small"})
    return path


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def tarred(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as packed:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            packed.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture
def oxford(tmp_path: Path, photo: Photo, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for the two archives where torchvision would put them: 37 breeds of two pictures each."""
    from torchvision.datasets import OxfordIIITPet

    breeds = ["Abyssinian", "american_pit_bull_terrier", *(f"breed_{number}" for number in range(35))]
    images, lists = {}, {"trainval": "", "test": ""}
    for label, breed in enumerate(breeds, start=1):
        for number, part in enumerate(lists, start=1):
            images[f"images/{breed}_{number}.jpg"] = jpeg(photo(100 * label + number))
            lists[part] += f"{breed}_{number} {label} 1 1\n"
    images["images/Abyssinian_101.mat"] = b"no picture, and in no list"
    folder = tmp_path / "downloads" / "torchvision" / "oxford-iiit-pet"
    archives = [
        tarred(folder / "images.tar.gz", images),
        tarred(
            folder / "annotations.tar.gz", {f"annotations/{part}.txt": text.encode() for part, text in lists.items()}
        ),
    ]
    # An address that nobody answers at: what is there already need not be downloaded.
    resources = tuple((f"http://127.0.0.1:9/{path.name}", md5(path)) for path in archives)
    monkeypatch.setattr(OxfordIIITPet, "_RESOURCES", resources)
    return tmp_path / "downloads"


def test_oxford_iiit_pet_has_37_class_folders(oxford: Path, tmp_path: Path, invoke: Invoke) -> None:
    arguments = ("prepare", "oxford-iiit-pet", "--download-to", oxford, "--out", tmp_path / "data", "--no-contact")
    invoke(*arguments)
    written = manifest.read(tmp_path / "data")
    assert len(written.classes) == 37
    assert len(written.pictures) == 74
    assert {"abyssinian", "american_pit_bull_terrier"} < set(written.classes)
    assert {picture.path for picture in written.pictures if picture.label == "abyssinian"} == {
        "images/Abyssinian_1.jpg",
        "images/Abyssinian_2.jpg",
    }
    assert "0 of 74 files had to be decoded" in invoke(*arguments)


def test_what_torchvision_left_half_unpacked_is_unpacked_again(oxford: Path) -> None:
    for name in ("images", "annotations"):
        (oxford / "torchvision" / "oxford-iiit-pet" / name).mkdir()
    (folder,) = sources.find([Path("oxford-iiit-pet")], oxford)
    assert len([name for name in files(folder) if name.endswith(".jpg")]) == 74


def test_a_download_of_torchvisions_that_fails_is_told_in_a_sentence(oxford: Path) -> None:
    (oxford / "torchvision" / "oxford-iiit-pet" / "images.tar.gz").write_bytes(b"cut off")
    with pytest.raises(UserError, match=r"torchvision cannot download the dataset: .*refused.*Give the same command"):
        sources.find([Path("oxford-iiit-pet")], oxford)
    assert not (oxford / "oxford-iiit-pet-original").exists()


def test_cifar10_becomes_png_files_in_class_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, invoke: Invoke
) -> None:
    """A stand-in for the archive where torchvision would put it: six batches of ten pictures."""
    from torchvision.datasets import CIFAR10

    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    rng = np.random.default_rng(0)
    data = {
        name: rng.integers(0, 256, (10, 3072), dtype=np.uint8)
        for name in [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    }
    packed = {name: pickle.dumps({"data": rows, "labels": list(range(10))}) for name, rows in data.items()}
    packed["batches.meta"] = pickle.dumps({"label_names": names})
    sums = {name: hashlib.md5(batch, usedforsecurity=False).hexdigest() for name, batch in packed.items()}
    downloads = tmp_path / "downloads"
    archive = tarred(
        downloads / "torchvision" / "cifar-10-python.tar.gz",
        {f"cifar-10-batches-py/{name}": batch for name, batch in packed.items()},
    )
    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:9/cifar-10-python.tar.gz")
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5(archive))
    monkeypatch.setattr(CIFAR10, "train_list", [[name, sums[name]] for name in packed if name.startswith("data")])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": sums["batches.meta"]})
    invoke("prepare", "cifar10", "--download-to", downloads, "--out", tmp_path / "data", "--no-contact")
    written = manifest.read(tmp_path / "data")
    assert written.classes == names
    assert [picture.label for picture in written.pictures].count("frog") == 6
    with Image.open(downloads / "cifar10" / "horse" / "test-00007.png") as image:
        pixels = np.asarray(image)
    assert np.array_equal(pixels, data["test_batch"][7].reshape(3, 32, 32).transpose(1, 2, 0))


def test_without_torchvision_the_requirements_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(UserError, match=r"needs torchvision, which is not installed: .* -r requirements/train\.txt"):
        sources.find([Path("cifar10")], tmp_path / "downloads")
    assert files(tmp_path) == []
