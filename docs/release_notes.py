"""The notes of a release: its section of CHANGELOG.md, and the commits since the release before it.

python -m docs.release_notes 0.2.0 --url https://github.com/team/catsdogs --out build/release/notes.md

The section says what changed for users, and people write it; the list of commits says what changed in the code. The
command refuses a version that one of the files which state it does not have, and one without a section.
"""

import argparse
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from pathlib import Path

import yaml

from handler.files import UserError, first_line

ROOT = Path(__file__).parents[1]
# They name the server's image with its version.
NAMING = ("compose.yaml", "serving/hosting/render.yaml", "serving/hosting/space/Dockerfile")
SERVER = re.compile(r"catsdogs-serve:(\d+\.\d+\.\d+)-cpu")
AREA = re.compile(r"([a-z][\w /.-]{1,24}): ")
# Targets of links that lead into the repository.
RELATIVE = re.compile(r"\]\((?![a-z]+:|#)([^)\s]+)\)")


def stated_versions(root: Path) -> dict[str, str]:
    """Return the version that each file of the repository states."""
    chart = yaml.safe_load((root / "helm" / "Chart.yaml").read_text())
    versions = {
        "pyproject.toml": tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"],
        "helm/Chart.yaml, version": str(chart["version"]),
        "helm/Chart.yaml, appVersion": str(chart["appVersion"]),
    }
    for name in ("Dockerfile.serve", "Dockerfile.train"):
        match = re.search(r"^ARG VERSION=(\S+)$", (root / name).read_text(), re.MULTILINE)
        versions[name] = match[1] if match else "none"
    for name in NAMING:
        versions[name] = ", ".join(sorted(set(SERVER.findall((root / name).read_text())))) or "none"
    return versions


def check_versions(root: Path, version: str) -> None:
    """Compare a release's version with that of each file.

    Raises:
        UserError: it is none, or a file has another one.
    """
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise UserError(f"{version!r} is no version such as 0.2.0: make release-notes VERSION=0.2.0")
    others = [f"{name} ({stated})" for name, stated in stated_versions(root).items() if stated != version]
    if others:
        raise UserError(f"{version} is not the version of {', '.join(others)}: set it there, commit, and tag anew.")


def section(changelog: str, version: str) -> str:
    """Return the text of a version's section.

    Raises:
        UserError: there is none, or nothing is in it.
    """
    match = re.search(rf"^## \[{re.escape(version)}\][^\n]*\n(.*?)(?=^## \[|\Z)", changelog, re.MULTILINE | re.DOTALL)
    if match is None:
        raise UserError(
            f"CHANGELOG.md has no section for {version}: name the section [Unreleased] '[{version}] - DATE' first."
        )
    if not match[1].strip():
        raise UserError(f"CHANGELOG.md says nothing of {version}: its section is empty.")
    return match[1].strip()


def absolute(text: str, url: str, tag: str) -> str:
    """Return Markdown whose links into the repository lead to a tag's files on its forge."""
    return RELATIVE.sub(lambda match: f"]({url}/blob/{tag}/{match[1]})", text)


def git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True)
    if done.returncode != 0:
        raise UserError(f"git {arguments[0]}: {done.stderr.strip()}")
    return done.stdout


def tag_before(root: Path, commit: str) -> str | None:
    """Return the newest tag of a release among a commit's ancestors, or None for the first release."""
    parents = git(root, "rev-list", "--parents", "--max-count=1", commit, "--").split()[1:]
    merged = [option for parent in parents for option in ("--merged", parent)]
    tags = git(root, "tag", "--list", "v[0-9]*", *merged, "--sort=-version:refname").split() if merged else []
    return tags[0] if tags else None


def commits(root: Path, before: str | None, commit: str) -> dict[str, list[str]]:
    """Return the subjects of the commits between two releases, by their area; those without one are last."""
    span = f"{before}..{commit}" if before else commit
    areas: defaultdict[str, list[str]] = defaultdict(list)
    for line in git(root, "log", "--no-merges", "--reverse", "--format=%h %s", span).splitlines():
        short, _, subject = line.partition(" ")
        match = AREA.match(subject)
        rest = subject[match.end() :] if match else subject
        areas[match[1] if match else ""].append(f"{rest} ({short})")
    return dict(sorted(areas.items(), key=lambda item: (item[0] == "", item[0])))


def notes(root: Path, version: str, commit: str, url: str) -> str:
    """Return the notes in Markdown.

    Raises:
        UserError: the versions differ, or the changelog has no section.
    """
    check_versions(root, version)
    before = tag_before(root, commit)
    text = section((root / "CHANGELOG.md").read_text(), version)
    areas = commits(root, before, commit)
    count = sum(map(len, areas.values()))
    since = before or "the beginning"
    if before is None and git(root, "rev-parse", "--is-shallow-repository").strip() == "true":
        since = "this clone's history was cut off"
    lines = [absolute(text, url, f"v{version}") if url else text, ""]
    lines += ["<details>", f"<summary>{count} commits since {since}</summary>", ""]
    for area, subjects in areas.items():
        lines += [f"**{area or 'other'}**", "", *(f"- {subject}" for subject in subjects), ""]
    return "\n".join([*lines, "</details>", ""])


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Write the notes of a release.")
    parser.add_argument("version", help="version of the release, such as 0.2.0")
    parser.add_argument("--commit", default="HEAD", help="commit that is released")
    parser.add_argument("--url", default="", help="address of the repository, for links to its files")
    parser.add_argument("--out", type=Path, help="file for the notes; by default they are printed")
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    try:
        text = notes(options.root, options.version.removeprefix("v"), options.commit, options.url)
        if options.out is None:
            print(text, end="")
        else:
            options.out.parent.mkdir(parents=True, exist_ok=True)
            options.out.write_text(text)
    except (OSError, UserError) as error:
        print(f"No notes were written. {first_line(error)}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
