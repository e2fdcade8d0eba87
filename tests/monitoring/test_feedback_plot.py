"""The plot of `catsdogs feedback accuracy`, in the environment of the load test, which has no HTTP client."""

from pathlib import Path

import click.testing
import pytest
from PIL import Image

import catsdogs
from handler.files import UserError
from monitoring.feedback.accuracy import CAVEAT
from tests.feedback.support import MODEL, give


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return a place with feedback on two versions over three days."""
    for number in range(24):
        day, model = f"2026-11-{20 + number % 3}", {**MODEL, "version": f"1.{number % 2}.0"}
        data, label = str(number).encode(), ("cat", "dog")[number % 5 == 0]
        give(tmp_path / "feedback", number, data, day=day, model=model, label=label, predicted="cat", picture=None)
    return tmp_path / "feedback"


def call(*arguments: str | Path) -> click.testing.Result:
    words = [str(argument) for argument in arguments]
    return click.testing.CliRunner().invoke(catsdogs.cli, ["feedback", "accuracy", *words], catch_exceptions=False)


def test_a_point_stands_for_each_day_and_version(place: Path, tmp_path: Path) -> None:
    done = call(place, "--png", tmp_path / "plot.png", "--html", tmp_path / "page.html")
    assert done.exit_code == 0, done.output
    with Image.open(tmp_path / "plot.png") as plot:
        assert plot.format == "PNG"
        colors = {color for _, color in plot.convert("RGB").getcolors(1 << 20) or []}
    # matplotlib's first two colors, one a version.
    assert {(31, 119, 180), (255, 127, 14)} <= colors
    page = (tmp_path / "page.html").read_text()
    assert CAVEAT in page
    assert page.count("<td>1.0.0</td>") == 4
    assert 'src="data:image/png;base64,' in page
    assert "http" not in page


def test_a_place_without_counted_records_is_drawn_too(tmp_path: Path) -> None:
    give(tmp_path / "feedback", 1, b"1", label="other", picture=None)
    done = call(tmp_path / "feedback", "--png", tmp_path / "plot.png")
    assert done.exit_code == 0, done.output
    with Image.open(tmp_path / "plot.png") as plot:
        assert plot.width == 960


def test_without_the_library_it_says_what_to_install(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "monitoring.feedback.accuracy_report", None)
    with pytest.raises(UserError, match="requirements/load"):
        call(place, "--png", tmp_path / "plot.png")
    assert not (tmp_path / "plot.png").exists()
