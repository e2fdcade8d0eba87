"""Generated folders in the layouts of Oxford-IIIT Pet and CIFAR10. The pictures are drawn, not the datasets' own."""

import io
import pickle
import struct
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

# The 37 breeds as the files are named; those of cats begin with a capital.
CATS = (
    *("Abyssinian", "Bengal", "Birman", "Bombay", "British_Shorthair", "Egyptian_Mau"),
    *("Maine_Coon", "Persian", "Ragdoll", "Russian_Blue", "Siamese", "Sphynx"),
)
DOGS = (
    *("american_bulldog", "american_pit_bull_terrier", "basset_hound", "beagle", "boxer", "chihuahua"),
    *("english_cocker_spaniel", "english_setter", "german_shorthaired", "great_pyrenees", "havanese"),
    *("japanese_chin", "keeshond", "leonberger", "miniature_pinscher", "newfoundland", "pomeranian", "pug"),
    *("saint_bernard", "samoyed", "scottish_terrier", "shiba_inu", "staffordshire_bull_terrier"),
    *("wheaten_terrier", "yorkshire_terrier"),
)
BREEDS = CATS + DOGS
OBJECTS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
TRAIN_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))

Pixels = npt.NDArray[np.uint8]


def draw(label: int, seed: int, size: tuple[int, int], labels: int) -> Image.Image:
    """Draw smooth random light in the colour of a class, before which a square stands at the class's place."""
    rng = np.random.default_rng((label, seed))
    coarse = Image.fromarray(rng.uniform(40, 255, (6, 6)).astype(np.uint8))
    light = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC), dtype=np.float32)
    angle = 2 * np.pi * label / labels
    tint = np.array([0.6 + 0.4 * np.cos(angle + shift) for shift in (0, 2.1, 4.2)], dtype=np.float32)
    pixels = light[..., None] * tint
    x, y = (round(side * (0.4 + 0.3 * turn)) for side, turn in zip(size, (np.cos(angle), np.sin(angle)), strict=True))
    pixels[y : y + size[1] // 5, x : x + size[0] // 5] = 255 * tint[::-1]
    return Image.fromarray(pixels.astype(np.uint8))


def write_pets(folder: Path, train: int = 3, test: int = 2, breeds: Sequence[str] = BREEDS) -> Path:
    """Write images/ and annotations/ with so many pictures of each breed for each side."""
    (folder / "images").mkdir(parents=True)
    (folder / "annotations").mkdir()
    lists: dict[str, list[str]] = {"trainval": [], "test": []}
    for number, breed in enumerate(breeds, start=1):
        species, within = (1, CATS) if breed in CATS else (2, DOGS)
        for picture in range(1, train + test + 1):
            name = f"{breed}_{picture}"
            draw(number, picture, (96, 72), len(breeds)).save(folder / "images" / f"{name}.jpg", quality=90)
            line = f"{name} {number} {species} {within.index(breed) + 1}"
            lists["trainval" if picture <= train else "test"].append(line)
    for side, lines in lists.items():
        (folder / "annotations" / f"{side}.txt").write_text("\n".join(lines) + "\n")
    header = ["#Image CLASS-ID SPECIES BREED ID", "#ID: 1:37 Class ids"]
    every = header + lists["trainval"] + lists["test"]
    (folder / "annotations" / "list.txt").write_text("\n".join(every) + "\n")
    # images/ has pictures that no list names, and files of Matlab's.
    draw(0, 999, (96, 72), len(breeds)).save(folder / "images" / f"{breeds[0]}_999.jpg")
    (folder / "images" / f"{breeds[0]}_100.mat").write_bytes(b"MATLAB 5.0 MAT-file")
    return folder


def cifar_rows(side: str, batch: int, per_class: int) -> tuple[list[int], Pixels]:
    """Return labels and rows of 3,072 bytes: red, green and blue planes of 32 x 32 pixels."""
    labels = [label for _ in range(per_class) for label in range(len(OBJECTS))]
    first = 10_000 * batch + (500_000 if side == "test" else 0)
    pictures = [draw(label, first + number, (32, 32), len(OBJECTS)) for number, label in enumerate(labels)]
    return labels, np.stack([np.asarray(picture).transpose(2, 0, 1).reshape(-1) for picture in pictures])


def python_2_pickle(labels: Sequence[int], rows: Pixels) -> bytes:
    """Return a batch byte for byte as Python 2.7 and its numpy wrote CIFAR10's: protocol 2, with byte strings."""

    def text(word: str) -> bytes:
        return b"U" + bytes([len(word)]) + word.encode()

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    dtype = (
        b"cnumpy\ndtype\n" + text("u1") + b"K\x00K\x01\x87R(K\x03" + text("|") + b"NNN" + 2 * number(-1) + b"K\x00tb"
    )
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text("b") + b"\x87R"
    data = rows.tobytes()
    state = b"(K\x01" + number(len(rows)) + number(rows.shape[1]) + b"\x86" + dtype + b"\x89"
    state += b"T" + struct.pack("<i", len(data)) + data + b"tb"
    listed = b"](" + b"".join(number(label) for label in labels) + b"e"
    return b"\x80\x02}(" + text("labels") + listed + text("data") + array + state + b"u."


def cifar_batches(per_class: int = 2, binary: bool = False) -> dict[str, bytes]:
    """Return the files of CIFAR10: five batches to train on and one to test, and the names of the classes."""
    batches = {}
    for number, name in enumerate((*TRAIN_BATCHES, "test_batch")):
        labels, rows = cifar_rows("test" if name == "test_batch" else "train", number, per_class)
        if binary:
            batches[f"{name}.bin"] = np.column_stack([np.array(labels, dtype=np.uint8), rows]).tobytes()
        else:
            batches[name] = python_2_pickle(labels, rows)
    if binary:
        batches["batches.meta.txt"] = "\n".join([*OBJECTS, ""]).encode()
    else:
        batches["batches.meta"] = pickle.dumps({"label_names": list(OBJECTS), "num_vis": 3072}, protocol=2)
    return batches


def write_cifar(folder: Path, per_class: int = 2, binary: bool = False) -> Path:
    """Write the batches into cifar-10-batches-py or -bin in a folder."""
    place = folder / f"cifar-10-batches-{'bin' if binary else 'py'}"
    place.mkdir(parents=True)
    for name, data in cifar_batches(per_class, binary).items():
        (place / name).write_bytes(data)
    return folder


def write_cifar_archive(folder: Path, per_class: int = 2) -> Path:
    """Write cifar-10-python.tar.gz."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / "cifar-10-python.tar.gz", "w:gz") as packed:
        for name, data in cifar_batches(per_class).items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(data)
            packed.addfile(member, io.BytesIO(data))
    return folder / "cifar-10-python.tar.gz"
