"""Drift of real photographs is told of by the rules."""

import os
from pathlib import Path

import pytest

from tests.monitoring.delays import table


@pytest.mark.pictures
def test_each_shift_is_told_by_a_reference_of_the_same_photographs() -> None:
    delays, _ = table(Path(os.environ["CATSDOGS_PHOTOS"]))
    # The shipped reference has no sharpness, and the model is little less certain of blurred photographs.
    assert [(shift.partition(" ")[0], told) for (shift, told, _), pictures in delays.items() if pictures is None] == [
        *([("blurred", "shipped")] * 2),
        *([("enlarged", "shipped")] * 2),
    ]
    assert max(pictures for pictures in delays.values() if pictures is not None) < 8000
