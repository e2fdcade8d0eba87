"""The scheduled workflow: what it runs is a command of this tree, and it has no more rights than it needs."""

import shlex

import click
import yaml

import catsdogs
from tests.zoo import ROOT

WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "validate.yml").read_text())
STEPS = WORKFLOW["jobs"]["validate"]["steps"]


def test_it_runs_a_command_that_catsdogs_has() -> None:
    (line,) = [step["run"] for step in STEPS if "catsdogs validate" in step.get("run", "")]
    python, module, program, verb, *arguments = shlex.split(line)
    assert (python, module, program) == ("python", "-m", "catsdogs")
    command = catsdogs.cli.get_command(click.Context(catsdogs.cli), verb)
    assert command is not None
    assert command.make_context(verb, arguments).params["url"] == "$CATSDOGS_URL"


def test_it_installs_what_the_verb_needs() -> None:
    (line,) = [step["run"] for step in STEPS if "pip install" in step.get("run", "")]
    assert f"requirements/{catsdogs.VERBS['validate'][1]}.txt" in line
    assert "--require-hashes" in line


def test_it_may_only_read_and_is_given_the_key_by_the_environment() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"}
    with_key = [step for step in STEPS if "secrets." in str(step)]
    assert [list(step["env"]) for step in with_key] == [["CATSDOGS_URL", "CATSDOGS_KEY"]]
    assert "secrets." not in str([step.get("run") for step in STEPS])
