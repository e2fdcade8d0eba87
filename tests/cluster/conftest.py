"""A cluster by KUBECONFIG, and what is told of it at the end."""

import os
from collections.abc import Iterator

import pytest

from tests.cluster.support import Cluster

TOLD: list[str] = []


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    assert os.environ.get("KUBECONFIG"), "These tests need a cluster: set KUBECONFIG, or run them by `make e2e`."
    return Cluster()


@pytest.fixture(scope="module")
def namespace(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """Yield a namespace of this module's own, named after it."""
    name = request.module.__name__.rpartition(".")[2].removeprefix("test_").replace("_", "-")
    with cluster.namespace(f"catsdogs-{name}") as made:
        yield made


@pytest.fixture(scope="session")
def tell() -> list[str]:
    """Lines for the end of the run: what was counted."""
    return TOLD


def pytest_configure(config: pytest.Config) -> None:
    # Kubernetes' client leaves its connections to the garbage collector.
    config.addinivalue_line(
        "filterwarnings", "ignore:.*unclosed <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning"
    )
    config.addinivalue_line("filterwarnings", "ignore:unclosed <ssl.SSLSocket:ResourceWarning")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in TOLD:
        terminalreporter.write_line(line)
