"""Named public datasets, and zips, as trees of class folders: downloaded, checked, unpacked, once.

A tree is made beside its place and renamed, so it is whole or not there.
"""

import re
import shutil
import stat
import tarfile
import urllib.error
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from handler.files import UserError, sha256_file
from training.data.download import Progress, fetch
from training.data.sets import cifar
from training.data.whole import whole
from training.data.zips import ZIP_ERRORS, check_limits, unpack_zip

MICROSOFT_URL = (
    "https://download.microsoft.com/download/3/E/1/3E1C3F21-ECDB-4869-8368-6DEBA77B919F/kagglecatsanddogs_5340.zip"
)
MICROSOFT_SIZE = 824_887_076
MICROSOFT_SHA256 = "b7974bd00a84a99921f36ee4403f089853777b5ae8d151c76a86e64900334af9"
# Sources: for 5340, size and sha256 in huggingface/datasets, datasets/cats_vs_dogs/dataset_infos.json; for 3367a, which
# Microsoft no longer gives out, tensorflow/datasets, tensorflow_datasets/url_checksums/cats_vs_dogs.txt.
MICROSOFT_ZIPS = {
    MICROSOFT_SHA256: "kagglecatsanddogs_5340",
    "f9553e426bd725354ed3a27e3c6920caadb55c835d1ebd880d2e56d3f1fbb22b": "kagglecatsanddogs_3367a",
}
# The names that TensorFlow Datasets takes too; beside them lie a readme and thumbnail databases.
MICROSOFT_MEMBER = re.compile(r"PetImages[\\/](Cat|Dog)[\\/](\d+\.jpg)")


def find(pictures: Sequence[Path], download_to: Path, progress: Progress = lambda done, total: None) -> list[Path]:
    """Return the folder for each thing that a user may name: a folder, a zip, CIFAR10's archive, or one of `DATASETS`.

    Args:
        download_to: folder for what is downloaded and unpacked.
        progress: called with bytes done and bytes in all of a download.

    Raises:
        UserError: a zip is damaged or another one, a download fails, or torchvision is needed and missing.
    """
    folders = []
    for path in pictures:
        if not path.exists() and str(path) in DATASETS:
            folders.append(DATASETS[str(path)](download_to, progress))
        elif path.exists():
            folder = unpack(path, download_to) if path.is_file() else path
            batches = cifar.batches_in(folder)
            folders.append(cifar.unpack_folder(batches, download_to) if batches else folder)
        else:
            raise UserError(
                f"{path} is not a folder. Name a folder that holds one folder per class, a zip of it, "
                f"or one of the datasets {', '.join(DATASETS)}."
            )
    return folders


def microsoft(download_to: Path, progress: Progress) -> Path:
    """Microsoft Research's cats and dogs (Asirra), 25,000 photographs."""
    tree = download_to / MICROSOFT_ZIPS[MICROSOFT_SHA256]
    archive = download_to / f"{tree.name}.zip"
    if not tree.exists():
        if not archive.exists():
            fetch(MICROSOFT_URL, archive, MICROSOFT_SIZE, MICROSOFT_SHA256, progress)
        return unpack_microsoft(archive, download_to)
    return tree / "PetImages"


def unpack(archive: Path, download_to: Path) -> Path:
    """Unpack a zip of class folders, or one of CIFAR10's archives.

    Returns:
        The folder that holds them.
    """
    if archive.suffix.lower() in (".csv", ".tsv", ".txt"):
        raise UserError(f"{archive} is neither a folder nor a zip file. Name a file of labels by --labels.")
    if cifar.is_archive(archive):
        return cifar.unpack_archive(archive, download_to)
    if not zipfile.is_zipfile(archive):
        raise UserError(
            f"{archive} is neither a folder nor a whole zip file. Download it again, or unpack it yourself and name "
            "the folder."
        )
    # Microsoft's is known by its checksum, and has a readme and thumbnail databases among the pictures.
    if archive.stem in MICROSOFT_ZIPS.values() or sha256_file(archive) in MICROSOFT_ZIPS:
        return unpack_microsoft(archive, download_to)
    return unpack_zip(archive, download_to)


def unpack_microsoft(archive: Path, download_to: Path) -> Path:
    """Unpacks the pictures of Microsoft's zip, and nothing else in it.

    Returns:
        The folder with Cat and Dog.
    """
    again = "Download it again, or unpack it yourself and name the folder."
    try:
        with zipfile.ZipFile(archive) as packed:
            members = {
                match.groups(): member
                for member in packed.infolist()
                if (match := MICROSOFT_MEMBER.fullmatch(member.filename))
                and stat.S_IFMT(member.external_attr >> 16) in (0, stat.S_IFREG)
            }
            if {label for label, _ in members} != {"Cat", "Dog"}:
                raise UserError(
                    f"{archive} is not Microsoft's cats-vs-dogs: it holds no PetImages/Cat/*.jpg and "
                    "PetImages/Dog/*.jpg. Unpack it yourself and name its folder."
                )
            digest = sha256_file(archive)
            if digest not in MICROSOFT_ZIPS:
                raise UserError(f"{archive} is damaged or was changed: its sha256 is {digest}. {again}")
            check_limits(archive, list(members.values()), again)
            with whole(download_to / MICROSOFT_ZIPS[digest]) as tree:
                for label in ("Cat", "Dog"):
                    (tree / "PetImages" / label).mkdir(parents=True)
                for (label, name), member in members.items():
                    (tree / "PetImages" / label / name).write_bytes(packed.read(member))
    except ZIP_ERRORS as error:
        raise UserError(f"{archive} is damaged: {error}. {again}") from error
    return download_to / MICROSOFT_ZIPS[digest] / "PetImages"


def oxford_iiit_pet(download_to: Path, progress: Progress) -> Path:
    """Oxford-IIIT Pet, 37 breeds, in its own layout."""
    tree = download_to / "oxford-iiit-pet-original"
    if tree.exists():
        return tree
    store = download_to / "torchvision"
    raw = store / "oxford-iiit-pet"
    # torchvision takes half-unpacked folders for whole ones; from the archives, which it checks, it makes them anew.
    for folder in ("images", "annotations"):
        shutil.rmtree(raw / folder, ignore_errors=True)
    with _torchvision() as datasets:
        datasets.OxfordIIITPet(store, download=True)
    with whole(tree) as new:
        for folder in ("images", "annotations"):
            (raw / folder).rename(new / folder)
    return tree


def cifar10(download_to: Path, progress: Progress) -> Path:
    """CIFAR10, 60,000 pictures of 32x32."""
    tree = download_to / "cifar10"
    if tree.exists():
        return tree
    store = download_to / "torchvision"
    with _torchvision() as datasets:
        # Its class would unpickle the batches as well.
        dataset = datasets.CIFAR10
        datasets.utils.download_url(dataset.url, str(store), dataset.filename, dataset.tgz_md5)
    return cifar.unpack_archive(store / dataset.filename, download_to, tree.name)


DATASETS: dict[str, Callable[[Path, Progress], Path]] = {
    "microsoft-cats-vs-dogs": microsoft,
    "oxford-iiit-pet": oxford_iiit_pet,
    "cifar10": cifar10,
}


@contextmanager
def _torchvision() -> Iterator[ModuleType]:
    """torchvision.datasets; what goes wrong in its downloads becomes a sentence."""
    try:
        from torchvision import datasets
    except ModuleNotFoundError as error:
        raise UserError(
            f"This dataset needs {error.name}, which is not installed: "
            "pip install --require-hashes -r requirements/train.txt"
        ) from error
    try:
        yield datasets
    except (RuntimeError, urllib.error.URLError, tarfile.TarError, zlib.error, EOFError) as error:
        raise UserError(f"torchvision cannot download the dataset: {error}. Give the same command again.") from error
