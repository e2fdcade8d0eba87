"""A scratch clone of this repository, in which a test may commit what it likes."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.zoo import ROOT

ENVIRONMENTS = (".venv", ".venv-train", ".venv-checks")
# What is tested is the working tree's, committed or not.
RULES = (".gitignore", ".dockerignore", ".gitleaks.toml", ".pre-commit-config.yaml", "helm/.helmignore")
IDENTITY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "A Test"), ("EMAIL", "test@example.invalid"))
}


class Clone:
    """A clone with our environments beside it, and git's own settings of no user."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder = folder
        # No network: what a hook wants to download, it does not get.
        offline = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(home), "LC_ALL": "C.UTF-8", **IDENTITY, **offline}
        subprocess.run(["git", "clone", "--quiet", "--shared", ROOT, folder], check=True)
        for name in RULES:
            shutil.copy(ROOT / name, folder / name)
        for name in ENVIRONMENTS:
            (folder / name).symlink_to(ROOT / name)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--no-verify", "--message", "test: rules of the tree")

    def run(self, *command: str | Path, check: bool = False, **more: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command, cwd=self.folder, env={**self.environment, **more}, capture_output=True, text=True
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def git(self, *arguments: str) -> str:
        return self.run("git", *arguments, check=True).stdout

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def commit(self, message: str = "test: a change") -> tuple[int, str]:
        """Commit what is staged, with the hooks; return git's exit status and all that it printed."""
        done = self.run("git", "commit", "--message", message)
        return done.returncode, done.stdout + done.stderr

    def reset(self) -> None:
        """Go back to the last commit."""
        self.git("reset", "--quiet", "--hard")
        self.git("clean", "--quiet", "--force", "-d")
