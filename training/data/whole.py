"""A folder that is whole or not there."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(tree: Path) -> Iterator[Path]:
    """Yield a new folder beside `tree` that takes its place at the end; what a killed run left of it goes first."""
    beside = tree.with_name(f".{tree.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        yield beside
        if not tree.exists():
            beside.rename(tree)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
