"""The checklist: each link leads to a file, test, target, verb or workflow that exists, and the page is current."""

import ast
import re
import textwrap
from pathlib import Path

import click
import pytest
import yaml

import catsdogs
from docs.checklist import DATA, DELIVERY, Link, Row, checklist, read
from tests.zoo import ROOT

LISTS = read()
ROWS = [row for each in LISTS for row in each.rows]
LINKS = sorted({link for row in ROWS for link in row.links}, key=str)
MAKEFILE = (ROOT / "Makefile").read_text()


def problem(link: Link) -> str | None:
    """Return what is wrong with a link, if anything is."""
    if link.path is not None and not (ROOT / link.path).exists():
        return f"{link.path} is not there"
    if link.kind == "test" and "::" in link.target:
        name = link.target.partition("::")[2]
        tree = ast.parse((ROOT / str(link.path)).read_text())
        names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        return None if name in names else f"{link.path} has no {name}"
    if link.kind == "workflow" and "#" in link.target:
        job = link.target.partition("#")[2]
        jobs = yaml.safe_load((ROOT / str(link.path)).read_text())["jobs"]
        return None if job in jobs else f"{link.path} has no job {job}"
    if link.kind == "make" and not re.search(rf"^{link.target}:", MAKEFILE, re.MULTILINE):
        return f"the Makefile has no target {link.target}"
    if link.kind == "verb":
        context, command = click.Context(catsdogs.cli), catsdogs.cli
        for name in link.target.split():
            found = command.get_command(context, name) if isinstance(command, click.Group) else None
            if found is None:
                return f"catsdogs has no {link.target}"
            command = found  # type: ignore[assignment]
    return None


@pytest.mark.parametrize("link", LINKS, ids=lambda link: f"{link.kind}:{link.target}")
def test_each_link_leads_somewhere(link: Link) -> None:
    assert problem(link) is None


@pytest.mark.parametrize(
    "text",
    [
        "file:nothing.txt",
        "test:tests/nothing.py",
        "test:tests/project/test_checklist.py::test_nothing",
        "make:nothing",
        "verb:nothing",
        "verb:image nothing",
        "verb:serve nothing",
        "workflow:nothing.yml",
        "workflow:validate.yml#nothing",
    ],
)
def test_a_link_that_leads_nowhere_is_seen(text: str) -> None:
    assert problem(Link.parse(text)) is not None


def test_the_course_has_all_of_its_53_boxes_once() -> None:
    assert len(LISTS[0].rows) == 53
    assert len({row.box for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.box[:40])
def test_a_yes_names_a_place_and_anything_else_a_reason(row: Row) -> None:
    assert row.links or row.answer == "no"
    assert len(row.how.split()) >= (2 if row.answer == "yes" else 4)
    assert row.how.endswith(".")


def test_the_page_is_current() -> None:
    assert (ROOT / "docs" / "reference" / "checklist.md").read_text() == checklist(), "make docs makes it anew"


def test_rows_for_later_are_of_boxes_that_are_there() -> None:
    later = yaml.safe_load(DELIVERY.read_text())["rows"]
    assert later
    assert {row["box"] for row in later} <= {row.box for row in ROWS}
    assert all(Row.parse(row).how for row in later)


def test_rows_for_later_take_their_place_once_they_are_enabled(tmp_path: Path) -> None:
    box = LISTS[1].rows[0].box
    later = f"""
        enabled: true
        rows:
          - {{box: "{box}", answer: no, how: Another answer.}}
        """
    delivery = tmp_path / "delivery.yaml"
    delivery.write_text(textwrap.dedent(later))
    (row,) = (row for each in read(DATA, delivery) for row in each.rows if row.box == box)
    assert (row.answer, row.how) == ("no", "Another answer.")
    delivery.write_text(delivery.read_text().replace(box, "A box that no list has"))
    with pytest.raises(ValueError, match="no list has A box"):
        read(DATA, delivery)
