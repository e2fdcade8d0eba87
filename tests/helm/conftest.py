"""Kubernetes' schemas, read once."""

import functools
from collections.abc import Iterator

import pytest
from kubernetes_validate import utils


@pytest.fixture(scope="session", autouse=True)
def _schemas_are_read_once() -> Iterator[None]:
    """Keep the schemas in memory: reading them is most of a validation's time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, "schema_contents", functools.cache(utils.schema_contents))
        yield
