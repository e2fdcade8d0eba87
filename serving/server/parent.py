"""Runs a command that the kernel kills when the process that started it ends, however it ended (Linux).

    python -I -S serving/server/parent.py PARENT_PID COMMAND...

The command replaces this process. Elsewhere than on Linux nothing like that exists, and the janitor does it alone.
Standard library only, and little of it: this runs before each child that the launcher starts.
"""

import os
import sys
from collections.abc import Sequence

LINUX = sys.platform == "linux"
PR_SET_PDEATHSIG = 1
SIGKILL = 9
# Tells the command its own process id, by which its children know whether it still lives.
PID_VARIABLE = "CATSDOGS_PID"


def bound(command: Sequence[str]) -> list[str]:
    """Return the command line that runs `command` until this process ends.

    The kernel counts the thread that starts the child as its parent: start it in a thread that outlives it.
    """
    if not LINUX:
        return list(command)
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


def die_with_parent(parent: int, number: int = SIGKILL) -> None:
    """Have the kernel send this process a signal when `parent`, which started it, ends; exit if it has ended."""
    if not LINUX:
        return
    import ctypes

    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        os._exit(128 + number)


if __name__ == "__main__":
    die_with_parent(int(sys.argv[1]))
    os.environ[PID_VARIABLE] = str(os.getpid())
    try:
        os.execvp(sys.argv[2], sys.argv[2:])
    except OSError as error:
        sys.exit(f"{sys.argv[2]} cannot be run: {error.strerror}")
