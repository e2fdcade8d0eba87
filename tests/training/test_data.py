import io
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from handler.preprocess import InputSpec, Pixels, decode
from training.data import EvalPictures, SeededSampler, TrainPictures, augment, eval_loader, read_picture, train_loader
from training.manifest import Manifest

Photo = Callable[..., Image.Image]


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def augmented(data: bytes, seed: int, size: int = 48, min_area: float = 0.35) -> Pixels:
    return augment(data, size, min_area, np.random.default_rng(seed))


def test_a_seed_always_gives_the_same_crop(photo: Photo) -> None:
    data = encoded(photo(1))
    assert np.array_equal(augmented(data, 7), augmented(data, 7))


def test_other_seeds_give_other_crops(photo: Photo) -> None:
    data = encoded(photo(1))
    assert len({augmented(data, seed).tobytes() for seed in range(20)}) == 20


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "CMYK", "1"])
@pytest.mark.parametrize("size", [32, 80])
def test_a_crop_is_a_square_of_rgb_bytes_whatever_the_pictures_mode(photo: Photo, mode: str, size: int) -> None:
    data = encoded(photo(1).convert(mode), "TIFF")
    pixels = augmented(data, 0, size)
    assert pixels.shape == (size, size, 3)
    assert pixels.dtype == np.uint8


@pytest.mark.parametrize("size", [(1, 1), (400, 3), (3, 400)])
def test_pictures_of_extreme_shapes_are_cropped_too(photo: Photo, size: tuple[int, int]) -> None:
    data = encoded(photo(1, size=size))
    assert {augmented(data, seed).shape for seed in range(10)} == {(48, 48, 3)}


def test_half_of_the_crops_are_mirrored() -> None:
    ramp = encoded(Image.fromarray(np.tile(np.arange(0, 250, 2, dtype=np.uint8), (125, 1))))
    mirrored = sum(
        int(pixels[:, 0].mean() > pixels[:, -1].mean()) for pixels in (augmented(ramp, s) for s in range(200))
    )
    # Four standard deviations of a binomial of 200.
    assert mirrored == pytest.approx(100, abs=28)


def test_the_smallest_crop_shows_min_area_of_the_picture() -> None:
    # Red counts columns and green counts rows, so that a crop tells which part of the picture it shows.
    y, x = np.mgrid[0:200, 0:200]
    data = encoded(Image.fromarray(np.stack([x, y, np.zeros_like(x)], axis=2).astype(np.uint8)))
    shares = []
    for seed in range(200):
        pixels = augmented(data, seed, 64, 0.5).astype(np.float64)
        contrast = np.ptp(pixels[..., 0]) / 200, np.ptp(pixels[..., 1]) / 200
        shares.append(contrast[0] * contrast[1])
    # Contrast is changed by 0.8 to 1.25 in each direction.
    assert 0.5 * 0.8**2 * 0.9 < min(shares) < 0.5


def test_training_shows_a_picture_as_upright_as_evaluation_does() -> None:
    # Stored lying on its side, as a phone does: bright on the left, which EXIF's 6 turns to the top.
    stored = np.full((64, 64), 40, dtype=np.uint8)
    stored[:, :32] = 200
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.fromarray(stored).convert("RGB"), "JPEG", exif=exif, quality=95)
    evaluated, trained = decode(data, InputSpec(48)), augmented(data, 0, min_area=1.0)
    assert evaluated[:20].mean() > evaluated[-20:].mean() + 100
    assert trained[:20].mean() > trained[-20:].mean() + 100


def test_evaluation_sees_a_picture_exactly_as_the_server_does(manifest: Manifest) -> None:
    spec = InputSpec(40, "crop")
    pictures = EvalPictures(manifest.root, manifest.pictures[:6], manifest.classes, spec)
    for index, picture in enumerate(manifest.pictures[:6]):
        pixels, label = pictures[index]
        assert np.array_equal(pixels, decode((manifest.root / picture.path).read_bytes(), spec))
        assert manifest.classes[label] == picture.label


def test_evaluations_batches_hold_every_picture_once_in_order(manifest: Manifest) -> None:
    pictures = EvalPictures(manifest.root, manifest.pictures, manifest.classes, InputSpec(32))
    labels = torch.cat([batch for _, batch in eval_loader(pictures, workers=0, batch_size=7)])
    assert labels.tolist() == [manifest.classes.index(picture.label) for picture in manifest.pictures]


def batches(sampler: SeededSampler) -> list[list[tuple[int, int, int]]]:
    return list(sampler)


def test_an_epochs_order_and_seeds_follow_from_the_runs_seed() -> None:
    assert batches(SeededSampler(50, 8, 3, 2, 64)) == batches(SeededSampler(50, 8, 3, 2, 64))


@pytest.mark.parametrize(("seed", "epoch"), [(3, 1), (4, 2), (2, 3)])
def test_another_epoch_or_seed_has_another_order_and_other_crops(seed: int, epoch: int) -> None:
    ours = [sample for batch in SeededSampler(50, 8, 3, 2, 64) for sample in batch]
    others = [sample for batch in SeededSampler(50, 8, seed, epoch, 64) for sample in batch]
    assert [index for index, _, _ in ours] != [index for index, _, _ in others]
    assert {seed for _, seed, _ in ours}.isdisjoint({seed for _, seed, _ in others})


def test_an_epoch_shows_each_picture_at_most_once_in_whole_batches() -> None:
    chosen = batches(SeededSampler(50, 8, 0, 0, 64))
    indices = [index for batch in chosen for index, _, _ in batch]
    assert [len(batch) for batch in chosen] == [8] * 6
    assert len(SeededSampler(50, 8, 0, 0, 64)) == 6
    assert len(set(indices)) == 48
    assert set(indices) <= set(range(50))


def test_over_the_epochs_every_picture_is_shown() -> None:
    shown = {index for epoch in range(20) for batch in SeededSampler(50, 8, 0, epoch, 64) for index, _, _ in batch}
    assert shown == set(range(50))


# A machine with one processor is warned about two workers.
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
def test_batches_are_the_same_for_any_number_of_workers(manifest: Manifest) -> None:
    pictures = TrainPictures(manifest.root, manifest.split("train"), manifest.classes, 0.35)
    sampler = SeededSampler(len(pictures.pictures), 8, 0, 5, 48)
    alone, together = (list(train_loader(pictures, sampler, workers)) for workers in (0, 2))
    assert len(alone) == len(together) == len(sampler)
    for (pixels, labels), (same_pixels, same_labels) in zip(alone, together, strict=True):
        assert torch.equal(pixels, same_pixels)
        assert torch.equal(labels, same_labels)


def test_a_batch_is_bytes_with_channels_last_and_whole_numbers(manifest: Manifest) -> None:
    pictures = TrainPictures(manifest.root, manifest.split("train"), manifest.classes, 0.35)
    pixels, labels = next(iter(train_loader(pictures, SeededSampler(16, 8, 0, 0, 48), 0)))
    assert (pixels.shape, pixels.dtype) == ((8, 48, 48, 3), torch.uint8)
    assert (labels.shape, labels.dtype) == ((8,), torch.int64)


def test_a_training_sample_is_a_crop_of_its_own_picture(manifest: Manifest) -> None:
    chosen = manifest.split("train")
    pictures = TrainPictures(manifest.root, chosen, manifest.classes, 0.35)
    pixels, label = pictures[5, 123, 48]
    assert np.array_equal(pixels, augmented(read_picture(manifest.root, chosen[5]), 123))
    assert manifest.classes[label] == chosen[5].label
