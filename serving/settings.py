"""What this machine can carry -> TorchServe's settings."""

import os
from dataclasses import dataclass
from pathlib import Path
from string import Template

from handler.files import UserError
from serving.java import Java

CONFIG = Path(__file__).parent / "config"
CGROUP = Path("/sys/fs/cgroup")

# Requests that may wait. At 60 photos/s on two cores, 32 of them are half a second; more would only wait longer.
QUEUE = 32
# The queue's bodies lie on the heap: 32 of 16 MiB, and as much again for copies and the server itself.
HEAP_MIB = 1024
LEAST_HEAP_MIB = 256
# Beside the heap: Java's own memory and buffers, the launcher and its probe.
JAVA_MIB = 256
# A worker with MNN or ONNX Runtime, and the largest picture decoded (50 megapixels, 150 MB, twice while it turns).
WORKER_MIB = 512


def cpu_limit(cgroup: Path = CGROUP) -> int:
    """Whole cores this process may use: the smaller of its affinity and its cgroup's quota, at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else max(1, min(cores, int(quota) // int(period)))


def memory_limit(cgroup: Path = CGROUP) -> int | None:
    """MiB that this process's cgroup may use; None where nothing limits it."""
    try:
        return int((cgroup / "memory.max").read_text()) >> 20
    except (OSError, ValueError):
        return None


@dataclass(frozen=True, slots=True)
class Limits:
    """What TorchServe may take."""

    workers: int
    queue: int = QUEUE
    heap_mib: int = HEAP_MIB


def choose_limits(workers: int | None = None, queue: int | None = None, cgroup: Path = CGROUP) -> Limits:
    """Workers by cores, the heap by what memory they leave, the queue by what the heap can hold.

    Raises:
        UserError: the memory limit is too small for so many workers.
    """
    chosen, memory = workers or cpu_limit(cgroup), memory_limit(cgroup)
    heap = HEAP_MIB
    if memory is not None:
        needed = JAVA_MIB + chosen * WORKER_MIB
        heap = min(HEAP_MIB, memory - needed)
        if heap < LEAST_HEAP_MIB:
            raise UserError(
                f"The memory limit is {memory} MiB; {chosen} workers need {needed + LEAST_HEAP_MIB} MiB, and "
                f"{needed + HEAP_MIB} MiB for a full queue. Raise it, or lower --workers."
            )
    return Limits(chosen, queue or QUEUE * heap // HEAP_MIB, heap)


@dataclass(frozen=True, slots=True)
class Settings:
    """One TorchServe. `run` is a short path: a unix socket's may have 107 bytes."""

    run: Path
    archive: str
    workers: int
    grpc_port: int
    grpc_management_port: int
    worker_level: str = "info"
    queue: int = QUEUE

    def write(self) -> None:
        """Fills in the templates of serving/config, into `run`."""
        values = {
            "run": self.run,
            "archive": self.archive,
            "workers": self.workers,
            "grpc_port": self.grpc_port,
            "grpc_management_port": self.grpc_management_port,
            "queue": self.queue,
            "netty_threads": min(8, max(2, self.workers)),
            "worker_level": self.worker_level,
        }
        for name in ("config.properties", "log4j2.xml"):
            (self.run / name).write_text(Template((CONFIG / name).read_text()).substitute(values))

    @staticmethod
    def java_arguments(java: Java, run: Path, server_home: Path, heap_mib: int = HEAP_MIB) -> list[str]:
        """The virtual machine's part of the command line."""
        return [
            *java.arguments,
            f"-Xmx{heap_mib}m",
            "-XX:+ExitOnOutOfMemoryError",
            # A frontend on few cores starts faster and takes less from its workers with these two.
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            # On two cores or fewer Java's common pool is off, and TorchServe would start a thread for every batch.
            "-Djava.util.concurrent.ForkJoinPool.common.parallelism=3",
            f"-Djava.io.tmpdir={run}/tmp",
            # It would warn of a slower way to find a caller's name, which quiet logs never ask for.
            "-Dlog4j2.StatusLogger.level=ERROR",
            f"-Dlog4j.configurationFile=file://{run}/log4j2.xml",
            f"-Dmodel_server_home={server_home}",
        ]
