"""Runs in MLflow: at MLFLOW_TRACKING_URI, by default in mlflow.db and mlruns/ of the working folder."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Read by MLflow as it is imported. A server that is away costs seconds, not the minutes of MLflow's defaults.
for _name, _value in {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL": "5",
}.items():
    os.environ.setdefault(_name, _value)

import logging  # noqa: E402
import warnings  # noqa: E402

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import mlflow
    from mlflow.entities import Metric, Param, RunTag
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

from training.tracking.tracker import LoggedModel, Status  # noqa: E402

FailedCall: type[Any] = MlflowException
"""The error of any call to MLflow."""
EXPERIMENT = "catsdogs"
FILE = "mlflow.db"
STATUS = {"finished": "FINISHED", "failed": "FAILED", "killed": "KILLED"}
# A figure that every epoch has.
OF_EACH_EPOCH = "best_val_accuracy"
# MLflow refuses longer ones.
LONGEST_VALUE = 6000


class MLflowTracker:
    """A client of one tracking server or database.

    Args:
        place: URI of the run that is gone on with; MLFLOW_TRACKING_URI comes first.
    """

    def __init__(self, place: str | None = None) -> None:
        logging.getLogger("alembic").setLevel(logging.ERROR)
        self.place = os.environ.get("MLFLOW_TRACKING_URI") or place or f"sqlite:///{Path(FILE).absolute()}"
        self.environment = {"MLFLOW_TRACKING_URI": self.place}
        self._run = ""

    def client(self) -> Any:
        """Return MLflow's client of this place, which its module functions use from now on too."""
        mlflow.set_tracking_uri(self.place)
        self._client = MlflowClient()
        return self._client

    def start(
        self,
        name: str,
        params: Mapping[str, object],
        tags: Mapping[str, str],
        resume: str | None = None,
        parent: str | None = None,
    ) -> str:
        self.client()
        if resume and self._exists(resume):
            run = mlflow.start_run(run_id=resume, log_system_metrics=True)
        else:
            run = mlflow.start_run(
                experiment_id=self.experiment(),
                run_name=name,
                parent_run_id=parent,
                log_system_metrics=True,
                tags={"mlflow.source.name": "catsdogs", **tags},
            )
        self._run = run.info.run_id
        # A run that is gone on with keeps what it was begun with; MLflow refuses another value of a parameter.
        self._client.log_batch(
            self._run,
            params=[
                Param(key, str(value)[:LONGEST_VALUE]) for key, value in params.items() if key not in run.data.params
            ],
            tags=[RunTag(key, value) for key, value in tags.items() if key not in run.data.tags],
        )
        return self._run

    def logged(self) -> int:
        """A batch of figures is stored whole or not at all, so that one of them tells of all."""
        return max((point.step for point in self._client.get_metric_history(self._run, OF_EACH_EPOCH)), default=0)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        now = mlflow.utils.time.get_current_time_millis()
        self._client.log_batch(self._run, metrics=[Metric(key, value, now, step) for key, value in metrics.items()])

    def artifact(self, path: Path, folder: str = "") -> None:
        self._client.log_artifact(self._run, str(path), folder or None)

    def model(self, model: LoggedModel) -> None:
        """Store the network with its signature and an input example; any machine with onnxruntime can load it."""
        import mlflow.onnx
        from mlflow.models import ModelSignature
        from mlflow.types import Schema, TensorSpec

        inputs = TensorSpec(model.example.dtype, (-1, *model.example.shape[1:]), "image")
        outputs = TensorSpec(model.logits.dtype, (-1, *model.logits.shape[1:]), "logits")
        mlflow.onnx.log_model(
            model.onnx,
            name="model",
            signature=ModelSignature(Schema([inputs]), Schema([outputs])),
            input_example={"image": model.example},
            pip_requirements=["mlflow", "onnx", "onnxruntime", "numpy"],
            save_as_external_data=False,
            metadata=dict(model.facts),
        )

    def end(self, status: Status) -> None:
        mlflow.end_run(STATUS[status])

    def experiment(self) -> str:
        """Return the id of the experiment, which MLFLOW_EXPERIMENT_NAME names; processes may begin at once."""
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
        if (found := self._client.get_experiment_by_name(name)) is None:
            try:
                return str(self._client.create_experiment(name, artifact_location=self._artifacts()))
            except MlflowException:
                found = self._client.get_experiment_by_name(name)
                if found is None:
                    raise
        return str(found.experiment_id)

    def _artifacts(self) -> str | None:
        """Return the folder of the runs' files where the runs are in a database: mlruns beside it."""
        kind, _, path = self.place.partition(":///")
        return (Path(path).absolute().parent / "mlruns").as_uri() if kind == "sqlite" else None

    def _exists(self, run: str) -> bool:
        try:
            found: Any = self._client.get_run(run)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise
        return bool(found.info.lifecycle_stage == "active")
