"""The verb as a user calls it."""

from collections.abc import Callable
from pathlib import Path

import click.testing
import pytest

import catsdogs

Call = Callable[..., click.testing.Result]


@pytest.fixture
def call() -> Call:
    """call("review", place, ...): the result of `catsdogs feedback`."""

    def run(*arguments: str | Path) -> click.testing.Result:
        words = [str(argument) for argument in arguments]
        return click.testing.CliRunner().invoke(catsdogs.cli, ["feedback", *words], catch_exceptions=False)

    return run
