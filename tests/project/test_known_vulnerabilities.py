"""The page of known vulnerabilities: each test that it names exists, and the locks are past faulty versions."""

import ast
import re
from pathlib import Path

import pytest

from tests.zoo import ROOT

PAGE = ROOT / "docs" / "explanation" / "known-vulnerabilities.md"
# The first version without the fault, where a fault is the package's own.
FIXED = {
    ("train.txt", "torch"): (2, 10),  # CVE-2025-32434, CVE-2026-24747
    ("gpu.txt", "torch"): (2, 10),
    ("serve.txt", "torchserve"): (0, 11),  # CVE-2023-43654, CVE-2023-48299, CVE-2024-35198, CVE-2024-35199
    ("serve.txt", "pillow"): (10, 0, 1),  # CVE-2023-4863
    ("train.txt", "pillow"): (10, 0, 1),
    ("rivals-more.txt", "bentoml"): (1, 4, 3),  # CVE-2025-27520, CVE-2024-2912
}


def names_in(path: Path) -> set[str]:
    """Return the names of a file's tests."""
    tree = ast.parse(path.read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def named() -> list[tuple[str, str]]:
    return re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", PAGE.read_text())


def test_each_test_that_the_page_names_exists() -> None:
    assert len(named()) > 30
    missing = [
        f"{path}::{name}" for path, name in named() if not (ROOT / path).exists() or name not in names_in(ROOT / path)
    ]
    assert missing == []


def rows() -> list[str]:
    return [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and "| ---" not in line]


def test_each_row_names_a_test() -> None:
    attacks = [row for row in rows() if not row.startswith("| known as ")]
    assert len(attacks) > 15
    assert [row for row in attacks if not re.search(r"`tests/[\w/]+\.py::test_\w+`", row)] == []


@pytest.mark.parametrize("attack", ["CVE-2023-43654", "CVE-2025-23310", "CVE-2025-23319", "ShadowMQ", "CVE-2025-32434"])
def test_the_page_has_the_known_chains(attack: str) -> None:
    assert any(attack in row for row in rows())


@pytest.mark.parametrize(("lock", "package"), FIXED)
def test_the_locks_are_past_the_versions_with_a_fault(lock: str, package: str) -> None:
    text = (ROOT / "requirements" / lock).read_text()
    versions = re.findall(rf"^{package}==([\d.]+)", text, re.MULTILINE)
    assert versions
    for version in versions:
        assert tuple(map(int, version.split("."))) >= FIXED[lock, package]
