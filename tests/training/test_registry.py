"""Selection, promotion, rollback and history in the real MLflow, on SQLite."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click.testing
import pytest

import catsdogs
from handler.files import UserError, sha256_file
from tests.training.train_support import TINY, draw_manifest, settings, tiny
from training.data import manifest as manifests
from training.data.manifest import Manifest, Prepared
from training.learning.checkpoint import load_checkpoint, save_checkpoint
from training.learning.train import train
from training.registry.registry import Registry, find_version
from training.release.export import export

Invoke = Callable[..., str]
LOOSE = ("--margin", "20", "--max-log-loss-increase", "5", "--max-slowdown", "50", "--max-growth", "3")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that is the working folder: data/, and three releases of which one answers all pictures wrongly."""
    folder = tmp_path_factory.mktemp("registry")
    many = draw_manifest(folder, {"train": 12, "val": 4, "test": 24})
    best = train(tiny("train.epochs=6"), many, folder / "run")
    good = load_checkpoint(best)
    save_checkpoint(good, folder / "good.pt")
    bad = {name: -tensor if "head" in name else tensor for name, tensor in good.ema.items()}
    nearly = {name: tensor * 1.01 if "head" in name else tensor for name, tensor in good.ema.items()}
    for version, checkpoint in (
        ("1.0.0", good),
        ("2.0.0", dataclasses.replace(good, ema=nearly)),
        ("3.0.0", dataclasses.replace(good, ema=bad)),
    ):
        export(checkpoint, many, folder / version, version, None, name="pets", run_id=f"run-{version}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        patch.setenv("CATSDOGS_WHO", "a tester")
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def registry(work: Path) -> Registry:
    from training.registry.open_registry import open_registry

    return open_registry()


def call(*arguments: str | Path, exit_code: int = 0) -> str:
    done = click.testing.CliRunner().invoke(catsdogs.cli, list(map(str, arguments)), catch_exceptions=False)
    assert done.exit_code == exit_code, done.output
    return done.stdout


def record_in(output: str) -> dict[str, Any]:
    (line,) = [line for line in output.splitlines() if line.endswith("record.json")]
    values: dict[str, Any] = json.loads(Path(line).read_bytes())
    return values


def champion(registry: Registry) -> int:
    version = registry.champion("pets")
    assert version is not None
    return version.number


@pytest.fixture(scope="module")
def first(work: Path, registry: Registry) -> str:
    assert registry.champion("pets") is None
    return call("promote", "1.0.0", "--archive", "served.mar")


@pytest.fixture(scope="module")
def second(first: str, registry: Registry) -> str:
    return call("promote", "2.0.0", *LOOSE, "--archive", "served.mar")


@pytest.fixture(scope="module")
def refused(second: str) -> str:
    return call("promote", "3.0.0", *LOOSE, "--archive", "served.mar", exit_code=10)


@pytest.fixture(scope="module")
def back(refused: str, work: Path) -> str:
    assert sha256_file(work / "served.mar") == sha256_of_archive("models:/pets/2")
    return call("rollback", "--name", "pets", "--archive", "served.mar", "--reason", "a customer complained")


def sha256_of_archive(address: str) -> str:
    from training.registry.open_registry import open_registry

    return find_version(open_registry(), address).tags["archive_sha256"]


def test_the_first_version_is_the_champion_and_its_record_says_that_nothing_was_compared(
    first: str, work: Path
) -> None:
    record = record_in(first)
    assert (record["verdict"], record["alias_moved"], record["champion"]) == ("PASS", True, None)
    (check,) = record["checks"]
    assert check["sentence"].startswith("There is no champion to compare with. 48 of 48 test pictures are right")
    assert (record["who"], record["candidate"]["run_id"]) == ("a tester", "run-1.0.0")


def test_a_candidate_that_passes_takes_the_place_of_the_champion(second: str) -> None:
    record = record_in(second)
    assert (record["verdict"], record["champion"]["version"], record["candidate"]["version"]) == ("PASS", 1, 2)
    assert [check["name"] for check in record["checks"]] == ["accuracy", "slices", "calibration", "latency", "size"]
    assert all(check["figures"] for check in record["checks"])
    assert record["discordant"] == []


def test_a_worse_candidate_is_registered_and_refused_and_the_record_names_each_discordant_picture(
    refused: str, work: Path, registry: Registry
) -> None:
    record = record_in(refused)
    assert (record["verdict"], record["exit_code"], record["alias_moved"]) == ("BREACH", 10, False)
    verdicts = {check["name"]: check["verdict"] for check in record["checks"]}
    assert (verdicts["accuracy"], verdicts["slices"]) == ("BREACH", "BREACH")
    assert len(record["discordant"]) == 48
    picture = record["discordant"][0]
    assert picture["sha256"] == sha256_file(work / "pictures" / picture["path"])
    assert picture["old"] == picture["truth"] != picture["new"]
    assert "pets version 2 (release 2.0.0) stays the champion" in record["sentence"]
    assert [version.tags["verdict"] for version in registry.versions("pets")] == ["PASS", "PASS", "BREACH"]


def test_a_rollback_names_the_champion_before_and_writes_its_archive_and_a_record(
    back: str, work: Path, registry: Registry
) -> None:
    assert champion(registry) == 1
    assert sha256_file(work / "served.mar") == sha256_of_archive("models:/pets/1")
    record = record_in(back)
    assert (record["action"], record["reason"], record["alias_moved"]) == ("rollback", "a customer complained", True)
    assert (record["champion"]["version"], record["target"]["version"]) == (2, 1)


def test_there_is_no_way_back_behind_the_first_champion_or_to_a_version_that_never_passed(
    back: str, registry: Registry
) -> None:
    with pytest.raises(UserError, match="was the first champion: there is none before it"):
        call("rollback", "--name", "pets")
    with pytest.raises(UserError, match=r"version 3 .* was never the champion"):
        call("rollback", "--name", "pets", "--to", "3")
    call("rollback", "--name", "pets", "--to", "2")
    assert champion(registry) == 2


def test_records_are_kept_beside_the_files_of_the_version(refused: str, registry: Registry) -> None:
    from training.registry.mlflow_registry import MLflowRegistry

    assert isinstance(registry, MLflowRegistry)
    row = registry.client.get_model_version("pets", "3")
    (folder,) = registry.client.list_artifacts(row.run_id, "promotions")
    names = {Path(file.path).name for file in registry.client.list_artifacts(row.run_id, folder.path)}
    assert {"record.json", "compare.json", "differences.jpg"} <= names


def test_the_release_and_the_archive_come_from_the_alias_byte_for_byte(back: str, work: Path) -> None:
    for address, release in (("models:/pets/1", "1.0.0"), ("models:/pets/3", "3.0.0")):
        call("package", address, "--out", "out.mar", "--replace")
        call("package", release, "--out", "direct.mar", "--replace")
        assert sha256_file(work / "out.mar") == sha256_file(work / "direct.mar") == sha256_of_archive(address)
    with pytest.raises(UserError, match="has no models:/pets@staging"):
        call("package", "models:/pets@staging")


def test_values_of_the_chart_need_a_registered_version_on_a_server(back: str, registry: Registry) -> None:
    file = Path("values.yaml")
    with pytest.raises(UserError, match=r"cannot fetch pets version 1 .* must be the address of an MLflow server"):
        call("package", "models:/pets/1", "--chart-values", str(file))
    call("package", "1.0.0", "--chart-values", str(file), exit_code=2)
    assert not file.exists()


def test_the_champion_is_not_promoted_again(back: str, registry: Registry) -> None:
    number = champion(registry)
    with pytest.raises(UserError, match="is the champion already, with the same files"):
        call("promote", f"{number}.0.0")


def test_another_test_split_than_the_champions_is_invalid_until_it_is_accepted(
    back: str, work: Path, registry: Registry
) -> None:
    many = manifests.read(work / "data")
    fewer = [picture for picture in many.pictures if picture != many.split("test")[0]]
    manifests.write(Prepared(many.root, fewer, []), work / "fewer")
    output = call("promote", "3.0.0", "--data", "fewer", *LOOSE, exit_code=12)
    assert "The test pictures are not those that" in record_in(output)["checks"][0]["sentence"]
    record = record_in(call("promote", "3.0.0", "--data", "fewer", *LOOSE, "--new-test-set", exit_code=10))
    assert record["test_pictures"] == 47


def test_too_few_pictures_are_inconclusive(back: str) -> None:
    output = call("promote", release_that_is_not_champion(), "--max-slowdown", "50", exit_code=11)
    record = record_in(output)
    assert record["verdict"] == "INCONCLUSIVE"
    assert "too few pictures to tell" in record["checks"][0]["sentence"]


def release_that_is_not_champion() -> str:
    from training.registry.open_registry import open_registry

    return "1.0.0" if champion(open_registry()) == 2 else "2.0.0"


def test_two_promotions_at_once_are_refused(back: str, registry: Registry) -> None:
    from training.registry.turn import turn

    with turn(registry, "pets"), pytest.raises(UserError, match="Another process is changing the champion of pets"):
        call("promote", "3.0.0")


def test_a_champion_that_another_machine_changes_meanwhile_is_not_overwritten(
    back: str, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training.registry import promote

    before, candidate = champion(registry), release_that_is_not_champion()
    monkeypatch.setattr(promote, "same_champion", lambda *_: False)
    output = call("promote", candidate, *LOOSE, exit_code=12)
    assert "Another machine changed the champion" in record_in(output)["sentence"]
    assert champion(registry) == before


@pytest.mark.parametrize("moment", ["tag", "move"])
def test_a_promotion_that_is_killed_leaves_the_champion_as_it_was_and_can_be_repeated(
    back: str, registry: Registry, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    from training.registry.mlflow_registry import MLflowRegistry

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    before, candidate, count = champion(registry), release_that_is_not_champion(), len(registry.versions("pets"))
    monkeypatch.setattr(MLflowRegistry, moment, die)
    result = click.testing.CliRunner().invoke(catsdogs.cli, ["promote", candidate, *LOOSE])
    assert result.exit_code != 0
    assert champion(registry) == before
    monkeypatch.undo()
    newest = max(Path("model-store/promotions/pets").iterdir(), key=lambda folder: folder.stat().st_mtime_ns)
    record = json.loads((newest / "record.json").read_bytes())
    assert (record["outcome"], record["alias_moved"]) == ("STOPPED", False)
    call("promote", candidate, *LOOSE)
    assert champion(registry) != before
    assert len(registry.versions("pets")) == count
    call("rollback", "--name", "pets", "--to", str(before))


def test_a_damaged_file_in_the_registry_stops_a_rollback_before_anything_is_moved(
    back: str, registry: Registry, tmp_path: Path
) -> None:
    before = champion(registry)
    other = 3 - before
    folder = registry.download(find_version(registry, f"models:/pets/{other}"), tmp_path)
    stored = next(Path("mlruns").rglob(f"registry/{folder.name}/release/release.json"))
    whole = stored.read_bytes()
    stored.write_bytes(whole.replace(b"pets", b"pest"))
    try:
        with pytest.raises(UserError, match="is corrupted: the SHA-256 of release"):
            call("rollback", "--name", "pets", "--to", str(other))
    finally:
        stored.write_bytes(whole)
    assert champion(registry) == before


def test_the_history_compares_all_versions_on_the_same_pictures(back: str, work: Path, registry: Registry) -> None:
    output = call("history", "--name", "pets", "--out", "history")
    report = json.loads((work / "history" / "history.json").read_bytes())
    assert [row["right"] for row in report["versions"]] == [48, 48, 0]
    assert [row["champion"] for row in report["versions"]].index(True) == champion(registry) - 1
    assert (report["versions"][2]["only_champion"], report["versions"][2]["only_this"]) == (48, 0)
    assert report["versions"][2]["run_id"] == "run-3.0.0"
    assert len((work / "history" / "history.csv").read_text().splitlines()) == 4
    assert (work / "history" / "history.png").read_bytes().startswith(b"\x89PNG")
    assert "92.59 to 100.00" in output


@pytest.fixture(scope="module")
def rich(work: Path, invoke: Invoke) -> Path:
    """The better one of two tracked runs."""
    for name, rate in (("poor", "0.000001"), ("rich", "0.01")):
        overrides = settings([*TINY, f"train.learning_rate={rate}"])
        invoke("train", "--data", "data", "--run", f"runs/{name}", "--tracker", "mlflow", *overrides)
    return work / "runs" / "rich"


def test_the_best_run_is_the_one_with_the_best_validation_accuracy_on_these_pictures(work: Path, rich: Path) -> None:
    output = call("select", "--link", "runs/best")
    assert "Best run: baseline_" in output
    assert call("select", "--folder-only").strip() == "runs/rich"
    assert (work / "runs" / "best").resolve() == rich.resolve()
    many = manifests.read(work / "data")
    manifests.write(Prepared(many.root, many.pictures[1:], []), work / "others")
    with pytest.raises(UserError, match="has no finished run that was trained on these pictures"):
        call("select", "--data", "others")


def test_the_page_of_the_experiments_names_the_best_run_and_all_versions(work: Path, rich: Path, back: str) -> None:
    from docs import experiments
    from training.tracking.record import read_record

    call("history", "--name", "pets", "--out", "history")
    report = work / "history" / "history.json"
    recorded = experiments.record(
        work / "data", report, "2026-11-29", "Drawn pictures of two colours, not photographs."
    )
    experiments.write(recorded, work / "page")
    text = (work / "page" / "experiments.md").read_text()
    assert text == experiments.page(json.loads((work / "page" / "experiments.json").read_bytes()))
    record = read_record(rich)
    assert record is not None
    assert f"id `{record.run}`" in text.partition("## Runs")[0]
    assert text.count("| `baseline_") == 2
    assert "| 3 | 3.0.0 | `run-3.0.0` | BREACH | 0.00 (0.00 to 7.41) |" in text
    assert text.count("(champion)") == 1


def test_a_release_is_registered_with_its_run_whose_id_answers_name(
    work: Path, rich: Path, invoke: Invoke, registry: Registry
) -> None:
    from handler.predictor import Predictor
    from training.registry.mlflow_registry import MLflowRegistry
    from training.tracking.record import read_record

    record = read_record(rich)
    assert record is not None
    invoke("export", "--data", "data", "--run", "runs/rich", "--out", "named", "--version", "1", "--allow-poor")
    predictor = Predictor(work / "named")
    picture = predictor.decode(next((work / "pictures").rglob("*.png")).read_bytes())
    (answer,) = predictor.answers(picture[None])
    assert answer["model"]["run_id"] == record.run
    call("promote", "named")
    assert isinstance(registry, MLflowRegistry)
    assert registry.client.get_model_version("named", "1").run_id == record.run


def test_a_model_that_knows_the_test_pictures_is_invalid(work: Path, registry: Registry) -> None:
    many: Manifest = manifests.read(work / "data")
    leaky = [
        dataclasses.replace(picture, split="test") if picture.split == "train" else picture for picture in many.pictures
    ]
    manifests.write(Prepared(many.root, leaky, []), work / "leaky")
    good = load_checkpoint(work / "good.pt")
    export(good, many, work / "other", "1", None, name="other")
    output = call("promote", "other", "--data", "leaky", exit_code=12)
    assert "was trained on 24 of the 72 test pictures" in record_in(output)["checks"][0]["sentence"]
    assert registry.champion("other") is None
