"""The values by which the chart serves a registered version from an MLflow server."""

import os
from collections.abc import Mapping
from typing import Any

import yaml

from handler.files import UserError
from training.registry.registry import ARCHIVE, ARCHIVE_SHA256, Version
from training.tracking.tracker import without_credentials

TRACKING_URI = "MLFLOW_TRACKING_URI"


def server() -> str | None:
    """Return the URL of the MLflow server that MLFLOW_TRACKING_URI names, or None for a file."""
    place = os.environ.get(TRACKING_URI, "")
    return without_credentials(place) if place.startswith(("http://", "https://")) else None


def values_of(server: str, version: Version) -> dict[str, str]:
    """Return the chart's values by name.

    Args:
        server: URL of the MLflow server.
    """
    query = f"name={version.name}&version={version.number}&path={version.tags[ARCHIVE]}"
    return {
        "model.source": "http",
        "model.http.url": f"{server.rstrip('/')}/model-versions/get-artifact?{query}",
        "model.sha256": version.tags[ARCHIVE_SHA256],
    }


def values_file(version: Version) -> str:
    """Return the YAML that `helm upgrade --values` takes to serve a version.

    Raises:
        UserError: the registry is no server, so pods could not fetch from it.
    """
    place = server()
    if place is None:
        raise UserError(
            f"The chart cannot fetch {version} from this registry: {TRACKING_URI} must be the address of an MLflow "
            "server."
        )
    return yaml.safe_dump(nested(values_of(place, version)), sort_keys=True)


def nested(values: Mapping[str, str]) -> dict[str, Any]:
    """Return values by name as the tree that a file of values has."""
    tree: dict[str, Any] = {}
    for name, value in values.items():
        *path, last = name.split(".")
        branch = tree
        for part in path:
            branch = branch.setdefault(part, {})
        branch[last] = value
    return tree
