"""Runs in the real MLflow, on SQLite: what is recorded, and that training needs none of it."""

import json
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image

from handler.files import UserError
from tests.training.train_support import TINY, draw_manifest, history, settings
from tests.zoo import ROOT
from training.cli.train_progress import TrainProgress
from training.learning.checkpoint import load_checkpoint, load_trained
from training.learning.history import EpochLine
from training.tracking.record import Record, read_record, write_record
from training.tracking.tracker import Guarded, LoggedModel

Invoke = Callable[..., str]
ARGUMENTS = settings(TINY)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with data/, in whose mlflow.db the module's runs are."""
    folder = tmp_path_factory.mktemp("tracking")
    draw_manifest(folder, {"train": 8, "val": 3, "test": 3})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        patch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "1")
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        yield folder


@pytest.fixture(scope="module")
def client(work: Path) -> Any:
    from mlflow.tracking import MlflowClient

    import training.tracking.mlflow_tracker  # noqa: F401

    return MlflowClient(f"sqlite:///{work}/mlflow.db")


@pytest.fixture(scope="module")
def tracked(work: Path, invoke: Invoke) -> Path:
    """The folder of a run that was trained and evaluated with a tracker."""
    run = work / "runs" / "first"
    invoke("train", "--data", work / "data", "--run", run, "--tracker", "mlflow", *ARGUMENTS)
    invoke("evaluate", "--data", work / "data", "--run", run)
    return run


@pytest.fixture
def found(tracked: Path, client: Any) -> Any:
    record = read_record(tracked)
    assert record is not None
    return client.get_run(record.run)


def test_a_run_has_a_readable_name_every_value_of_its_config_and_says_what_it_was_made_of(
    found: Any, tracked: Path
) -> None:
    assert found.info.run_name.startswith("baseline_freeze_false_")
    assert "lr0.01" in found.info.run_name
    assert found.data.params["train.learning_rate"] == "0.01"
    assert found.data.params["model.arch"] == "baseline"
    assert found.data.tags["data_sha256"] == load_checkpoint(tracked / "best.pt").manifest_sha256
    assert found.data.tags["git_sha"] == load_checkpoint(tracked / "best.pt").git_sha
    assert found.data.tags["version.torch"] == load_checkpoint(tracked / "best.pt").versions["torch"]
    assert found.info.status == "FINISHED"


@pytest.mark.parametrize("figure", ["train_loss", "val_loss", "val_accuracy", "pictures_per_s"])
def test_the_curves_are_those_of_the_history(found: Any, tracked: Path, client: Any, figure: str) -> None:
    points = client.get_metric_history(found.info.run_id, figure)
    assert [(point.step, point.value) for point in points] == [
        (row["epoch"], pytest.approx(row[figure])) for row in history(tracked)
    ]


def test_an_evaluation_adds_the_accuracy_with_its_interval_and_the_pictures_of_its_figures(
    found: Any, tracked: Path, client: Any
) -> None:
    (source,) = json.loads((tracked / "evaluation" / "report.json").read_bytes())["slices"].values()
    for name, key in (("accuracy", "accuracy"), ("accuracy_low", "low"), ("accuracy_high", "high"), ("ece", "ece")):
        assert found.data.metrics[f"test/all/{name}"] == pytest.approx(source[key])
    files = {file.path for file in client.list_artifacts(found.info.run_id, "evaluation/test")}
    assert files == {
        f"evaluation/test/{name}"
        for name in (
            "report.json",
            "confusion-all.png",
            "pr-all.png",
            "reliability-all.png",
            "slices-all.png",
            "mistakes.png",
        )
    }
    assert {"config.yaml", "history.csv", "curves.png"} <= {
        file.path for file in client.list_artifacts(found.info.run_id)
    }


def test_figures_of_the_system_are_recorded(found: Any) -> None:
    assert found.data.metrics["system/system_memory_usage_megabytes"] > 0


def test_the_network_has_a_signature_and_an_input_example_and_answers_as_the_checkpoint_does(
    found: Any, tracked: Path
) -> None:
    import mlflow.pyfunc

    (logged,) = found.outputs.model_outputs
    loaded = mlflow.pyfunc.load_model(f"models:/{logged.model_id}")
    (image,) = loaded.metadata.get_input_schema().inputs
    assert (image.name, image.type, image.shape) == ("image", np.dtype(np.uint8), (-1, 32, 32, 3))
    assert loaded.input_example["image"].shape == (1, 32, 32, 3)
    picture = np.asarray(Image.open(next((tracked.parents[1] / "pictures").rglob("*.png"))).resize((32, 32)))[None]
    with torch.inference_mode():
        wanted = load_trained(load_checkpoint(tracked / "best.pt"))(torch.from_numpy(picture.copy())).numpy()
    np.testing.assert_allclose(loaded.predict({"image": picture})["logits"], wanted, atol=1e-5)


def test_a_stopped_run_is_marked_so_and_goes_on_as_the_same_run_with_each_epoch_once(
    work: Path, invoke: Invoke, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, told = work / "runs" / "stopped", TrainProgress.on_epoch

    def stop(self: TrainProgress, line: EpochLine) -> None:
        if line.epoch == 2:  # which is saved and not recorded yet
            raise KeyboardInterrupt
        told(self, line)

    arguments = ["train", "--data", work / "data", "--run", run]
    monkeypatch.setattr(TrainProgress, "on_epoch", stop)
    with pytest.raises(UserError, match="Stopped"):
        invoke(*arguments, "--tracker", "mlflow", *ARGUMENTS)
    before = read_record(run)
    assert before is not None
    assert client.get_run(before.run).info.status == "KILLED"
    monkeypatch.undo()
    invoke(*arguments, "--resume")
    after = read_record(run)
    assert after is not None
    assert (after.run, after.epochs) == (before.run, 3)
    assert [point.step for point in client.get_metric_history(after.run, "val_loss")] == [1, 2, 3]
    assert client.get_run(after.run).info.status == "FINISHED"


# Kills itself when two epochs are recorded: after the tracker has the second one, and before tracking.json says so; or
# when its checkpoint is written, and the tracker has not heard of it.
KILLED = """
import os, signal, sys
import catsdogs
from training.cli import train_progress
from training.tracking import tracked_run

write, told = tracked_run.write_record, train_progress.TrainProgress.on_epoch


def die(*ignored):
    os.kill(os.getpid(), signal.SIGKILL)


def write_or_die(folder, record):
    die() if record.epochs == 2 else write(folder, record)


def tell_or_die(self, line):
    die() if line.epoch == 2 else told(self, line)


moment = sys.argv.pop(1)
if moment == "recorded":
    tracked_run.write_record = write_or_die
else:
    train_progress.TrainProgress.on_epoch = tell_or_die
catsdogs.main()
"""


@pytest.mark.parametrize("moment", ["recorded", pytest.param("saved", marks=pytest.mark.slow)])
def test_a_run_after_kill_9_goes_on_as_the_same_run_with_each_epoch_once(
    work: Path, invoke: Invoke, client: Any, moment: str
) -> None:
    run = work / "runs" / f"killed-{moment}"
    arguments = ["train", "--data", str(work / "data"), "--run", str(run)]
    command = [sys.executable, "-c", KILLED, moment, *arguments, "--tracker", "mlflow", *ARGUMENTS]
    killed = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert killed.returncode == -signal.SIGKILL
    before = read_record(run)
    assert before is not None
    assert before.epochs == 1
    assert len(client.get_metric_history(before.run, "val_loss")) == (2 if moment == "recorded" else 1)
    runs = len(client.search_runs(["1"]))
    invoke(*arguments, "--resume")
    after = read_record(run)
    assert after is not None
    assert (after.run, after.epochs) == (before.run, 3)
    assert len(client.search_runs(["1"])) == runs
    for figure in ("val_loss", "best_val_accuracy"):
        assert [point.step for point in client.get_metric_history(after.run, figure)] == [1, 2, 3]
    assert client.get_run(after.run).info.status == "FINISHED"


def test_a_password_in_the_trackers_address_is_neither_stored_nor_told(tmp_path: Path) -> None:
    secret, told = "https://user:p@ssw0rd@mlflow.example/path", list[str]()
    write_record(tmp_path, Record("mlflow", secret, "1"))
    assert "ssw0rd" not in (tmp_path / "tracking.json").read_text()
    record = read_record(tmp_path)
    assert record is not None
    assert record.place == "https://mlflow.example/path"
    broken = mock.Mock(log=mock.Mock(side_effect=OSError(f"no route to {secret}")))
    Guarded(broken, told.append).log({}, 1)
    assert told == ["Warning: the run continues, but is no longer tracked: no route to https://mlflow.example/path"]


def test_a_network_that_cannot_be_exported_does_not_fail_the_run() -> None:
    def fail() -> LoggedModel:
        raise RuntimeError("no exporter")

    told = list[str]()
    Guarded(mock.Mock(), told.append).model(fail)
    assert told == ["Warning: the run continues, but is no longer tracked: no exporter"]


def test_training_goes_on_where_the_server_is_away(
    work: Path, invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    said = invoke("train", "--data", work / "data", "--run", tmp_path, "--tracker", "mlflow", *ARGUMENTS)
    assert said.count("Warning: the run continues, but is no longer tracked") == 1
    assert len(history(tmp_path)) == 3


def test_training_goes_on_without_mlflow_and_says_how_to_install_it(
    work: Path, invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "training.tracking.mlflow_tracker", raising=False)
    monkeypatch.setitem(sys.modules, "mlflow", None)  # what Python has where an import is refused
    said = invoke("train", "--data", work / "data", "--run", tmp_path, "--tracker", "mlflow", *ARGUMENTS)
    assert "mlflow is not installed: pip install --require-hashes -r requirements/tracking.txt" in said
    assert len(history(tmp_path)) == 3
    assert not (tmp_path / "tracking.json").exists()


def test_nothing_is_tracked_and_no_tracker_is_imported_unless_one_is_asked_for(
    work: Path, invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("training.tracking.mlflow_tracker", "training.tracking.wandb_tracker"):
        monkeypatch.setitem(sys.modules, name, None)
    said = invoke("train", "--data", work / "data", "--run", tmp_path, *ARGUMENTS)
    assert "Warning" not in said
    assert not (tmp_path / "tracking.json").exists()


def test_weights_and_biases_records_the_same_run_offline(
    work: Path, invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = tmp_path / "run"
    said = invoke("train", "--data", work / "data", "--run", run, "--tracker", "wandb", *ARGUMENTS)
    assert "Warning" not in said
    (file,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    record = read_record(run)
    assert record is not None
    assert file.name == f"run-{record.run}.wandb"
    # Its service closes the file on its own time, once the run has ended.
    deadline = time.monotonic() + 60
    while not (found := read_offline(file))[0] and time.monotonic() < deadline:
        time.sleep(0.1)
    losses, learning_rate = found
    assert losses == [pytest.approx(row["val_loss"]) for row in history(run)]
    assert learning_rate == "0.01"


def read_offline(path: Path) -> tuple[list[float], str]:
    """Return the validation losses and the learning rate in a file that `wandb sync` would send."""
    from wandb.proto import wandb_internal_pb2

    losses, rate = list[float](), ""
    for raw in log_records(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(raw)
        items = {item.key or ".".join(item.nested_key): item.value_json for item in record.history.item}
        losses += [float(items["val_loss"])] if "val_loss" in items else []
        updates = record.run.config.update
        rate = next((item.value_json for item in updates if item.key == "train.learning_rate"), rate)
    return losses, rate


def log_records(file: bytes) -> Iterator[bytes]:
    """Yield the records of a log in LevelDB's format: blocks of 32 KiB, records in pieces with a header of 7 bytes."""
    at, whole = 7, b""  # after the file's own header
    while at + 7 <= len(file):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", file[at : at + 7])
        if at + 7 + length > len(file):
            return  # not written to its end yet
        whole += file[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole record, or the last piece of one
            yield whole
            whole = b""


@pytest.mark.slow
def test_a_sweep_trains_every_combination_and_nests_the_runs_under_one(work: Path, invoke: Invoke, client: Any) -> None:
    out = work / "runs" / "sweep"
    fixed = settings([setting for setting in TINY if not setting.startswith("train.learning_rate")])
    varied = ["--set", "train.learning_rate=0.001,0.01"]
    arguments = ["--data", work / "data", "--out", out, "--jobs", str(min(2, os.cpu_count() or 1))]
    said = invoke("sweep", *arguments, *fixed, *varied, "--tracker", "mlflow")
    names = ["learning_rate-0.001", "learning_rate-0.01"]
    assert [len(history(out / name)) for name in names] == [3, 3]
    assert [line.split(",")[0] for line in (out / "sweep.csv").read_text().splitlines()] == ["run", *names]
    assert "To evaluate the best run: catsdogs evaluate --run" in said
    parent = read_record(out)
    assert parent is not None
    for name, rate in zip(names, ["0.001", "0.01"], strict=True):
        child = read_record(out / name)
        assert child is not None
        nested = client.get_run(child.run)
        assert nested.data.tags["mlflow.parentRunId"] == parent.run
        assert nested.data.params["train.learning_rate"] == rate
    best = max(row["val_accuracy"] for name in names for row in history(out / name))
    assert client.get_run(parent.run).data.metrics["best_val_accuracy"] == pytest.approx(best)


@pytest.mark.slow
def test_cross_validation_measures_each_picture_once_and_nests_the_folds_under_one(
    work: Path, invoke: Invoke, client: Any
) -> None:
    out = work / "runs" / "cv"
    said = invoke("cv", "--folds", "2", "--data", work / "data", "--out", out, *ARGUMENTS, "--tracker", "mlflow")
    rows = [line.split(",") for line in (out / "cv.csv").read_text().splitlines()[1:]]
    assert sum(int(row[1]) for row in rows) == 22
    right = sum(round(float(row[1]) * float(row[3])) for row in rows)
    assert f"accuracy over 2 folds: {100 * right / 22:.2f} %" in said
    parent = read_record(out)
    assert parent is not None
    assert client.get_run(parent.run).data.metrics["cv_accuracy"] == pytest.approx(right / 22)
    for fold in ("fold-1", "fold-2"):
        child = read_record(out / fold)
        assert child is not None
        assert client.get_run(child.run).data.tags["mlflow.parentRunId"] == parent.run
