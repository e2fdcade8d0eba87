"""Files of this repository that a forge reads: templates, owners and branch rules."""

import fnmatch
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.zoo import ROOT

GITHUB = ROOT / ".github"
FORMS = [path for path in sorted((GITHUB / "ISSUE_TEMPLATE").glob("*.yml")) if path.name != "config.yml"]
TYPES = {"markdown", "textarea", "input", "dropdown", "checkboxes"}


def tracked() -> list[str]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_a_form_for_issues_has_what_github_demands(path: Path) -> None:
    form = yaml.safe_load(path.read_text())
    assert {"name", "description", "body"} <= set(form)
    ids = [field["id"] for field in form["body"]]
    assert len(set(ids)) == len(ids)
    for field in form["body"]:
        assert field["type"] in TYPES
        assert field["attributes"]["label"]
        assert field["type"] != "dropdown" or len(field["attributes"]["options"]) > 1
    assert any(field.get("validations", {}).get("required") for field in form["body"])


def test_vulnerabilities_are_no_issues() -> None:
    config = yaml.safe_load((GITHUB / "ISSUE_TEMPLATE" / "config.yml").read_text())
    assert config["blank_issues_enabled"] is False
    (link,) = config["contact_links"]
    assert set(link) == {"name", "url", "about"}
    assert "private" in (ROOT / "SECURITY.md").read_text().partition("\n##")[0]


def owners() -> list[tuple[str, list[str]]]:
    lines = (GITHUB / "CODEOWNERS").read_text().splitlines()
    return [(line.split()[0], line.split()[1:]) for line in lines if line and not line.startswith("#")]


def test_every_line_of_the_owners_names_something_that_is_there_and_a_team() -> None:
    for pattern, teams in owners():
        glob = pattern.lstrip("/") + ("*" if pattern.endswith("/") else "")
        assert any(fnmatch.fnmatch(name, glob) for name in tracked()), pattern
        assert teams
        assert all(team.startswith("@OWNER/") for team in teams)


def rules() -> dict[str, Any]:
    ruleset = json.loads((GITHUB / "rulesets" / "main.json").read_text())
    assert (ruleset["target"], ruleset["enforcement"], ruleset["bypass_actors"]) == ("branch", "active", [])
    assert ruleset["conditions"]["ref_name"]["include"] == ["~DEFAULT_BRANCH"]
    return {rule["type"]: rule.get("parameters", {}) for rule in ruleset["rules"]}


def test_main_changes_by_reviewed_pull_requests_alone() -> None:
    assert {"deletion", "non_fast_forward", "pull_request", "required_status_checks"} <= set(rules())
    review = rules()["pull_request"]
    assert review["required_approving_review_count"] >= 1
    assert review["require_code_owner_review"]
    assert review["dismiss_stale_reviews_on_push"]


def test_the_check_that_is_required_is_the_job_of_ci_that_waits_for_all_others() -> None:
    assert rules()["required_status_checks"]["required_status_checks"] == [{"context": "passed"}]
    workflow = GITHUB / "workflows" / "ci.yml"
    assert not workflow.exists() or yaml.safe_load(workflow.read_text())["jobs"]["passed"]["needs"]
