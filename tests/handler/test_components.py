"""Principal components of the network's inner features: in records alone, and by runtimes that give a second output."""

import json
import shutil
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handler import predictor as predicting
from handler.catsdogs_handler import CatsDogsHandler
from handler.components import FILE, Components, parse_tensor, read_components
from handler.files import UserError, sha256_file
from handler.predictor import Predictor
from handler.records import VARIABLE
from handler.runtimes.choice import Choice, all_runtimes, choose
from tests import zoo
from tests.handler.test_catsdogs_handler import REST, Context
from tests.handler.test_records import lines
from tests.runtimes import CHOICES

RUNTIMES = {runtime.name: runtime for runtime in all_runtimes()}
WITH_INNER = [pair for pair in CHOICES if RUNTIMES[pair[0]].load_inner is not None]


def handler_of(folder: Path) -> CatsDogsHandler:
    made = CatsDogsHandler()
    made.initialize(Context(folder, []))
    return made


def recorded(made: CatsDogsHandler, folder: Path) -> dict[str, Any]:
    """Return the one record of a picture that is answered now."""
    (body,) = made.handle([{"body": zoo.CAT.read_bytes()}], Context(folder, [REST]))
    assert json.loads(body)["label"] == "cat"
    made.counting.snapshot()
    (line,) = lines(folder)
    record: dict[str, Any] = json.loads(line)
    return record


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "records"))
    return tmp_path / "records"


@pytest.fixture
def copy(unpacked: Path, tmp_path: Path) -> Path:
    """The unpacked archive, with components and release.json of its own."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in unpacked.iterdir():
        (folder / path.name).symlink_to(path)
    for name in (FILE, "release.json"):
        (folder / name).unlink()
        shutil.copy(unpacked / name, folder / name)
    return folder


def change_release(folder: Path, **reference: Any) -> None:
    """Change the reference in release.json, and the sha256 of the components."""
    values = json.loads((folder / "release.json").read_bytes())
    values["reference"] |= reference
    values["files"][FILE] = sha256_file(folder / FILE)
    (folder / "release.json").write_text(json.dumps(values))


def test_a_projection_is_that_on_the_axes_around_the_mean() -> None:
    rng = np.random.default_rng(0)
    mean, axes, inner = (rng.normal(size=shape).astype(np.float32) for shape in ((5,), (2, 5), (3, 5)))
    rows = Components(mean, axes).project(inner)
    assert [list(row) for row in rows] == [["component_1", "component_2"]] * 3
    np.testing.assert_allclose([list(row.values()) for row in rows], (inner - mean) @ axes.T, rtol=1e-5)


def test_the_file_gives_back_what_was_written_and_always_the_same_bytes(tmp_path: Path) -> None:
    components = Components(np.ones(5, np.float32), np.eye(2, 5, dtype=np.float32))
    (tmp_path / FILE).write_bytes(components.to_bytes())
    read = read_components(tmp_path / FILE)
    np.testing.assert_array_equal(np.vstack([read.mean[None], read.axes]), np.vstack([np.ones(5), np.eye(2, 5)]))
    assert read.to_bytes() == components.to_bytes()


@pytest.mark.parametrize(
    "values",
    [np.ones((3, 4)), np.ones(4, np.float32), np.ones((1, 4), np.float32), np.full((3, 4), np.nan, np.float32)],
    ids=["float64", "one row", "no axes", "not a number"],
)
def test_a_file_of_another_form_is_refused(values: Any, tmp_path: Path) -> None:
    with (tmp_path / FILE).open("wb") as file:
        np.save(file, values)
    with pytest.raises(UserError, match="does not hold a mean and axes"):
        read_components(tmp_path / FILE)


def test_a_pickle_is_never_loaded(tmp_path: Path) -> None:
    with (tmp_path / FILE).open("wb") as file:
        np.save(file, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match="does not hold a mean and axes"):
        read_components(tmp_path / FILE)


@pytest.mark.parametrize(
    "value",
    [[], "mean", {"tensor": "mean"}, {"file": "../x.npy", "tensor": "mean"}, {"file": FILE, "tensor": ""},
     {"file": FILE, "tensor": 1}, {"file": FILE, "tensor": "a\nb"}],
)  # fmt: skip
def test_a_malformed_key_is_refused_by_one_sentence(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^reference\.components must give the file components\.npy and the name"):
        parse_tensor(value)


@pytest.mark.parametrize(("name", "precision"), WITH_INNER)
def test_the_second_output_leaves_the_answers_as_they_are(unpacked: Path, name: str, precision: str) -> None:
    plain, inner = Predictor(unpacked, name, precision), Predictor(unpacked, name, precision, inner=True)
    pixels = np.stack([plain.decode(path.read_bytes()) for path in sorted(zoo.SAMPLES.glob("*/*.jpg"))])
    probabilities, features = inner.probabilities_and_inner(pixels)
    assert np.abs(probabilities - plain.probabilities(pixels)).max() <= 1e-5
    assert np.abs(probabilities - inner.probabilities(pixels)).max() <= 1e-5
    assert inner.components is not None
    assert features is not None
    assert features.shape == (len(pixels), len(inner.components.mean))


def test_runtimes_give_the_same_components(unpacked: Path) -> None:
    decode = Predictor(unpacked).decode
    pixels = np.stack([decode(path.read_bytes()) for path in sorted(zoo.SAMPLES.glob("*/*.jpg"))])
    values = []
    for name, precision in WITH_INNER:
        predictor = Predictor(unpacked, name, precision, inner=True)
        _, features = predictor.probabilities_and_inner(pixels)
        assert predictor.components is not None
        assert features is not None
        values.append([list(row.values()) for row in predictor.components.project(features)])
    spread = np.std(values[0])
    assert len(values) >= 2
    for other in values[1:]:  # an int8 network is nearly the fp32 one
        assert np.abs(np.array(other) - values[0]).max() < spread / 2


def test_a_record_has_the_components_of_its_picture(unpacked: Path, records: Path) -> None:
    made = handler_of(unpacked)
    record = recorded(made, records)
    components = made.predictor.components
    assert components is not None
    _, inner = made.predictor.probabilities_and_inner(made.predictor.decode(zoo.CAT.read_bytes())[None])
    assert inner is not None
    (expected,) = components.project(inner)
    assert {name: record["features"][name] for name in components.names} == pytest.approx(expected, rel=1e-5)
    assert record["components"] == sha256_file(unpacked / FILE)


def test_the_network_is_asked_for_inner_features_only_where_a_record_is_due(
    unpacked: Path, records: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three rows in batches of one picture, of which the second alone is due."""
    made = handler_of(unpacked)
    made.batch_size = 1
    due = iter([False, True, False])
    monkeypatch.setattr(made.counting.records, "takes", lambda: next(due))
    network, asked = made.predictor.network, list[np.ndarray]()
    ask = network.logits_and_inner  # type: ignore[attr-defined]

    def spy(pixels: np.ndarray) -> Any:
        asked.append(pixels)
        return ask(pixels)

    monkeypatch.setattr(network, "logits_and_inner", spy)
    bodies = [path.read_bytes() for path in (zoo.CAT, zoo.DOG, zoo.CAT)]
    answers = made.handle([{"body": body} for body in bodies], Context(unpacked, [REST] * 3))
    made.counting.snapshot()
    assert [json.loads(answer)["label"] for answer in answers] == ["cat", "dog", "cat"]
    (pixels,) = asked
    np.testing.assert_array_equal(pixels, made.predictor.decode(bodies[1])[None])
    record = json.loads(lines(records)[0])
    components = made.predictor.components
    assert components is not None
    (expected,) = components.project(ask(pixels)[1])
    assert record["label"] == "dog"
    assert {name: record["features"][name] for name in components.names} == pytest.approx(expected, rel=1e-5)


def test_every_record_has_components(unpacked: Path, records: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One without them would disable their test. Here every third picture is recorded."""
    made = handler_of(unpacked)
    due = cycle([False, False, True])
    monkeypatch.setattr(made.counting.records, "takes", lambda: next(due))
    for _ in range(4):
        made.handle([{"body": zoo.CAT.read_bytes()}] * 3, Context(unpacked, [REST] * 3))
    made.counting.snapshot()
    found = [json.loads(line) for line in lines(records)]
    assert len(found) == 4
    assert {record["components"] for record in found} == {sha256_file(unpacked / FILE)}


@pytest.mark.parametrize(("name", "precision"), WITH_INNER)
def test_one_form_of_the_network_is_in_memory(
    unpacked: Path, name: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network with two outputs answers the batches without a record too: a second form takes 30 to 280 MB."""
    loaded: list[str] = []
    chosen = choose(unpacked, precision, name, precision)

    def counted(load: Any) -> Any:
        def counting(*arguments: Any) -> Any:
            loaded.append(name)
            return load(*arguments)

        return counting

    runtime = replace(chosen.runtime, load=counted(chosen.runtime.load), load_inner=counted(chosen.runtime.load_inner))
    monkeypatch.setattr(predicting, "choose", lambda *arguments: Choice(runtime, chosen.precision))
    predictor = Predictor(unpacked, name, precision, inner=True)
    assert predictor.components is not None
    assert loaded == [name]


def test_without_records_the_network_has_no_second_output(unpacked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert not has_second_output(handler_of(unpacked).predictor)


def test_with_records_it_has_one(unpacked: Path, records: Path) -> None:
    assert has_second_output(handler_of(unpacked).predictor)


def has_second_output(predictor: Predictor) -> bool:
    try:
        predictor.network.logits_and_inner(np.zeros((1, 176, 176, 3), dtype=np.uint8))  # type: ignore[attr-defined]
    except (ValueError, AttributeError):
        return False
    return True


def test_a_release_without_components_is_recorded_without_them(copy: Path, records: Path) -> None:
    (copy / FILE).unlink()
    values = json.loads((copy / "release.json").read_bytes())
    del values["reference"]["components"], values["files"][FILE]
    (copy / "release.json").write_text(json.dumps(values))
    record = recorded(handler_of(copy), records)
    assert "component_1" not in record["features"]
    assert "components" not in record


def test_a_runtime_that_gives_no_inner_features_is_recorded_without_them(
    unpacked: Path, records: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = choose(unpacked, "fp32")
    plain = Choice(replace(chosen.runtime, load_inner=None), chosen.precision)
    monkeypatch.setattr(predicting, "choose", lambda *arguments: plain)
    assert "component_1" not in recorded(handler_of(unpacked), records)["features"]


def test_a_tensor_that_the_network_lacks_costs_the_components_alone(
    copy: Path, records: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change_release(copy, components={"file": FILE, "tensor": "nothing"})
    assert "component_1" not in recorded(handler_of(copy), records)["features"]
    assert "records are without inner features" in capsys.readouterr().err


def test_components_that_were_changed_are_refused_at_the_start(copy: Path, records: Path) -> None:
    (copy / FILE).write_bytes((copy / FILE).read_bytes()[:-4] + b"1234")
    with pytest.raises(UserError, match=r"components\.npy is corrupted"):
        Predictor(copy, inner=True)


def test_a_failing_projection_fails_no_request_and_no_count(
    unpacked: Path, records: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = handler_of(unpacked)
    broken = Components(np.zeros(3, np.float32), np.zeros((2, 3), np.float32))
    monkeypatch.setattr(made.counting, "components", broken)
    record = recorded(made, records)
    assert "component_1" not in record["features"]
    assert made.counting.counts.predictions["user"] == {"cat": 1}
