"""The Markdown pages that users read, their code blocks, and the note before each block that says what runs it.

A block of a language that can be run has one of two comments before it:

    <!-- run by tests/e2e/test_docs.py -->     that test takes its blocks from `run_by`
    <!-- not run: needs a cluster -->          the reason why no test can run it as it stands
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.zoo import ROOT

PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *(ROOT / name / "README.md" for name in ("helm", "k8s")),
]
RUNNABLE = ("sh", "bash", "python", "console", "js")
FENCED = re.compile(
    r"(?:^<!-- (?P<note>[^\n]*) -->\n)?^```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)
RUN_BY = re.compile(r"run by (?P<test>tests/[\w/]+\.py)(?:, as [\w ]+)?")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str
    note: str
    """Text of the comment directly before it, or nothing."""

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def test(self) -> str | None:
        """The test that runs it, as a path in the repository."""
        match = RUN_BY.fullmatch(self.note)
        return match["test"] if match else None

    @property
    def commands(self) -> list[str]:
        """Lines of a shell block without comments."""
        lines = (re.sub(r"(^|\s)#.*", "", line).rstrip() for line in self.text.splitlines())
        return [line for line in lines if line]


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text()
    return [
        Block(page, text.count("\n", 0, m.start("language")) + 1, m["language"], m["text"], m["note"] or "")
        for m in FENCED.finditer(text)
    ]


def runnable() -> list[Block]:
    """Return each block of any page whose language can be run."""
    return [block for page in PAGES for block in blocks_of(page) if block.language in RUNNABLE]


def run_by(test: Path | str) -> list[Block]:
    """Return the blocks whose note names this test."""
    name = Path(test).resolve().relative_to(ROOT.resolve()).as_posix()
    blocks = [block for block in runnable() if block.test == name]
    assert blocks, f"no block of the documentation names {name}"
    return blocks


def prose(page: Path) -> str:
    """Return a page's text without its fenced blocks."""
    return FENCED.sub("", page.read_text())


def like_a_clone(folder: Path, *names: str) -> None:
    """Link what a page's commands expect in a clone: `.venv/bin/catsdogs` and the folders that are named."""
    for name in names:
        (folder / name).symlink_to(ROOT / name)
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "catsdogs").symlink_to(Path(sys.executable).parent / "catsdogs")
