"""The README and the pages of docs/: their links, their size, and the pages that are made from the code."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from catsdogs import VERBS, cli
from docs import generate
from tests.documentation import PAGES
from tests.zoo import ROOT

FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
# Lines of about two screens.
LONG = 80
INLINE = re.compile(r"^    .*$|`[^`\n]*`", re.MULTILINE)


def links(page: Path) -> list[str]:
    """Return the targets of a page's links and pictures that lie in this repository."""
    text = INLINE.sub("", FENCED.sub("", page.read_text()))
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and the site make them."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text()), re.MULTILINE)
    return {anchor_of(heading) for heading in headings}


def anchor_of(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in links(page):
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        if anchor:
            assert anchor in anchors(there), target


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_of_the_site_links_no_page_outside_of_it(page: Path) -> None:
    pages = [target.partition("#")[0] for target in links(page) if target.partition("#")[0].endswith(".md")]
    assert [path for path in pages if ROOT / "docs" not in (page.parent / path).resolve().parents] == []


def test_the_readme_has_at_most_1500_words() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= 1500


def test_no_cell_of_the_readme_is_longer_than_100_characters() -> None:
    rows = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("|")]
    cells = [re.sub(r"\]\([^)]*\)", "]", cell).strip() for row in rows for cell in row.split("|")]
    assert [cell for cell in cells if len(cell) > 100] == []


def test_every_page_is_in_the_sites_navigation() -> None:
    navigation = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]
    docs = ROOT / "docs"
    assert sorted(pages_of(navigation)) == sorted(str(page.relative_to(docs)) for page in docs.rglob("*.md"))


def pages_of(entries: list[Any]) -> Iterator[str]:
    """Yield the pages of the site's navigation: a title has one page, or a list of entries."""
    for entry in entries:
        for target in entry.values():
            yield from [target] if isinstance(target, str) else pages_of(target)


def test_the_page_of_the_command_line_is_current() -> None:
    # In a process of its own: a command that another test called by itself keeps the options for help that it had then.
    code = "from docs import generate; print(generate.command_line(), end='')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert (ROOT / "docs" / "reference" / "cli.md").read_text() == done.stdout, "make docs makes it anew"


def test_the_page_of_the_metrics_is_current() -> None:
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text()
    assert page == generate.metrics(), "make docs makes it anew"


@pytest.mark.parametrize("verb", VERBS)
def test_no_line_of_a_help_text_is_over_100_columns(verb: str) -> None:
    assert [line for line in generate.help_of(verb).splitlines() if len(line) > 100] == []


def test_a_command_prints_what_the_page_has() -> None:
    command = [sys.executable, "-m", "catsdogs", "train", "--help"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=ROOT, env=os.environ | {"COLUMNS": "100"}
    )
    assert done.stdout.rstrip() in (ROOT / "docs" / "reference" / "cli.md").read_text()


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_says_what_it_is(verb: str) -> None:
    command = cli.get_command(click.Context(cli), verb)
    assert command is not None
    options = [option for option in command.params if isinstance(option, click.Option) and not option.hidden]
    assert [option.opts for option in options if len((option.help or "").split()) < 2] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_long_page_begins_with_a_list_of_its_sections(page: Path) -> None:
    text = FENCED.sub("", page.read_text())
    sections = re.findall(r"^## (.+)$", text, re.MULTILINE)
    if page.name != "CHANGELOG.md" and page.read_text().count("\n") > LONG and len(sections) > 3:
        top = text.partition("\n## ")[0]
        assert [name for name in sections if f"](#{anchor_of(name)})" not in top] == []


def test_every_picture_is_on_a_page() -> None:
    shown = {(page.parent / link.partition("#")[0]).resolve() for page in PAGES for link in links(page)}
    pictures = [path for end in ("png", "svg") for path in (ROOT / "docs").glob(f"*.{end}")]
    assert pictures
    assert [path.name for path in pictures if path.resolve() not in shown] == []


def test_the_files_to_which_ten_questions_lead_are_there() -> None:
    section = (ROOT / "CONTRIBUTING.md").read_text().partition("## Where is what?\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| [A-Z].*\? \| (.*) \|$", section, re.MULTILINE)
    assert len(rows) == 10
    paths = [re.findall(r"`([\w./-]+/[\w./-]+)`", row) for row in rows]
    assert all(paths)
    assert [path for row in paths for path in row if not (ROOT / path).is_file()] == []
