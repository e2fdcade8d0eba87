"""The registry that the environment names. MLflow is imported when a registry is opened, and by nothing else."""

from handler.files import UserError
from training.registry.registry import Registry
from training.tracking.choice import REQUIREMENTS


def open_registry() -> Registry:
    """Return MLflow's registry at MLFLOW_TRACKING_URI, by default in mlflow.db.

    Raises:
        UserError: MLflow is not installed, or the registry cannot be opened.
    """
    check_installed()
    from training.registry.mlflow_registry import MLflowRegistry

    return MLflowRegistry()


def check_installed() -> None:
    """Raise UserError where MLflow, or what it needs for SQLite, is not installed."""
    from importlib.util import find_spec

    for package in ("mlflow", "sqlalchemy"):
        if find_spec(package) is None:
            raise UserError(
                f"The registry needs {package}, which is not installed: pip install --require-hashes -r {REQUIREMENTS}"
            )
