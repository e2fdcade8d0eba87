"""The blocks of docs/how-to/ci-and-release.md, run; and what the page says of workflows, jobs, targets and settings."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.documentation import Block, run_by
from tests.workflows.support import WORKFLOWS, read
from tests.zoo import ROOT

PAGE = ROOT / "docs" / "how-to" / "ci-and-release.md"
TEXT = PAGE.read_text()
SETTING = re.compile(r"(?:vars|secrets)\.([A-Z_]+)")
# Checked by name: what each target makes, relative to the repository.
MADE = {"the report": "build/report/report.md", "the notes": "build/notes.md"}


@pytest.mark.parametrize("block", run_by(__file__), ids=str)
def test_a_block_runs(block: Block) -> None:
    (made,) = [path for name, path in MADE.items() if block.note.endswith(f", as {name}")]
    before = (ROOT / made).stat().st_mtime_ns if (ROOT / made).exists() else 0
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(["bash", "-e", "-c", block.text], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (ROOT / made).stat().st_mtime_ns > before
    assert (ROOT / made).read_text().strip()


def test_each_workflow_is_on_the_page() -> None:
    section = TEXT.partition("## Workflows\n")[2].partition("\n## ")[0]
    named = {Path(name).name for name in re.findall(r"^\| `([\w-]+\.yml)` \|", section, re.MULTILINE)}
    assert named == {path.name for path in WORKFLOWS}


def test_each_job_of_ci_is_on_the_page() -> None:
    section = TEXT.partition("## What each change runs\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([a-z0-9, ]+) \|", section, re.MULTILINE)
    named = {name for row in rows for name in row.split(", ")} - {"job"}
    assert named - {"image"} == set(read(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]) - {"images"}


def test_each_setting_is_on_the_page() -> None:
    section = TEXT.partition("## Settings\n")[2].partition("\n## ")[0]
    for path in WORKFLOWS:
        if not path.name.startswith("deploy-"):
            for name in SETTING.findall(path.read_text()):
                assert f"`{name}`" in section, f"{path.name} reads {name}"


def test_each_environment_is_on_the_page() -> None:
    used = {
        job["environment"]
        for path in WORKFLOWS
        if not path.name.startswith("deploy-")
        for job in read(path)["jobs"].values()
        if "environment" in job
    }
    (sentence,) = re.findall(r"There are six environments: (.*?)\. No cloud", TEXT, re.DOTALL)
    assert used == set(re.findall(r"`([\w-]+)`", sentence))
