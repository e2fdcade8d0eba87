"""The nightly workflow: the verbs that its targets run exist, and the key reaches them by the environment alone."""

import re
import shlex
from typing import Any

import click
import pytest
import yaml

import catsdogs
from tests.zoo import ROOT

JOBS = yaml.safe_load((ROOT / ".github" / "workflows" / "validate.yml").read_text())["jobs"]
MAKEFILE = (ROOT / "Makefile").read_text()


def step_of(job: str) -> dict[str, Any]:
    (step,) = [step for step in JOBS[job]["steps"] if step.get("run", "").startswith("make ")]
    return dict(step)


def command_of(job: str) -> tuple[str, str, list[str]]:
    """Return the environment, verb and arguments that a job's target runs, with the job's values for variables."""
    make, target, *assigned = shlex.split(step_of(job)["run"])
    assert make == "make"
    ((program, line),) = re.findall(
        rf"^{target}:.*\n(?:\t@(?:test|mkdir) .*\n)*\t@\$\((SERVE|LOAD)\) (.*)$", MAKEFILE, re.MULTILINE
    )
    for name, _, value in (word.partition("=") for word in assigned):
        line = line.replace(f"$({name})", value)
    assert "$(" not in line
    verb, *arguments = shlex.split(line)
    return program.lower(), verb, arguments


@pytest.mark.parametrize(("job", "url"), [("validate", "$CATSDOGS_URL"), ("drift", "$CATSDOGS_METRICS_URL")])
def test_it_runs_a_verb_that_catsdogs_has(job: str, url: str) -> None:
    environment, verb, arguments = command_of(job)
    command = catsdogs.cli.get_command(click.Context(catsdogs.cli), verb)
    assert command is not None
    assert command.make_context(verb, arguments).params["url"] == url
    assert catsdogs.VERBS[verb][1] == environment


@pytest.mark.parametrize("job", list(JOBS))
def test_its_report_is_kept(job: str) -> None:
    _, _, arguments = command_of(job)
    (upload,) = [step for step in JOBS[job]["steps"] if "upload-artifact" in step.get("uses", "")]
    assert upload["with"]["path"] == arguments[arguments.index("--json") + 1]
    assert upload["if"] == "always()"


def test_it_is_given_the_key_by_the_environment() -> None:
    with_key = [step for job in JOBS.values() for step in job["steps"] if "secrets." in str(step)]
    assert [list(step["env"]) for step in with_key] == [["CATSDOGS_URL", "CATSDOGS_KEY"]]
    assert "secrets." not in str([step.get("run") for step in with_key])
