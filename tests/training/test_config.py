from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from handler.files import UserError
from training import config


def written(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text)
    return path


def test_the_default_config_loads() -> None:
    loaded = config.load()
    assert loaded.model_dump(mode="json") == yaml.safe_load(config.DEFAULT.read_text())


def test_what_a_run_writes_down_loads_as_the_same_config(tmp_path: Path) -> None:
    loaded = config.load(overrides=["model.weights=start.pt", "train.learning_rate=1e-3"])
    text = yaml.safe_dump(loaded.model_dump(mode="json"))
    assert config.load(written(tmp_path, text)) == loaded


def test_overrides_lie_on_top_of_the_file_and_the_last_wins() -> None:
    loaded = config.load(
        overrides=["train.epochs=2", "input.resize=crop", "train.epochs=3", "train.learning_rate=1e-3"]
    )
    assert (loaded.train.epochs, loaded.input.resize, loaded.train.learning_rate) == (3, "crop", 0.001)
    assert loaded.train.batch_size == config.load().train.batch_size


def differences(ours: config.Config, others: config.Config) -> set[str]:
    values, other = ours.model_dump(), others.model_dump()
    return {key for key in config.known_keys() for a, b in [key.split(".")] if values[a][b] != other[a][b]}


def test_the_default_config_fine_tunes_imagenets_resnet18() -> None:
    default, scratch = config.load(), config.load(config.DEFAULT.with_name("scratch.yaml"))
    assert (default.model.arch, default.model.weights) == ("resnet18", "imagenet")
    assert (scratch.model.arch, scratch.model.weights) == ("resnet18", None)
    assert default.train.learning_rate < scratch.train.learning_rate
    assert default.train.epochs < scratch.train.epochs
    assert default.input.size > default.train.max_size


def test_the_released_models_config_differs_only_in_what_makes_it_better_and_longer() -> None:
    released = config.load(config.DEFAULT.with_name("release.yaml"))
    assert differences(released, config.load(config.DEFAULT.with_name("scratch.yaml"))) == {
        "train.epochs",
        "train.max_size",
        "views.count",
        "distill.teacher",
        "distill.teacher_size",
        "input.size",
    }


def test_the_second_half_of_the_released_model_goes_on_from_the_first_with_larger_pictures() -> None:
    first, second = (config.load(config.DEFAULT.with_name(name)) for name in ("release.yaml", "release-larger.yaml"))
    assert second.model.weights == "runs/release/best.pt"
    assert second.train.min_size == first.train.max_size
    assert differences(second, first) == {
        "model.weights",
        "train.epochs",
        "train.min_size",
        "train.max_size",
        "train.learning_rate",
        "train.seed",
        "views.count",
        "distill.teacher_size",
    }


def test_the_third_part_of_the_released_model_goes_on_from_the_second_with_worse_pictures() -> None:
    second, third = (config.load(config.DEFAULT.with_name(f"release-{name}.yaml")) for name in ("larger", "robust"))
    assert third.model.weights == "runs/release-larger/best.pt"
    assert third.train.max_size == second.train.max_size
    assert third.train.degraded > 0
    assert differences(third, second) == {
        "model.weights",
        "train.epochs",
        "train.min_size",
        "train.warmup_epochs",
        "train.min_area",
        "train.seed",
        "train.degraded",
        "views.count",
        "distill.teacher_size",
        "input.size",
    }


def test_every_key_stands_in_every_config_and_in_one_order() -> None:
    names = ("config", "scratch", "small", "release", "release-larger", "release-robust")
    files = (yaml.safe_load(config.DEFAULT.with_name(f"{name}.yaml").read_text()) for name in names)
    ours, *others = ([f"{section}.{key}" for section, keys in file.items() for key in keys] for file in files)
    assert all(keys == ours for keys in others)
    assert ours == config.known_keys()


def test_every_key_has_a_docstring() -> None:
    sections = [field.annotation for field in config.Config.model_fields.values()]
    lacking = [
        name
        for section in sections
        if isinstance(section, type) and issubclass(section, config.Section)
        for name, field in section.model_fields.items()
        if not field.description
    ]
    assert lacking == []


def test_weights_are_none_imagenet_or_a_file() -> None:
    for text, value in (("null", None), ("imagenet", "imagenet"), ("a/b.pt", "a/b.pt")):
        assert config.load(overrides=[f"model.weights={text}"]).model.weights == value


def test_a_teacher_is_named_or_null() -> None:
    assert config.load().distill.teacher is None
    assert config.load(overrides=["distill.teacher=timm:some"]).distill.teacher == "timm:some"


def test_pictures_that_shrink_over_the_epochs_are_refused() -> None:
    with pytest.raises(UserError, match=r"^train: min_size 128 is larger than max_size 64\.$"):
        config.load(overrides=["train.min_size=128", "train.max_size=64"])


def test_a_frozen_backbone_and_a_teacher_exclude_each_other() -> None:
    with pytest.raises(UserError, match=r"^model\.freeze_backbone and distill\.teacher exclude each other\.$"):
        config.load(overrides=["model.freeze_backbone=true", "distill.teacher=timm:tf_efficientnet_lite0"])


@pytest.mark.parametrize("override", ["distill.match=features", "distill.teacher_weights=teacher.pt"])
def test_several_teachers_are_imagenets_and_their_probabilities_are_matched(override: str) -> None:
    assert config.load(overrides=["distill.teacher=timm:a,timm:b"]).distill.match == "classes"
    with pytest.raises(
        UserError, match=r"^several teachers take distill\.match=classes or labels and distill\.teacher_w"
    ):
        config.load(overrides=["distill.teacher=timm:a,timm:b", override])


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["model.weights=null"], "model.freeze_to needs model.weights: random layers would stay random."),
        (["model.freeze_backbone=true"], "model.freeze_to and model.freeze_backbone exclude each other."),
    ],
)
def test_first_blocks_are_frozen_where_they_have_weights_and_more_is_trained(
    overrides: list[str], sentence: str
) -> None:
    with pytest.raises(UserError) as error:
        config.load(overrides=["model.freeze_to=layer2", *overrides])
    assert str(error.value) == sentence


def test_classes_are_balanced_by_one_of_two_ways() -> None:
    for way in ("class_weights", "sampler"):
        assert getattr(config.load(overrides=[f"train.{way}=balanced"]).train, way) == "balanced"
    with pytest.raises(UserError, match=r"^train: class_weights and sampler would balance .* twice: choose one"):
        config.load(overrides=["train.class_weights=balanced", "train.sampler=balanced"])


@pytest.mark.parametrize("batch", ["1", "few", "2.5", "true", "null"])
def test_a_batch_is_a_number_from_2_on_or_auto(batch: str) -> None:
    assert config.load(overrides=["train.batch_size=auto"]).train.batch_size == "auto"
    with pytest.raises(UserError, match=r"^train\.batch_size: it must be a whole number from 2 on, or auto\.$"):
        config.load(overrides=[f"train.batch_size={batch}"])


def test_a_config_without_the_keys_that_came_later_still_loads(tmp_path: Path) -> None:
    values = yaml.safe_load(config.DEFAULT.read_text())
    del values["train"]["class_weights"], values["train"]["sampler"], values["train"]["degraded"]
    del values["model"]["freeze_to"]
    assert config.load(written(tmp_path, yaml.safe_dump(values))) == config.load()


@pytest.mark.parametrize("choice", ["auto", "off", "bf16", "fp16"])
def test_every_choice_can_be_given_without_quotes(choice: str) -> None:
    # To YAML 1.1 a bare `off` is false.
    assert config.load(overrides=[f"train.amp={choice}"]).train.amp == choice


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("train.epoch", "train.epochs"),
        ("train.batchsize", "train.batch_size"),
        ("input.sise", "input.size"),
        ("model.freeze_backbones", "model.freeze_backbone"),
        ("distill.temprature", "distill.temperature"),
        ("views.counts", "views.count"),
    ],
)
def test_an_unknown_key_is_answered_by_the_nearest_known_one(key: str, near: str) -> None:
    with pytest.raises(UserError, match=rf"is not a key of the config\. Did you mean {near}\?"):
        config.load(overrides=[f"{key}=3"])


@pytest.mark.parametrize(("key", "near"), [("modell.weights", "model"), ("trian.epochs", "train")])
def test_an_unknown_section_is_answered_by_the_nearest_known_one(key: str, near: str) -> None:
    with pytest.raises(UserError, match=rf"is not a key of the config\. Did you mean {near}"):
        config.load(overrides=[f"{key}=3"])


def test_an_unknown_key_like_no_other_gets_no_suggestion() -> None:
    with pytest.raises(UserError, match=r"^train\.zzzzzzzzzzzzzzzz is not a key of the config\.$"):
        config.load(overrides=["train.zzzzzzzzzzzzzzzz=3"])


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("train.epochs=many", r"train\.epochs: .*integer.* \(it is 'many'\)\."),
        ("train.epochs=0", r"train\.epochs: .*greater than or equal to 1 \(it is 0\)\."),
        ("train.epochs=2.5", r"train\.epochs: .*\(it is 2\.5\)\."),
        ("train.optimizer=lion", r"train\.optimizer: .*'sgd', 'adam' or 'adamw' \(it is 'lion'\)\."),
        ("train.amp=fp8", r"train\.amp: .*'auto', 'off', 'bf16' or 'fp16' \(it is 'fp8'\)\."),
        ("train.learning_rate=0", r"train\.learning_rate: .*greater than 0 \(it is 0\)\."),
        ("train.label_smoothing=1", r"train\.label_smoothing: .*less than 1 \(it is 1\)\."),
        ("distill.match=logits", r"distill\.match: .*'classes', 'features' or 'labels' \(it is 'logits'\)\."),
        ("model.arch=3", r"model\.arch: .*string \(it is 3\)\."),
        ("train.seed=", r"train\.seed: .*\(it is None\)\."),
    ],
)
def test_a_wrong_value_is_named_with_what_is_wrong_about_it(override: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        config.load(overrides=[override])


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    values = yaml.safe_load(config.DEFAULT.read_text())
    del values["train"]["seed"]
    with pytest.raises(UserError, match=r"^train\.seed is missing in the config; config\.yaml has it\.$"):
        config.load(written(tmp_path, yaml.safe_dump(values)))


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(UserError) as error:
        config.load(overrides=["train.epoch=3", "train.seed=-1"])
    assert len(str(error.value).splitlines()) == 2


@pytest.mark.parametrize("override", ["epochs=2", "train.epochs", "train.epochs:2", "", "=3"])
def test_an_override_of_another_form_is_answered_by_an_example(override: str) -> None:
    with pytest.raises(UserError, match=r"--set takes section\.key=value, for example train\.epochs=2"):
        config.load(overrides=[override])


def test_an_override_whose_value_is_no_yaml_is_refused() -> None:
    with pytest.raises(UserError, match=r"train\.epochs"):
        config.load(overrides=["train.epochs=[1"])


def test_a_file_that_is_no_yaml_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not YAML") as error:
        config.load(written(tmp_path, "train: [1, 2"))
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("text", ["", "just a sentence", "- a\n- list\n"])
def test_a_file_without_sections_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError, match=r"holds no sections; see config\.yaml"):
        config.load(written(tmp_path, text))


def test_a_section_that_is_no_section_is_refused_with_and_without_an_override(tmp_path: Path) -> None:
    path = written(tmp_path, "train: 3\n")
    for overrides in ([], ["train.epochs=2"]):
        with pytest.raises(UserError, match="train"):
            config.load(path, overrides)


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(b"PK\x03\x04\xff\xfe\x80")
    with pytest.raises(UserError, match=r"weights\.pt is not YAML"):
        config.load(tmp_path / "weights.pt")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Cannot read .*nowhere\.yaml: No such file"):
        config.load(tmp_path / "nowhere.yaml")


def test_a_loaded_config_cannot_be_changed() -> None:
    loaded = config.load()
    with pytest.raises(ValidationError, match="frozen"):
        loaded.train.epochs = 99
    with pytest.raises(ValidationError, match="frozen"):
        loaded.train = loaded.train
