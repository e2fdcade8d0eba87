"""MLflow's model registry, at MLFLOW_TRACKING_URI, by default in mlflow.db of the working folder.

A version's files lie with its training run, under registry/<sha256 of the release>.
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from handler.files import UserError, first_line
from training.registry.registry import CHAMPION, RELEASE, RELEASE_SHA256, Version

# It sets MLflow's environment before MLflow is imported.
from training.tracking.mlflow_tracker import STATUS, FailedCall, MLflowTracker
from training.tracking.tracker import without_credentials

FOLDER = "registry"
MISSING = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


class MLflowRegistry:
    """The client of one tracking server or database."""

    def __init__(self) -> None:
        self._tracker = MLflowTracker()
        self.place = without_credentials(self._tracker.place)
        with self._explained():
            self.client = self._tracker.client()

    def versions(self, name: str) -> list[Version]:
        with self._explained():
            rows, token = [], None
            while True:
                page = self.client.search_model_versions(f"name = '{name}'", max_results=200, page_token=token)
                rows += list(page)
                if not (token := page.token):
                    return sorted(map(_version, rows), key=lambda version: version.number)

    def champion(self, name: str, alias: str = CHAMPION) -> Version | None:
        with self._explained():
            try:
                return _version(self.client.get_model_version_by_alias(name, alias))
            except FailedCall as error:
                if error.error_code in MISSING:
                    return None
                raise

    def register(self, name: str, folder: Path, run: str | None, tags: Mapping[str, str]) -> Version:
        with self._explained():
            found = self._run(run)
            if found is None:
                called = f"release_{name}_{tags.get(RELEASE, '')}"
                found = self.client.create_run(self._tracker.experiment(), run_name=called, tags={"kind": "release"})
                self.client.set_terminated(found.info.run_id, STATUS["finished"])
            where = f"{FOLDER}/{tags[RELEASE_SHA256][:16]}"
            self.client.log_artifacts(found.info.run_id, str(folder), where)
            self._create_model(name)
            source = f"{found.info.artifact_uri.rstrip('/')}/{where}"
            return _version(self.client.create_model_version(name, source, found.info.run_id, tags=dict(tags)))

    def tag(self, version: Version, tags: Mapping[str, str]) -> None:
        with self._explained():
            for key, value in tags.items():
                self.client.set_model_version_tag(version.name, str(version.number), key, value)

    def move(self, version: Version, alias: str = CHAMPION) -> None:
        with self._explained():
            self.client.set_registered_model_alias(version.name, alias, str(version.number))

    def attach(self, version: Version, folder: Path, to: str) -> None:
        with self._explained():
            run = self.client.get_model_version(version.name, str(version.number)).run_id
            self.client.log_artifacts(run, str(folder), to)

    def download(self, version: Version, out: Path) -> Path:
        import mlflow.artifacts

        with self._explained():
            uri = self.client.get_model_version_download_uri(version.name, str(version.number))
            return Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(out)))

    def _create_model(self, name: str) -> None:
        try:
            self.client.create_registered_model(name)
        except FailedCall as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _run(self, run: str | None) -> Any:
        """Return a run that is there and not deleted, or None."""
        if run is None:
            return None
        try:
            found: Any = self.client.get_run(run)
        except FailedCall as error:
            if error.error_code in MISSING:
                return None
            raise
        return found if found.info.lifecycle_stage == "active" else None

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn MLflow's errors into one sentence."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        except UserError:
            raise
        except (FailedCall, OSError) as error:  # requests' errors of an upload are OSErrors
            reason = without_credentials(first_line(error)).rstrip(".")
            raise UserError(f"The registry {self.place} refuses or does not answer: {reason}.") from error


def _version(row: Any) -> Version:
    return Version(str(row.name), int(row.version), dict(row.tags))
