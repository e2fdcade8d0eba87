"""Rules for each workflow: pinned actions, least rights, bounded time, and steps that also run on a laptop."""

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.workflows.support import ACTIONS, WORKFLOWS, Step, jobs, read, steps, triggers
from tests.zoo import ROOT

PINNED = re.compile(r"uses: ([\w./-]+)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)")
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([\w-]+):", MAKEFILE, re.MULTILINE))
# What only a forge can run: a login, a signature by its identity, a comment, a release, an event.
OF_THE_FORGE = re.compile(
    r"\b(?:docker login|cosign sign(?:-blob)?|gh (?:pr comment|release create|api|run list)|helm registry login) "
)
WRITERS = {
    ("ci", "comment"),
    ("retrain", "propose"),
    ("release", "publish"),
    ("release", "images"),
    ("release", "files"),
    ("web-demo", "pages"),
}
each = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
each_job = pytest.mark.parametrize(
    ("path", "name", "job"), list(jobs()), ids=[f"{path.stem}-{name}" for path, name, _ in jobs()]
)
STEPS = list(steps())


def test_there_are_workflows_and_an_action() -> None:
    names = {path.stem for path in WORKFLOWS}
    assert {"ci", "release", "validate", "audit", "data", "retrain", "champion", "web-demo"} <= names
    assert [path.parent.name for path in ACTIONS] == ["python"]


@pytest.mark.parametrize("path", [*WORKFLOWS, *ACTIONS], ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_each_action_is_pinned_by_its_commit_with_the_version_beside(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if re.search(r"^\s*(- )?uses:", line)]
    assert [line for line in lines if not PINNED.search(line) and "uses: ./" not in line] == []


def test_a_version_of_an_action_is_one_commit_everywhere() -> None:
    commits: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    versions: defaultdict[str, set[str]] = defaultdict(set)
    for path in [*WORKFLOWS, *ACTIONS]:
        for name, commit, version in PINNED.findall(path.read_text()):
            commits[name, version].add(commit)
            versions[name].add(version)
    assert {key: found for key, found in commits.items() if len(found) > 1} == {}
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


@each
def test_a_workflow_has_no_rights_but_those_of_its_jobs(path: Path) -> None:
    workflow = read(path)
    assert workflow["permissions"] == {}
    assert all("permissions" in job for job in workflow["jobs"].values())


@each
def test_a_workflow_has_a_concurrency_group(path: Path) -> None:
    concurrency = read(path)["concurrency"]
    assert concurrency["group"]
    assert "cancel-in-progress" in concurrency


@each
def test_no_trigger_hands_secrets_to_a_strangers_code(path: Path) -> None:
    assert set(triggers(read(path))) & {"pull_request_target", "workflow_run", "issue_comment"} == set()


@each_job
def test_a_job_has_a_limit_of_time_and_a_named_image(path: Path, name: str, job: dict[str, Any]) -> None:
    assert 0 < job["timeout-minutes"] <= 360
    assert "latest" not in str(job["runs-on"])


@each_job
def test_a_job_that_may_write_to_the_repository_builds_and_trains_nothing(
    path: Path, name: str, job: dict[str, Any]
) -> None:
    writes = {scope for scope, right in job["permissions"].items() if right == "write"}
    assert not writes - {"id-token", "attestations"} or (path.stem, name) in WRITERS
    if writes & {"contents", "pull-requests"}:
        runs = " ".join(str(step.get("run", "")) for step in job["steps"])
        assert not re.search(r"\bmake\b|python", runs)


@each_job
def test_what_a_stranger_proposed_runs_without_secrets_and_identity(path: Path, name: str, job: dict[str, Any]) -> None:
    if "pull_request" not in triggers(read(path)):
        return
    own = "head.repo.full_name == github.repository" in str(job.get("if", ""))
    assert own or "secrets." not in str(job)
    assert own or "write" not in job["permissions"].values()


@pytest.mark.parametrize("step", [step for step in STEPS if "actions/checkout@" in step.uses], ids=str)
def test_a_checkout_leaves_no_token_behind(step: Step) -> None:
    assert step.fields["with"]["persist-credentials"] is False


@pytest.mark.parametrize("step", [step for step in STEPS if step.run], ids=str)
def test_a_step_has_secrets_and_what_others_chose_from_its_environment_alone(step: Step) -> None:
    assert re.findall(r"\$\{\{.*?\}\}", step.run) == []


@pytest.mark.parametrize("step", [step for step in STEPS if step.run], ids=str)
def test_what_a_step_runs_is_a_target_or_a_script_of_this_tree_or_of_the_forge(step: Step) -> None:
    targets = re.findall(r"\bmake ([\w-]+)", step.run)
    scripts = re.findall(r"(?:^|[\s(])(\.ci/[\w-]+)", step.run)
    assert set(targets) <= TARGETS, step.run
    for script in scripts:
        path = ROOT / script
        assert path.exists(), script
        assert path.stat().st_mode & 0o111, f"{script} is not executable"
    small = re.match(r"(?:test|git diff|cat|echo|if git diff) ", step.run)
    assert targets or scripts or OF_THE_FORGE.search(step.run) or small, step.run


def test_what_is_required_of_a_pull_request_is_every_job_of_ci_that_tests() -> None:
    workflow = read(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]
    assert set(workflow["passed"]["needs"]) == set(workflow) - {"passed", "report", "comment"}


def test_ci_runs_each_part_of_make_test() -> None:
    parts = set()
    for name in ("test", "test-servers", "test-computing"):
        match = re.search(rf"^{name}: ([^#\n]*)", MAKEFILE, re.MULTILINE)
        assert match is not None
        parts |= set(match[1].split())
    run = {target for step in STEPS if step.file.stem == "ci" for target in re.findall(r"make ([\w-]+)", step.run)}
    # a-clone runs no tests: it says at once that they need a git clone.
    assert parts - {"a-clone", "test-servers", "test-computing"} <= run


def test_ci_builds_each_image() -> None:
    stages = re.findall(r"^FROM \S+ AS (\S+)$", (ROOT / "Dockerfile.serve").read_text(), re.MULTILINE)
    matrix = read(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]["images"]["strategy"]["matrix"]["image"]
    assert set(matrix) == {"cpu", "gpu", "load", "train"}
    assert set(matrix) - {"train"} <= set(stages)
