from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from handler.files import UserError
from handler.preprocess import InputSpec
from tests.training.train_support import equal, tiny
from training.config import Config
from training.data.loaders import EvalPictures, TrainPictures
from training.data.manifest import Manifest
from training.learning.checkpoint import load_checkpoint, load_trained
from training.learning.model import Classifier, build
from training.learning.runtime import Group
from training.learning.tasks.context import Context
from training.learning.tasks.frozen import without_head
from training.learning.tasks.head import HeadTask
from training.learning.tasks.picture import PictureTask, Student
from training.learning.tasks.task import Task, make_task
from training.learning.train import train
from training.learning.views import Views

pytestmark = pytest.mark.usefixtures("quick")
ALONE = Group(0, 1, torch.device("cpu"))
ARCHS = ["resnet18", "mobilenet_v2", "baseline", "timm:tf_efficientnet_lite0"]


def make(config: Config, manifest: Manifest, cache: Path) -> Task:
    return make_task(Context(config, manifest, ALONE, cache, amp=None))


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


def test_a_cold_and_a_warm_cache_give_the_same_weights(few: Manifest, taught: Config, tmp_path: Path) -> None:
    states = []
    for name in ("cold", "warm"):
        train(taught, few, tmp_path / name, cache=tmp_path / "cache")
        states.append(load_checkpoint(tmp_path / name / "last.pt").model)
    assert equal(*states)


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
