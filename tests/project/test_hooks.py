"""Hooks before each commit: a bad file is refused by its hook, and a good one is committed, without a network."""

import pytest
import yaml

from tests.project.scratch import Clone
from tests.zoo import ROOT

# A file that a hook refuses, and a word of what it prints.
BAD: dict[str, tuple[str, str | bytes, str]] = {
    "ruff-check": ("common/bad_style.py", '"""An unused import."""\n\nimport os\n', "F401"),
    "ruff-format": ("common/bad_format.py", '"""A list."""\n\nNAMES = [ "cat","dog" ]\n', "would be reformatted"),
    "mypy": (
        "common/bad_types.py",
        '"""A wrong type."""\n\n\ndef double(number: int) -> int:\n    return str(2 * number)\n',
        'got "str", expected "int"',
    ),
    "yaml": ("k8s/bad.yaml", "labels: [cat, dog\n", "bad.yaml"),
    "shellcheck": ("tests/cluster/bad", "#!/bin/sh\nrm -r $1/*\n", "SC2086"),
    "large-files": ("docs/bad.bin", bytes(1_100_000), "docs/bad.bin"),
}
GOOD = '"""Twice a number."""\n\n\ndef double(number: int) -> int:\n    return 2 * number\n'


def hooks() -> dict[str, str]:
    """Return the names of the hooks by their ids."""
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    return {hook["id"]: hook["name"] for repository in config["repos"] for hook in repository["hooks"]}


def result(output: str, hook: str) -> str:
    """Return what is printed after a hook's name: Passed, Failed or (no files to check)Skipped."""
    (line,) = (line for line in output.splitlines() if line.startswith(hooks()[hook]))
    return line.rpartition(".")[2]


@pytest.mark.parametrize("hook", BAD)
def test_a_bad_file_is_refused_by_its_hook_alone(clone: Clone, hook: str) -> None:
    name, content, word = BAD[hook]
    clone.write(name, content).chmod(0o755)
    clone.git("add", name)
    before = clone.git("rev-parse", "HEAD")
    status, output = clone.commit()
    assert status == 1, output
    assert word in output
    assert [id for id in hooks() if result(output, id) == "Failed"] == [hook], output
    assert clone.git("rev-parse", "HEAD") == before


def test_a_good_file_is_committed(clone: Clone) -> None:
    clone.write("common/good.py", GOOD)
    clone.git("add", "common/good.py")
    status, output = clone.commit()
    assert status == 0, output
    assert {result(output, id) for id in ("ruff-check", "ruff-format", "mypy", "gitleaks", "large-files")} == {"Passed"}
    assert clone.git("show", "--format=", "--name-only", "HEAD").split() == ["common/good.py"]


def test_a_hook_can_be_left_out_by_name(clone: Clone) -> None:
    clone.write("docs/bad.bin", BAD["large-files"][1])
    clone.git("add", "docs/bad.bin")
    done = clone.run("git", "commit", "--message", "docs: a large file", SKIP="large-files")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_whole_tree_passes(clone: Clone) -> None:
    done = clone.run(".venv-checks/bin/prek", "run", "--all-files", SKIP="mypy")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {result(done.stdout, id) for id in ("ruff-check", "ruff-format", "yaml", "shellcheck")} == {"Passed"}


def test_nothing_is_downloaded_for_a_hook() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert [repository["repo"] for repository in config["repos"]] == ["local"]
    assert {hook["language"] for hook in config["repos"][0]["hooks"]} == {"system"}


def test_each_hook_but_that_of_secrets_has_a_bad_file_here() -> None:
    assert {*BAD, "gitleaks"} == set(hooks()), "tests/project/test_secrets.py shows what gitleaks refuses"
