"""Batches of training and evaluation."""

import multiprocessing
import os
import random

import numpy as np
import pytest
import torch

from handler.preprocess import InputSpec, Pixels, decode
from tests.e2e.support import wait_for
from tests.training.train_support import FEW_CORES
from training import config as configs
from training.config import TrainConfig
from training.data.loaders import (
    EvalPictures,
    TrainPictures,
    cut,
    eval_loader,
    random_box,
    train_loader,
)
from training.data.manifest import Manifest
from training.data.pictures import open_upright
from training.data.sampler import Sample, SeededSampler


def recipe(*overrides: str) -> TrainConfig:
    return configs.load(overrides=overrides).train


def one_row(pictures: TrainPictures, sample: Sample) -> tuple[Pixels, int, int, int]:
    pixels, labels, indices, views = pictures.__getitems__([sample])
    return pixels[0].numpy(), int(labels[0]), int(indices[0]), int(views[0])


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


def train_pictures(manifest: Manifest) -> TrainPictures:
    return TrainPictures(manifest.root, manifest.split("train"), manifest.classes, recipe())


@pytest.mark.filterwarnings(FEW_CORES)
def test_batches_are_the_same_for_any_number_of_workers(manifest: Manifest) -> None:
    pictures = train_pictures(manifest)
    sampler = SeededSampler(len(pictures.pictures), 8, 0, 5, 48)
    alone, *others = (list(train_loader(pictures, sampler, workers)) for workers in (0, 1, 2))
    for together in others:
        assert len(alone) == len(together) == len(sampler)
        for ours, theirs in zip(alone, together, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_a_batch_is_bytes_with_channels_last_and_whole_numbers(manifest: Manifest) -> None:
    sampler = SeededSampler(16, 8, 0, 0, 48, views=2)
    pixels, *columns = next(iter(train_loader(train_pictures(manifest), sampler, 0)))
    assert (pixels.shape, pixels.dtype) == ((8, 48, 48, 3), torch.uint8)
    assert [(column.shape, column.dtype) for column in columns] == [((8,), torch.int64)] * 3


def test_a_batch_says_which_picture_and_view_each_row_is(manifest: Manifest) -> None:
    pictures, sampler = train_pictures(manifest), SeededSampler(16, 8, 0, 0, 48, views=2)
    (samples, _), (_, labels, indices, views) = list(sampler), next(iter(train_loader(pictures, sampler, 0)))
    assert indices.tolist() == [sample.position for sample in samples]
    assert views.tolist() == [sample.view for sample in samples]
    assert labels.tolist() == [pictures.labels[sample.position] for sample in samples]


def test_a_training_sample_is_a_crop_of_its_own_picture(manifest: Manifest) -> None:
    chosen = manifest.split("train")
    pictures = TrainPictures(manifest.root, chosen, manifest.classes, recipe("train.flip=false", "train.color=0"))
    pixels, label, index, view = one_row(pictures, Sample(5, 123, 48, -1))
    image = open_upright(manifest.root, chosen[5])
    box = random_box(*image.size, 0.35, random.Random(123))
    assert np.array_equal(pixels, cut(np.asarray(image), box, 48))
    assert (manifest.classes[label], index, view) == (chosen[5].label, 5, -1)


@pytest.mark.filterwarnings(FEW_CORES)
@pytest.mark.skipif(torch.cuda.is_available(), reason="workers that feed a GPU take what they need")
def test_workers_leave_the_cores_to_the_step(manifest: Manifest) -> None:
    batches = iter(train_loader(train_pictures(manifest), SeededSampler(16, 8, 0, 0, 48), 2))
    next(batches)
    children = multiprocessing.active_children()
    assert len(children) == 2

    def priorities() -> set[int]:
        return {os.getpriority(os.PRIO_PROCESS, child.pid or 0) for child in children}

    # The first batch may come from one while the other has not started yet.
    wait_for(lambda: priorities() == {19}, 60, "both processes")
    assert len(list(batches)) == 1


@pytest.mark.slow
def test_workers_can_be_spawned_as_macos_does(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures, sampler = train_pictures(manifest), SeededSampler(16, 8, 0, 0, 48)
    (alone, _) = train_loader(pictures, sampler, 0)
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method("spawn", force=True)
    try:
        (spawned, _) = train_loader(pictures, sampler, 1)
    finally:
        multiprocessing.set_start_method(before, force=True)
    assert torch.equal(alone[0], spawned[0])
