"""The git revision of a checkout."""

import subprocess
from pathlib import Path

TIMEOUT_S = 30


def revision(folder: Path, digits: int = 40) -> str | None:
    """Return the commit of a checkout, with `-dirty` where tracked files differ from it.

    Args:
        folder: root of the checkout.
        digits: length of the commit's hash.

    Returns:
        None where the folder is no checkout, and where git is not installed or does not answer.
    """
    if not (folder / ".git").exists():
        return None
    command = ["git", "describe", "--always", "--dirty", f"--abbrev={digits}", "--exclude=*"]
    try:
        described = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=TIMEOUT_S)
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip() or None
