"""A scratch clone with the hooks installed, one for each file of tests."""

from collections.abc import Iterator

import pytest

from tests.project.scratch import Clone


@pytest.fixture(scope="module")
def shared_clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    made = Clone(tmp_path_factory.mktemp("clone") / "catsdogs", tmp_path_factory.mktemp("home"))
    made.run(".venv-checks/bin/prek", "install", check=True)
    return made


@pytest.fixture
def clone(shared_clone: Clone) -> Iterator[Clone]:
    yield shared_clone
    shared_clone.reset()
