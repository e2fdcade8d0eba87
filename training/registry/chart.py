"""The values by which the chart serves a registered version from an MLflow server."""

from training.registry.registry import ARCHIVE, ARCHIVE_SHA256, Version


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
