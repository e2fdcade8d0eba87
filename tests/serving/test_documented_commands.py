"""Each block of the documentation that can be run names its test or a reason, and each command exists as it is written.

Commands are those of `sh` blocks and of text between backticks: their verbs, options, values, targets and files are
compared with click's commands, the Makefile, values.yaml and the repository.
"""

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

import catsdogs
from tests.documentation import PAGES, RUN_BY, blocks_of, prose, runnable
from tests.zoo import ROOT

MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([\w./-]+):", MAKEFILE, re.MULTILINE)) | set(re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.M))
PROGRAMS = ("catsdogs", ".venv/bin/catsdogs", ".venv-train/bin/catsdogs", ".venv-load/bin/catsdogs")
# Options of Helm, Docker, Locust and Hydra, where a page names them without their program.
FOREIGN = {
    *(
        "--atomic",
        "--rollback-on-failure",
        "--wait",
        "--timeout",
        "--logs",
        "--reuse-values",
        "--dry-run",
        "--set-file",
    ),
    *(
        "--target",
        "--build-arg",
        "--headless",
        "--processes",
        "--master",
        "--worker",
        "--shape",
        "--duration",
        "--rate",
        "--multirun",
    ),
    # Of DVC.
    *("--allow-missing", "--md", "--local"),
    # Of `model_signing`.
    *("--public_key", "--private_key"),
    # Of `python -m loadtest.rivals`.
    *("--rounds", "--seconds", "--warmup"),
}
# Patterns that CONTRIBUTING.md gives for names of options.
PATTERNS = {"--max-...", "--min-..."}
PLACEHOLDER = re.compile(r"[A-Z][A-Z_]*|\.\.\.|…|<.*>|x")
HISTORY = {ROOT / "CHANGELOG.md"}


def commands() -> Iterator[tuple[str, list[str]]]:
    """Yield where each command of any page stands, and its words."""
    for page in PAGES:
        if page in HISTORY:
            continue  # it names options of versions before
        lines = [line for block in blocks_of(page) if block.language == "sh" for line in block.commands]
        lines += re.findall(r"`([^`\n]+)`", prose(page))
        for line in lines:
            for command in split(line):
                yield f"{page.relative_to(ROOT)}: {line}", command


def split(line: str) -> Iterator[list[str]]:
    """Yield the words of each command of a line; text that no shell could read has none."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    command: list[str] = []
    try:
        for word in lexer:
            if re.fullmatch(r"[|&;<>]+", word):
                if command:
                    yield command
                command = []
            else:
                command.append(word)
    except ValueError:
        return
    if command:
        yield command


def of_program(*names: str) -> list[Any]:
    """Return the commands of a program, without variables before it."""
    chosen = []
    for where, command in commands():
        while command and re.match(r"[A-Z_]+=", command[0]):
            command = command[1:]
        if command and command[0] in names and len(command) > 1:
            chosen.append(pytest.param(command[1:], id=where))
    assert chosen
    return chosen


@cache
def options(verb: str) -> dict[str, click.Option]:
    """Return the options of a verb by name, and those of its subcommands."""
    command = catsdogs.cli.get_command(click.Context(catsdogs.cli), verb)
    assert command is not None
    subcommands = list(command.commands.values()) if isinstance(command, click.Group) else []
    return {
        name: option
        for part in (command, *subcommands)
        for option in part.params
        if isinstance(option, click.Option)
        for name in (*option.opts, *option.secondary_opts)
    }


def is_placeholder(word: str) -> bool:
    return bool(PLACEHOLDER.fullmatch(word))


@pytest.mark.parametrize("block", runnable(), ids=str)
def test_a_block_names_the_test_that_runs_it_or_a_reason(block: Any) -> None:
    if block.test is None:
        _, marker, reason = block.note.partition("not run: ")
        assert marker, f"{block} has neither `<!-- run by tests/... -->` nor `<!-- not run: REASON -->` before it"
        assert len(reason.split()) >= 3
    else:
        assert RUN_BY.fullmatch(block.note)
        source = (ROOT / block.test).read_text()
        assert "run_by(__file__)" in source, f"{block.test} does not run the blocks that name it"
    for path in re.findall(r"(?:tests|\.ci)/[\w./-]*\w", block.note):
        assert (ROOT / path).exists(), path
    for target in re.findall(r"\bmake ([a-z][\w-]*)", block.note):
        assert target in TARGETS or target == "it", target


@pytest.mark.parametrize("page", [page for page in PAGES if page not in HISTORY], ids=lambda page: page.name)
def test_each_block_has_fences_and_a_language(page: Path) -> None:
    assert re.findall(r"\n\n    \S.*", prose(page)) == [], "an indented block: nobody knows its language"
    assert [str(block) for block in blocks_of(page) if not block.language] == []


@pytest.mark.parametrize("arguments", of_program(*PROGRAMS))
def test_a_command_of_ours_has_the_verb_and_the_options_that_are_shown(arguments: list[str]) -> None:
    verb = arguments[0]
    if verb in ("--help", "-h", "--version", "VERB"):
        return
    assert verb in catsdogs.VERBS
    known = {**options(verb), "--help": None, "-h": None}
    keys = yaml.safe_load((ROOT / "training" / "config.yaml").read_text())
    rest = arguments[1:]
    for place, word in enumerate(rest):
        name, equals, value = word.partition("=")
        if not name.startswith("-") or name == "-":  # standard input
            continue
        assert name in known, f"{verb} has no {name}"
        option = known[name]
        if option is None or option.is_flag:
            continue
        value = value if equals else (rest[place + 1] if place + 1 < len(rest) else "VALUE")
        if isinstance(option.type, click.Choice) and not is_placeholder(value):
            assert value in option.type.choices
        if name == "--set":
            section, _, key = value.partition("=")[0].partition(".")
            assert key in keys[section]


def test_options_that_are_named_alone_exist() -> None:
    ours = {name for verb in catsdogs.VERBS for name in options(verb)} | {"--help", "--version"}
    unknown = []
    for page in PAGES:
        if page in HISTORY:
            continue
        for span in re.findall(r"`(--[^`\n]+)`", prose(page)):
            named = [word.partition("=")[0] for word in span.split() if word.startswith("--")]
            unknown += [f"{page.relative_to(ROOT)}: {name}" for name in named if name not in ours | FOREIGN | PATTERNS]
    assert unknown == []


@pytest.mark.parametrize("arguments", of_program("make"))
def test_a_target_and_its_variables_are_in_the_makefile(arguments: list[str]) -> None:
    for word in arguments:
        name, equals, _ = word.partition("=")
        if equals:
            of_make, of_shell = rf"^{name} [?:]?=|\$\({name}\)", rf"\$\${{?{name}\b"
            assert re.search(f"{of_make}|{of_shell}", MAKEFILE, re.MULTILINE) or name in BASES, name
        else:
            assert name in TARGETS or is_placeholder(name), name


BASES = set(re.findall(r"^(\w+)=", (ROOT / "requirements" / "base-images.env").read_text(), re.MULTILINE))


@pytest.mark.parametrize("arguments", of_program("helm"))
def test_a_value_that_helm_is_told_is_one_of_the_charts(arguments: list[str]) -> None:
    values = yaml.safe_load((ROOT / "helm" / "values.yaml").read_text())
    for place, word in enumerate(arguments[:-1]):
        following = arguments[place + 1]
        if word in ("-f", "--values") and following.startswith("helm/"):
            assert (ROOT / following).exists()
        if word in ("--set", "--set-string") and not is_placeholder(following):
            key = re.split(r"(?<!\\)=", following)[0]
            at: Any = values
            for part in re.split(r"(?<!\\)\.", key):
                name = re.sub(r"\[\d+\]$", "", part)
                if at in ({}, []):
                    break  # a map or list of the user's own
                assert name in at, key
                at = at[name]


def test_files_that_commands_read_are_there() -> None:
    paths = re.compile(r"(?:k8s|tests|helm|serving|docs)/\S+|Dockerfile\S*")
    programs = ("docker", "kubectl", "kind", "sed", "python", ".venv/bin/python", ".venv-train/bin/python")
    named = [(where, word) for where, command in commands() if command[0] in programs for word in command]
    files = [(where, word) for where, word in named if paths.fullmatch(word)]
    assert files
    assert [(where, path) for where, path in files if not (ROOT / path).exists()] == []


def test_modules_of_ours_that_python_is_told_to_run_are_there() -> None:
    named = [
        (where, command[command.index("-m") + 1])
        for where, command in commands()
        if command[0].endswith("python") and "-m" in command[:-1]
    ]
    ours = [(where, ROOT / name.replace(".", "/")) for where, name in named if (ROOT / name.split(".")[0]).is_dir()]
    assert ours
    assert [where for where, at in ours if not (at.with_suffix(".py").exists() or (at / "__main__.py").exists())] == []


def test_stages_that_docker_is_told_to_build_are_there() -> None:
    stages = set(re.findall(r" AS (\S+)", (ROOT / "Dockerfile.serve").read_text(), re.IGNORECASE))
    named = {command[command.index("--target") + 1] for _, command in commands() if "--target" in command[:-1]}
    assert {"cpu", "gpu", "load"} <= named <= stages
