"""Stands between TorchServe and one of its workers, and records how the worker ended (Linux).

    python -I -S serving/server/worker.py RECORDS FRONTEND_PID COMMAND...

TorchServe kills the process that it started as soon as the worker's connection closes, so that process cannot tell how
the worker ended. Hence two processes: TorchServe's child only waits; its child, the recorder, starts the worker and
appends a line of JSON to the file RECORDS when the worker has ended. Each dies when the one above it ends: a frontend
that is killed leaves no worker behind, not even one that hangs or has not yet connected.
Standard library only, and little of it: it runs before each worker, isolated from this repository's environment.
"""

import os
import signal
import sys

CGROUP = "/sys/fs/cgroup"
# In the flags of /proc/PID/stat (Linux's include/linux/sched.h): the process is ending.
PF_EXITING = 0x4


def read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def counter(text: str, name: str) -> int:
    """A value of a file that has a name and a number in each line."""
    return int(dict(line.split() for line in text.splitlines())[name])


def memory_kills(cgroup: str = CGROUP) -> int | None:
    """Return the number of out-of-memory kills in this process's control group, or None where it is not known."""
    places = [f"{cgroup}/memory.events"]
    try:
        own = read("/proc/self/cgroup").rsplit("0::", 1)[1].strip()
        places.insert(0, f"{cgroup}{own}/memory.events")
    except (OSError, IndexError):
        pass
    # Where nothing limits the group, the machine's own count is all there is.
    for place in [*places, "/proc/vmstat"]:
        try:
            return counter(read(place), "oom_kill")
        except (OSError, KeyError, ValueError):
            continue
    return None


def is_exiting(pid: int) -> bool:
    """Return whether a child is ending, or has ended."""
    try:
        # The program's name, in parentheses, may hold spaces.
        flags = read(f"/proc/{pid}/stat").rpartition(")")[2].split()[6]
    except OSError:
        return False
    return bool(int(flags) & PF_EXITING)


def exit_as(status: int) -> None:
    """End as the child did, in the form a shell gives it."""
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


def record(records: str, waiter: int, command: list[str]) -> None:
    """Run the worker, wait for its end, write it down."""
    from serving.server.parent import die_with_parent

    signals = {signal.SIGCHLD, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    die_with_parent(waiter, signal.SIGTERM)
    before, recorder = memory_kills(), os.getpid()
    worker = os.fork()
    if not worker:
        die_with_parent(recorder)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        # What is set for Java's memory would only slow a worker down.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
        os.execve(command[0], command, environment)
    ended, status, killed = 0, 0, False
    while not ended:
        told_to_end = signal.sigwait(signals) == signal.SIGTERM
        ended, status = os.waitpid(worker, os.WNOHANG)
        if told_to_end and not ended:
            # The connection of a worker that dies is closed before its end can be waited for, and the frontend then
            # tells us to end.
            killed = not is_exiting(worker)
            os.kill(worker, signal.SIGKILL)
            ended, status = os.waitpid(worker, 0)
    after = memory_kills()
    grown = "null" if before is None or after is None else str(after > before).lower()
    code, by_frontend = os.waitstatus_to_exitcode(status), str(killed).lower()
    line = f'{{"pid": {worker}, "exit": {code}, "by_frontend": {by_frontend}, "memory_kill": {grown}}}\n'
    try:
        file = os.open(records, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(file, line.encode())
    except OSError:
        pass  # the folder is gone, and with it whoever would read this
    exit_as(status)


def main(records: str, frontend: str, command: list[str]) -> None:
    from serving.server.parent import die_with_parent

    die_with_parent(int(frontend))
    waiter = os.getpid()
    recorder = os.fork()
    if not recorder:
        record(records, waiter, command)
    exit_as(os.waitpid(recorder, 0)[1])


if __name__ == "__main__":
    root = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))  # noqa: PTH118, PTH120
    sys.path.append(root)
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
