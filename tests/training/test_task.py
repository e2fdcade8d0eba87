import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from handler.files import UserError
from handler.preprocess import InputSpec
from tests.training.train_support import draw_manifest, equal, tiny
from training.config import Config
from training.data.loaders import EvalPictures, TrainPictures
from training.data.manifest import Manifest
from training.learning.checkpoint import load_checkpoint, load_trained
from training.learning.model import Classifier, build, weights_digest
from training.learning.runtime import Group
from training.learning.tasks.context import Context
from training.learning.tasks.frozen import without_head
from training.learning.tasks.head import HeadTask
from training.learning.tasks.picture import PictureTask, Student
from training.learning.tasks.task import Task, make_task
from training.learning.tasks.teacher import Answers, teacher_network
from training.learning.train import train
from training.learning.views import Views

ALONE = Group(0, 1, torch.device("cpu"))
ARCHS = ["resnet18", "mobilenet_v2", "baseline", "timm:tf_efficientnet_lite0"]


def make(config: Config, manifest: Manifest, cache: Path) -> Task:
    return make_task(Context(config, manifest, ALONE, cache, amp=None))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing curves and waiting for the disk take longer than an epoch of few pictures."""
    monkeypatch.setattr("training.learning.run_folder.draw_curves", lambda history, path: None)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return draw_manifest(tmp_path_factory.mktemp("few"), {"train": 8, "val": 3})


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state dict of a baseline with five classes."""
    torch.manual_seed(11)
    path = tmp_path_factory.mktemp("teacher") / "teacher.pt"
    torch.save(build("baseline", 5).backbone.state_dict(), path)
    return path


@pytest.fixture
def taught(teacher: Path) -> Config:
    return tiny("distill.teacher=baseline", f"distill.teacher_weights={teacher}")


@pytest.mark.parametrize("arch", ARCHS)
@pytest.mark.parametrize("classes", [2, 3])
def test_a_networks_rest_and_last_layer_together_are_the_network(arch: str, classes: int) -> None:
    torch.manual_seed(0)
    network = build(arch, classes).eval()
    rest, head = without_head(network)
    pixels = torch.randint(0, 256, (3, 64, 64, 3), dtype=torch.uint8)
    features = rest.eval()(pixels)
    assert features.ndim == 2
    torch.testing.assert_close(head(features), network(pixels))


def test_a_last_layer_that_is_not_linear_cannot_be_taken_off() -> None:
    network = build("resnet18", 2)
    network.backbone.fc = nn.Sequential(nn.Linear(512, 2))
    with pytest.raises(UserError, match="is not linear"):
        without_head(network)


@pytest.mark.parametrize("arch", ARCHS)
def test_a_student_answers_as_its_classifier_and_matches_by_the_same_features(arch: str) -> None:
    torch.manual_seed(0)
    classifier = build(arch, 2).eval()
    student = Student(classifier, 7).eval()
    assert student.second is not None
    pixels = torch.randint(0, 256, (3, 64, 64, 3), dtype=torch.uint8)
    logits, matched = student(pixels)
    assert torch.equal(logits, classifier(pixels))
    rest, _ = without_head(classifier)
    torch.testing.assert_close(matched, student.second(rest(pixels)))


def test_a_student_without_a_teacher_has_nothing_to_match() -> None:
    student = Student(build("baseline", 2), 0)
    assert student.second is None
    assert student(torch.zeros(2, 32, 32, 3, dtype=torch.uint8))[1] is None


def answers(match: str, temperature: float = 1.0) -> Answers:
    """Random features of four pictures in three views, read by a layer of five classes."""
    rng = np.random.default_rng(0)
    config = tiny(f"distill.match={match}", f"distill.temperature={temperature}").distill
    torch.manual_seed(0)
    return Answers(rng.normal(size=(4, 3, 6)).astype(np.float16), torch.randn(5, 6), torch.randn(5), config)


CHOSEN = torch.tensor([2, 0]), torch.tensor([1, 2])


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_matching_classes_costs_the_divergence_of_the_teachers_probabilities(temperature: float) -> None:
    ours = answers("classes", temperature)
    matched = torch.randn(2, 5)
    assert ours.outputs == 5
    wanted = 0.0
    for row, (picture, view) in enumerate(((2, 1), (0, 2))):
        logits = ours.weight @ torch.from_numpy(ours.features[picture, view]).float() + ours.bias
        p, q = (logits / temperature).softmax(0), (matched[row] / temperature).softmax(0)
        wanted += float((p * (p / q).log()).sum()) * temperature**2 / 2
    assert float(ours.loss(matched, *CHOSEN)) == pytest.approx(wanted, rel=1e-4)


def test_matching_features_costs_their_squared_distance_in_units_of_their_variance() -> None:
    ours = answers("features")
    matched = torch.randn(2, 6)
    assert ours.outputs == 6
    chosen = torch.from_numpy(np.stack([ours.features[2, 1], ours.features[0, 2]])).float()
    wanted = ((matched - chosen) ** 2).mean() / chosen.var()
    torch.testing.assert_close(ours.loss(matched, *CHOSEN), wanted)


@pytest.mark.parametrize("match", ["classes", "features"])
def test_who_answers_as_the_teacher_does_has_nothing_to_lose(match: str) -> None:
    ours = answers(match)
    features = torch.from_numpy(np.stack([ours.features[2, 1], ours.features[0, 2]])).float()
    perfect = features if match == "features" else features @ ours.weight.t() + ours.bias
    assert float(ours.loss(perfect, *CHOSEN)) == pytest.approx(0, abs=1e-6)
    assert float(ours.loss(perfect + torch.randn_like(perfect), *CHOSEN)) > 0.01


def test_the_teachers_loss_is_weighed(few: Manifest, taught: Config, tmp_path: Path) -> None:
    heavy = taught.model_copy(update={"distill": taught.distill.model_copy(update={"weight": 3.0})})
    first, second = (make(config, few, tmp_path) for config in (taught, heavy))
    matched = torch.randn(2, 5)
    torch.testing.assert_close(second.matched_loss(matched, *CHOSEN[:1], torch.tensor([1, 0])),
                               3 * first.matched_loss(matched, *CHOSEN[:1], torch.tensor([1, 0])))  # fmt: skip


@pytest.mark.parametrize("match", ["classes", "features"])
def test_one_entry_of_the_config_names_a_teacher_whose_answers_stand_beside_the_labels(
    few: Manifest, taught: Config, tmp_path: Path, match: str
) -> None:
    config = taught.model_copy(update={"distill": taught.distill.model_copy(update={"match": match})})
    task = make(config, few, tmp_path)
    assert isinstance(task, PictureTask)
    assert task.answers is not None
    assert task.answers.features.shape == (16, 2, 128)
    assert task.answers.outputs == {"classes": 5, "features": 128}[match]
    batch = next(task.batches(0, 32))
    _, matched = task.student(batch[0])
    assert matched.shape == (4, task.answers.outputs)
    assert task.matched_loss(matched, batch[2], batch[3]).ndim == 0
    assert task.teacher == {
        "name": "baseline",
        "source": Path(config.distill.teacher_weights).name,
        "weights_sha256": weights_digest(teacher_network("baseline", config.distill.teacher_weights)),
        "size": 32,
        "views": 2,
        "match": match,
    }


def test_the_student_sees_exactly_the_crops_that_the_teacher_saw(few: Manifest, taught: Config, tmp_path: Path) -> None:
    recipe = taught.train.model_copy(update={"flip": False, "color": 0.0})
    task = make(taught.model_copy(update={"train": recipe}), few, tmp_path)
    assert isinstance(task, PictureTask)
    assert task.answers is not None
    rest, _ = without_head(teacher_network("baseline", taught.distill.teacher_weights))
    seen = set()
    for epoch in (0, 1):
        for pixels, _, indices, views in task.batches(epoch, 32):
            with torch.inference_mode():
                wanted = rest.eval()(pixels).half().numpy()
            got = task.answers.features[indices.numpy(), views.numpy()]
            np.testing.assert_allclose(got, wanted, rtol=1e-2, atol=1e-3)
            seen |= set(zip(indices.tolist(), views.tolist(), strict=True))
    assert len(seen) == 16 * 2


def test_mirror_and_colour_change_the_students_crops_and_not_which_they_are(
    few: Manifest, taught: Config, tmp_path: Path
) -> None:
    task = make(taught, few, tmp_path)
    plain = taught.train.model_copy(update={"flip": False, "color": 0.0})
    unchanged = make(taught.model_copy(update={"train": plain}), few, tmp_path)
    (pixels, *ours), (crops, *others) = next(task.batches(0, 32)), next(unchanged.batches(0, 32))
    assert all(torch.equal(a, b) for a, b in zip(ours, others, strict=True))
    assert not torch.equal(pixels, crops)


def test_the_second_last_layer_is_trained_and_not_released(few: Manifest, taught: Config, tmp_path: Path) -> None:
    train(taught, few, tmp_path / "run")
    checkpoint = load_checkpoint(tmp_path / "run" / "last.pt")
    assert {"second.weight", "second.bias"} <= set(checkpoint.model)
    assert checkpoint.ema.keys() == build("baseline", 2).state_dict().keys()
    assert checkpoint.teacher is not None
    assert checkpoint.teacher["name"] == "baseline"
    load_trained(checkpoint)


def test_a_cold_and_a_warm_cache_give_the_same_weights(few: Manifest, taught: Config, tmp_path: Path) -> None:
    states = []
    for name in ("cold", "warm"):
        train(taught, few, tmp_path / name, cache=tmp_path / "cache")
        states.append(load_checkpoint(tmp_path / name / "last.pt").model)
    assert equal(*states)


def test_a_teacher_of_two_classes_by_one_score_cannot_teach(few: Manifest, tmp_path: Path) -> None:
    torch.save(build("baseline", 2).backbone.state_dict(), tmp_path / "two.pt")
    config = tiny("distill.teacher=baseline", f"distill.teacher_weights={tmp_path / 'two.pt'}")
    with pytest.raises(UserError, match=r"baseline cannot teach|is not of"):
        make(config, few, tmp_path / "cache")


def test_weights_that_are_not_the_teachers_are_refused(few: Manifest, tmp_path: Path, teacher: Path) -> None:
    config = tiny("distill.teacher=resnet18", f"distill.teacher_weights={teacher}")
    with pytest.raises(UserError, match=r"teacher\.pt is not of resnet18: it has no last layer fc\.bias\."):
        make(config, few, tmp_path / "cache")


def frozen(*overrides: str) -> Config:
    return tiny("model.freeze_backbone=true", *overrides)


def test_a_frozen_backbones_outputs_are_computed_once_per_picture_and_view(
    few: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    forward = Classifier.forward

    def counting(self: Classifier, pixels: torch.Tensor) -> torch.Tensor:
        asked.append(len(pixels))
        return forward(self, pixels)

    monkeypatch.setattr(Classifier, "forward", counting)
    train(frozen("train.epochs=8"), few, tmp_path / "a", cache=tmp_path / "cache")
    # Two crops of the pictures to train on, and the whole picture of those to validate by.
    assert sum(asked) == 16 * 2 + 6
    asked.clear()
    train(frozen("train.epochs=8"), few, tmp_path / "b", cache=tmp_path / "cache")
    train(frozen("train.learning_rate=0.5"), few, tmp_path / "c", cache=tmp_path / "cache")
    assert asked == []
    assert equal(load_checkpoint(tmp_path / "a" / "last.pt").ema, load_checkpoint(tmp_path / "b" / "last.pt").ema)


def test_the_same_weights_and_views_are_found_again(few: Manifest, tmp_path: Path) -> None:
    for _ in range(2):
        torch.manual_seed(0)
        make(frozen(), few, tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 2


@pytest.mark.parametrize(
    ("override", "seed"),
    [
        ("model.weights={weights}", 0),
        ("model.weights=null", 5),  # random ones of another seed
        ("input.size=48", 0),
        ("input.resize=crop", 0),
        ("views.count=3", 0),
        ("train.min_area=0.9", 0),
    ],
)
def test_other_weights_or_views_are_computed_anew(few: Manifest, tmp_path: Path, override: str, seed: int) -> None:
    torch.manual_seed(99)
    torch.save(build("baseline", 2).state_dict(), tmp_path / "weights.pt")
    torch.manual_seed(0)
    make(frozen(), few, tmp_path / "cache")
    before = set((tmp_path / "cache").iterdir())
    torch.manual_seed(seed)
    make(frozen(override.format(weights=tmp_path / "weights.pt")), few, tmp_path / "cache")
    assert set((tmp_path / "cache").iterdir()) - before


@pytest.mark.parametrize("arch", ["baseline", "resnet18"])
def test_only_the_last_layer_of_a_frozen_network_changes_and_the_release_answers_as_both_do(
    few: Manifest, tmp_path: Path, arch: str
) -> None:
    torch.manual_seed(3)
    start = build(arch, 2).state_dict()
    torch.save(start, tmp_path / "start.pt")
    config = frozen(f"model.arch={arch}", f"model.weights={tmp_path / 'start.pt'}", "train.learning_rate=0.1")
    train(config, few, tmp_path / "run")
    checkpoint = load_checkpoint(tmp_path / "run" / "last.pt")
    changed = {name for name, tensor in checkpoint.ema.items() if not torch.equal(tensor, start[name])}
    last = {"baseline": "backbone.head.linear", "resnet18": "backbone.fc"}[arch]
    assert changed == {f"{last}.weight", f"{last}.bias"}
    # The checkpoint's own answers on the cached features.
    task = make(config, few, tmp_path / "run" / "views")
    assert isinstance(task, HeadTask)
    task.answering.load_state_dict(task.averaged(checkpoint.ema))
    ((features, labels),) = task.validation()
    network = load_trained(checkpoint)
    pictures = EvalPictures(few.root, few.split("val"), few.classes, InputSpec(32))
    pixels = torch.from_numpy(np.stack([pictures[index][0] for index in range(6)]))
    with torch.inference_mode():
        # Features are cached as float16.
        torch.testing.assert_close(network(pixels), task.answering(features), rtol=5e-3, atol=5e-3)
    assert labels.tolist() == pictures.labels


def test_a_frozen_networks_batches_are_its_cached_features(few: Manifest, tmp_path: Path) -> None:
    task = make(frozen(), few, tmp_path)
    assert isinstance(task, HeadTask)
    rest, _ = without_head(task.classifier)
    picture = few.split("train")
    for features, labels, indices, views in task.batches(1, 32):
        assert (features.shape, features.dtype) == ((4, 128), torch.float32)
        crops = [
            Views(32, 2, 0.35, "squeeze").cut(few.root, picture[int(i)])[int(v)]
            for i, v in zip(indices, views, strict=True)
        ]
        with torch.inference_mode():
            wanted = rest.eval()(torch.from_numpy(np.stack(crops)))
        torch.testing.assert_close(features, wanted, rtol=1e-2, atol=1e-3)
        assert [few.classes[int(label)] for label in labels] == [picture[int(i)].label for i in indices]


def test_what_is_released_and_what_is_averaged_lead_to_each_other(
    few: Manifest, taught: Config, tmp_path: Path
) -> None:
    for config in (frozen(), taught, tiny()):
        task = make(config, few, tmp_path)
        averaged = task.answering.state_dict()
        assert equal(task.averaged(task.released(averaged)), averaged)
        assert task.released(averaged).keys() == build("baseline", 2).state_dict().keys()


def test_labels_are_the_positions_of_the_classes(few: Manifest, tmp_path: Path) -> None:
    task = make(tiny(), few, tmp_path)
    assert isinstance(task, PictureTask)
    assert isinstance(task.pictures, TrainPictures)
    assert task.pictures.labels == [few.classes.index(picture.label) for picture in few.split("train")]
    labels = torch.cat([labels for _, labels in task.validation()])
    assert labels.tolist() == [few.classes.index(picture.label) for picture in few.split("val")]


def test_cross_entropy_of_one_score_is_what_a_frozen_baseline_trains_by(few: Manifest, tmp_path: Path) -> None:
    task = make(frozen(), few, tmp_path)
    features, labels, _, _ = next(task.batches(0, 32))
    logits, _ = task.student(features)
    assert torch.equal(logits[:, 0], torch.zeros(4))
    torch.testing.assert_close(
        functional.cross_entropy(logits, labels),
        functional.binary_cross_entropy_with_logits(logits[:, 1], labels.float()),
    )
