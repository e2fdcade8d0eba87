"""summary.schema.json."""

import json
from pathlib import Path

import jsonschema_rs
import pytest

from common.verdicts import Verdict
from loadtest.judge.summary import SCHEMA, schema
from loadtest.report.report import write
from tests.loadtest.support import build


def test_the_schema_is_that_of_the_types() -> None:
    assert SCHEMA.read_text() == schema(), "make it anew: python -m loadtest.judge.summary"


@pytest.mark.parametrize("failing", [0.002, 1.0])
def test_what_is_written_is_valid_by_the_schema(tmp_path: Path, failing: float) -> None:
    write(build(failing=failing), tmp_path)
    jsonschema_rs.validate(json.loads(SCHEMA.read_text()), json.loads((tmp_path / "summary.json").read_text()))


def test_what_is_no_summary_is_not_valid(tmp_path: Path) -> None:
    write(build(), tmp_path)
    values = json.loads((tmp_path / "summary.json").read_text())
    values["verdict"] = "GREAT"
    assert not jsonschema_rs.is_valid(json.loads(SCHEMA.read_text()), values)


def test_each_verdict_has_an_exit_code_of_its_own() -> None:
    assert len({build(verdict=verdict, duration=10).exit_code for verdict in Verdict}) == len(Verdict)
