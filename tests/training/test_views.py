import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from handler.preprocess import InputSpec, Resize, decode
from tests.training.train_support import FEW_CORES, draw, draw_manifest
from training.data.loaders import cut, view_box
from training.data.manifest import Manifest, Picture
from training.data.pictures import open_upright
from training.learning import views
from training.learning.views import BOXES, Cache, Views, fill

CPU = torch.device("cpu")
TWO = Views(32, 2, 0.35, "squeeze")


class Counting(nn.Module):
    """The mean of each channel, and how many pictures it was asked about."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        self.asked += len(pixels)
        return pixels.float().mean((1, 2))


class Kill(Exception):
    pass


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return draw_manifest(tmp_path, {"train": 5})


@pytest.fixture
def network() -> Counting:
    return Counting()


def filled(folder: Path, manifest: Manifest, network: nn.Module, kind: Views = TWO, name: str = "means") -> Cache:
    cache = Cache(folder, name, kind)
    fill(cache, network, manifest.root, manifest.pictures, CPU, None, 0)
    return cache


def means(manifest: Manifest, picture: Picture, kind: Views) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.asarray(kind.cut(manifest.root, picture).astype(np.float64).mean((1, 2)))


def test_views_are_the_fixed_crops_of_a_picture(manifest: Manifest) -> None:
    picture = manifest.pictures[0]
    image = open_upright(manifest.root, picture)
    pixels = TWO.cut(manifest.root, picture)
    assert pixels.shape == (2, 32, 32, 3)
    assert pixels.dtype == np.uint8
    for view in (0, 1):
        assert np.array_equal(pixels[view], cut(np.asarray(image), view_box(picture, view, *image.size, 0.35), 32))


@pytest.mark.parametrize("resize", ["squeeze", "crop"])
def test_no_views_mean_the_picture_as_the_server_sees_it(manifest: Manifest, resize: Resize) -> None:
    picture = manifest.pictures[0]
    kind = dataclasses.replace(TWO, count=0, resize=resize)
    wanted = decode((manifest.root / picture.path).read_bytes(), InputSpec(32, kind.resize))
    assert np.array_equal(kind.cut(manifest.root, picture), wanted[None])


@pytest.mark.parametrize("count", [0, 1, 3])
def test_outputs_are_read_in_the_pictures_order(
    tmp_path: Path, manifest: Manifest, network: Counting, count: int
) -> None:
    kind = dataclasses.replace(TWO, count=count)
    cache = filled(tmp_path / "cache", manifest, network, kind)
    pictures = manifest.pictures[::-1]
    outputs = cache.read(pictures)
    assert outputs.shape == (10, max(1, count), 3)
    assert outputs.dtype == np.float16
    for row, picture in zip(outputs, pictures, strict=True):
        np.testing.assert_allclose(row, means(manifest, picture, kind), rtol=1e-3)


def test_a_second_run_computes_nothing(tmp_path: Path, manifest: Manifest, network: Counting) -> None:
    first = filled(tmp_path / "cache", manifest, network).read(manifest.pictures)
    assert network.asked == 20
    told: list[tuple[int, int]] = []
    cache = Cache(tmp_path / "cache", "means", TWO)
    fill(cache, network, manifest.root, manifest.pictures, CPU, None, 0, lambda done, total: told.append((done, total)))
    assert network.asked == 20
    assert told == [(10, 10)]
    assert np.array_equal(cache.read(manifest.pictures), first)


def test_the_work_is_told_from_what_was_there_to_the_end(
    tmp_path: Path, manifest: Manifest, network: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "SHARD", 4)
    told: list[tuple[int, int]] = []
    cache = Cache(tmp_path / "cache", "means", TWO)
    fill(cache, network, manifest.root, manifest.pictures[:4], CPU, None, 0)
    fill(cache, network, manifest.root, manifest.pictures, CPU, None, 0, lambda done, total: told.append((done, total)))
    assert told == [(4, 10), (8, 10), (10, 10)]


def test_a_renamed_picture_is_known_by_its_content(tmp_path: Path, manifest: Manifest, network: Counting) -> None:
    filled(tmp_path / "cache", manifest, network)
    first, *rest = manifest.pictures
    (manifest.root / first.path).rename(manifest.root / "renamed.png")
    renamed = dataclasses.replace(manifest, pictures=[dataclasses.replace(first, path="renamed.png"), *rest])
    filled(tmp_path / "cache", renamed, network)
    assert network.asked == 20


def test_a_changed_picture_is_computed_again_and_alone(tmp_path: Path, manifest: Manifest, network: Counting) -> None:
    filled(tmp_path / "cache", manifest, network)
    first, *rest = manifest.pictures
    draw("dog", 999).save(manifest.root / first.path)
    digest = hashlib.sha256((manifest.root / first.path).read_bytes()).hexdigest()
    changed = dataclasses.replace(manifest, pictures=[dataclasses.replace(first, sha256=digest), *rest])
    cache = filled(tmp_path / "cache", changed, network)
    assert network.asked == 22
    np.testing.assert_allclose(cache.read(changed.pictures)[0], means(changed, changed.pictures[0], TWO), rtol=1e-3)


def test_a_picture_that_stands_there_twice_is_computed_once(
    tmp_path: Path, manifest: Manifest, network: Counting
) -> None:
    twice = dataclasses.replace(manifest, pictures=[manifest.pictures[0]] * 2)
    outputs = filled(tmp_path / "cache", twice, network).read(twice.pictures)
    assert network.asked == 2
    assert np.array_equal(outputs[0], outputs[1])


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("others", {}),
        ("means", {"size": 48}),
        ("means", {"count": 3}),
        ("means", {"min_area": 0.5}),
        ("means", {"resize": "crop"}),
    ],
)
def test_another_network_or_other_views_have_a_folder_of_their_own(
    tmp_path: Path, name: str, change: dict[str, object]
) -> None:
    first = Cache(tmp_path, "means", TWO)
    another = Cache(tmp_path, name, dataclasses.replace(TWO, **change))  # type: ignore[arg-type]
    assert first.folder != another.folder
    assert Cache(tmp_path, "means", TWO).folder == first.folder


def test_a_cache_says_what_it_is_of(tmp_path: Path) -> None:
    facts = json.loads((Cache(tmp_path, "means", TWO).folder / "facts.json").read_text())
    assert facts == {"network": "means", "views": dataclasses.asdict(TWO), "boxes": BOXES}


def test_a_kill_in_the_middle_keeps_whole_shards(
    tmp_path: Path, manifest: Manifest, network: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "SHARD", 4)

    def kill(done: int, total: int) -> None:
        if done == 8:
            raise Kill

    cache = Cache(tmp_path / "cache", "means", TWO)
    with pytest.raises(Kill):
        fill(cache, network, manifest.root, manifest.pictures, CPU, None, 0, kill)
    assert len(cache.missing(manifest.pictures)) == 6
    before = network.asked
    filled(tmp_path / "cache", manifest, network)
    assert network.asked - before == 12


@pytest.mark.parametrize("damage", ["cut", "garbage", "flipped", "empty"])
def test_a_broken_shard_is_computed_again(
    tmp_path: Path, manifest: Manifest, network: Counting, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "SHARD", 4)
    cache = filled(tmp_path / "cache", manifest, network)
    whole = cache.read(manifest.pictures)
    shard = sorted(cache.folder.glob("*.npz"))[0]
    content = bytearray(shard.read_bytes())
    with np.load(shard) as values:
        held = len(values["sha256"])
    if damage == "flipped":
        # In the outputs' own bytes, which only the zip's checksum guards.
        content[content.rfind(b"outputs.npy", 0, content.rfind(b"PK\x01\x02")) + 180] ^= 255
    shard.write_bytes({"cut": bytes(content[:-40]), "garbage": b"garbage", "empty": b""}.get(damage, bytes(content)))
    filled(tmp_path / "cache", manifest, network)
    assert network.asked == 20 + 2 * held
    assert np.array_equal(cache.read(manifest.pictures), whole)


def test_a_full_disk_leaves_no_part_of_a_shard(
    tmp_path: Path, manifest: Manifest, network: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(tmp_path / "cache", "means", TWO)

    def full(path: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        fill(cache, network, manifest.root, manifest.pictures, CPU, None, 0)
    assert [path.name for path in cache.folder.iterdir()] == ["facts.json"]


@pytest.mark.filterwarnings(FEW_CORES)
def test_workers_compute_the_same_and_use_up_no_random_number(
    tmp_path: Path, manifest: Manifest, network: Counting
) -> None:
    torch.manual_seed(5)
    wanted = torch.rand(())
    results = []
    for workers in (0, 2):
        cache = Cache(tmp_path / str(workers), "means", TWO)
        torch.manual_seed(5)
        fill(cache, network, manifest.root, manifest.pictures, CPU, None, workers)
        assert torch.rand(()) == wanted
        results.append(cache.read(manifest.pictures))
    assert np.array_equal(results[0], results[1])


def test_two_runs_fill_a_cache_one_after_the_other_and_the_second_says_so(
    tmp_path: Path, manifest: Manifest, network: Counting
) -> None:
    cache, sentences = Cache(tmp_path / "cache", "means", TWO), list[str]()
    first = cache.alone()

    def say(sentence: str) -> None:
        sentences.append(sentence)
        fill(cache, network, manifest.root, manifest.pictures, CPU, None, 0)
        first.release()

    with Cache(tmp_path / "cache", "means", TWO).alone(say):
        fill(cache, network, manifest.root, manifest.pictures, CPU, None, 0)
    assert sentences == [f"Waiting for another process that asks the same network about pictures, into {cache.folder}."]
    assert network.asked == 20
