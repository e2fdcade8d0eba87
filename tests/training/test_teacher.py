"""A teacher: its answers, and the loss of a student that matches them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from handler.files import UserError
from tests.training.train_support import tiny
from training.config import Config
from training.data.manifest import Manifest
from training.learning.checkpoint import load_checkpoint, load_trained
from training.learning.crossfit import cross_fitted
from training.learning.model import build, weights_digest
from training.learning.runtime import Group
from training.learning.tasks.context import Context
from training.learning.tasks.frozen import without_head
from training.learning.tasks.picture import PictureTask
from training.learning.tasks.task import Task, make_task
from training.learning.tasks.teacher import Answers, teacher_network
from training.learning.train import train

pytestmark = pytest.mark.usefixtures("quick")
ALONE = Group(0, 1, torch.device("cpu"))


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


def test_matching_labels_costs_the_divergence_of_a_cross_fitted_layers_probabilities(
    few: Manifest, taught: Config, tmp_path: Path
) -> None:
    """Fitted on the other pictures alone: the layer of the picture itself would say what its label says."""
    config = taught.model_copy(update={"distill": taught.distill.model_copy(update={"match": "labels"})})
    task = make(config, few, tmp_path)
    assert isinstance(task, PictureTask)
    assert task.answers is not None
    assert task.answers.features.shape == (16, 2, 2)
    features = make(taught, few, tmp_path)
    assert isinstance(features, PictureTask)
    assert features.answers is not None
    pictures = few.split("train")
    labels = np.array([few.classes.index(picture.label) for picture in pictures])
    fitted = cross_fitted(features.answers.features, labels, [picture.group for picture in pictures])
    assert np.exp(task.answers.features.astype(float)) == pytest.approx(fitted, abs=2e-3)
    batch = next(task.batches(0, 32))
    logits, matched = task.student(batch[0])
    assert matched is logits, "the network's own logits are matched"
    rows = torch.from_numpy(fitted[batch[2].numpy(), batch[3].numpy()])
    wanted = (rows * (rows.log() - logits.double().log_softmax(1))).sum(dim=1).mean()
    assert task.matched_loss(matched, batch[2], batch[3]).item() == pytest.approx(wanted.item(), abs=5e-3)


@pytest.mark.parametrize(("match", "outputs"), [("labels", 2), ("classes", 5)])
def test_of_several_teachers_the_mean_of_the_probabilities_is_matched(
    few: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, match: str, outputs: int
) -> None:
    """Networks of random weights stand in for those of ImageNet, which are larger."""
    torch.manual_seed(3)
    networks = {name: build("baseline", 5) for name in ("first", "second")}
    monkeypatch.setattr("training.learning.tasks.teacher.teacher_network", lambda name, weights: networks[name])
    monkeypatch.setattr("training.learning.tasks.teacher.weights_source", lambda name, weights: f"{name} 1.0")

    def taught_by(*names: str) -> PictureTask:
        task = make(tiny(f"distill.teacher={', '.join(names)}", f"distill.match={match}"), few, tmp_path)
        assert isinstance(task, PictureTask)
        return task

    def probabilities_of(task: PictureTask) -> np.ndarray:
        assert task.answers is not None
        logits = torch.tensor(task.answers.features).float() @ task.answers.weight.t() + task.answers.bias
        return logits.softmax(2).numpy()

    alone = [probabilities_of(taught_by(name)) for name in networks]
    both = taught_by("first", "second")
    assert both.answers is not None
    assert both.answers.outputs == outputs
    pixels, _, indices, views = next(both.batches(0, 32))
    _, matched = both.student(pixels)
    assert matched.shape == (4, outputs)
    assert both.matched_loss(matched, indices, views).item() > 0
    assert probabilities_of(both) == pytest.approx(np.mean(alone, axis=0), abs=2e-3)
    assert not np.allclose(alone[0], alone[1])
    assert both.teacher is not None
    digests = [weights_digest(network) for network in networks.values()]
    assert [member["weights_sha256"] for member in both.teacher["members"]] == digests
    assert [member["source"] for member in both.teacher["members"]] == ["first 1.0", "second 1.0"]
    assert (both.teacher["size"], both.teacher["views"], both.teacher["match"]) == (32, 2, match)


def test_a_teacher_that_cannot_be_had_is_refused_before_another_is_asked(
    few: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.learning.tasks.teacher.features_of", lambda *arguments: pytest.fail("asked"))
    monkeypatch.setattr(
        "training.learning.tasks.teacher.build",
        lambda name, classes, weights: build("baseline", classes) if name == "first" else build(name, classes, weights),
    )
    with pytest.raises(UserError, match="There is no network 'nope'"):
        make(tiny("distill.teacher=first, nope", "distill.match=labels"), few, tmp_path)


def answers_of(task: PictureTask) -> np.ndarray:
    assert task.answers is not None
    return task.answers.features


@pytest.mark.parametrize("match", ["classes", "labels"])
def test_whole_pictures_are_one_view_for_the_teacher(few: Manifest, taught: Config, tmp_path: Path, match: str) -> None:
    whole = taught.train.model_copy(update={"min_area": 1.0})
    distill = taught.distill.model_copy(update={"match": match})
    task = make(taught.model_copy(update={"train": whole, "distill": distill}), few, tmp_path)
    assert isinstance(task, PictureTask)
    assert answers_of(task).shape[:2] == (16, 2)
    assert np.array_equal(answers_of(task)[:, 0], answers_of(task)[:, 1])
    assert task.teacher is not None
    assert task.teacher["views"] == 1


def test_a_class_of_few_pictures_cannot_be_cross_fitted(few: Manifest, taught: Config, tmp_path: Path) -> None:
    config = taught.model_copy(update={"distill": taught.distill.model_copy(update={"match": "labels"})})
    train = few.split("train")
    cats = [picture for picture in train if picture.label == "cat"]
    thin = replace(few, pictures=[picture for picture in few.pictures if picture not in cats[4:]])
    with pytest.raises(UserError, match="The class cat has 4 pictures that are not near-duplicates"):
        make(config, thin, tmp_path)
    none = replace(few, pictures=[picture for picture in few.pictures if picture not in cats])
    with pytest.raises(UserError, match="The class cat has 0 pictures"):
        make(config, none, tmp_path)


def test_a_run_that_matches_labels_is_released_without_a_second_layer(
    few: Manifest, taught: Config, tmp_path: Path
) -> None:
    config = taught.model_copy(update={"distill": taught.distill.model_copy(update={"match": "labels"})})
    train(config, few, tmp_path / "run")
    assert not [name for name in load_checkpoint(tmp_path / "run" / "last.pt").model if name.startswith("second")]


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


def test_a_teacher_of_two_classes_by_one_score_cannot_teach(few: Manifest, tmp_path: Path) -> None:
    torch.save(build("baseline", 2).backbone.state_dict(), tmp_path / "two.pt")
    config = tiny("distill.teacher=baseline", f"distill.teacher_weights={tmp_path / 'two.pt'}")
    with pytest.raises(UserError, match=r"baseline cannot teach|is not of"):
        make(config, few, tmp_path / "cache")


def test_weights_that_are_not_the_teachers_are_refused(few: Manifest, tmp_path: Path, teacher: Path) -> None:
    config = tiny("distill.teacher=resnet18", f"distill.teacher_weights={teacher}")
    with pytest.raises(UserError, match=r"teacher\.pt is not of resnet18: it has no last layer fc\.bias\."):
        make(config, few, tmp_path / "cache")
