"""Docstrings begin with what a thing is or does."""

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.zoo import ROOT

FOLDERS = ("common", "monitoring", "handler", "training", "serving", "loadtest", "helm", "k8s", "docs", "tests")
RIDDLES = {"Of", "What", "By", "As", "For"}


def modules() -> Iterator[Path]:
    """Yield the modules that git knows: environments and what tests leave about are none of ours."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.py"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in listed.stdout.split("\0"):
        folder = name.partition("/")[0]
        if folder in FOLDERS or name == "catsdogs.py":
            yield ROOT / name


def docstrings(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the docstring of the module, and of each class and function in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node)
            if docstring:
                yield getattr(node, "lineno", 1), docstring


def riddles(source: str) -> list[int]:
    """Return the lines of the definitions whose docstrings begin with a word that says nothing."""
    return [line for line, docstring in docstrings(source) if docstring.split(maxsplit=1)[0] in RIDDLES]


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ('"""What a request is."""', [1]),
        ('x = 1\nclass A:\n    """Of a request."""', [2]),
        ('async def f():\n    """By name."""', [1]),
        ('"""Formats of pictures."""\ndef f():\n    """Return a picture."""', []),
    ],
)
def test_a_docstring_that_begins_with_a_riddle_is_found(source: str, lines: list[int]) -> None:
    assert riddles(source) == lines


def test_docstrings_begin_with_what_a_thing_is_or_does() -> None:
    paths = list(modules())
    assert {path.relative_to(ROOT).parts[0] for path in paths} >= {*FOLDERS, "catsdogs.py"}
    assert [f"{path.relative_to(ROOT)}:{line}" for path in paths for line in riddles(path.read_text())] == []
