"""TorchServe's settings, chosen by the processors and the memory of this machine."""

from dataclasses import dataclass
from pathlib import Path
from string import Template

from common.cores import usable_cores
from handler.files import UserError
from serving.server.cgroup import cpu_quota, memory_limit
from serving.server.find_java import Java

CONFIG = Path(__file__).parent / "config"
CGROUP = Path("/sys/fs/cgroup")

# Requests that may wait. At 60 photos/s on two cores, 32 of them are half a second; more would only wait longer.
QUEUE = 32
# The relay has at most 96 MiB of bodies inside TorchServe at once. They lie on the heap while they wait for a worker.
HEAP_MIB = 256
# And outside of it while they are received, and once more while they are sent: a batch grows by being copied, so that
# it is there twice for a moment.
DIRECT_MIB = 256
# Java's heap and direct memory, its classes, code and threads; the launcher with its probe, the workers' recorders; and
# the run folder, which is in memory in a pod, with the unpacked archive.
JAVA_MIB = HEAP_MIB + DIRECT_MIB + 256
# A worker with MNN or ONNX Runtime, a batch of four bodies, and the costliest picture while it is decoded: at most 699
# MiB were seen (tests/handler/test_memory.py).
WORKER_MIB = 768
# The process of image operations, with the costliest picture: serving/images/bounds.py.
IMAGES_MIB = 512
# TorchServe's tokens expire, after an hour by default: a hundred years.
TOKEN_MINUTES = 60 * 24 * 365 * 100


def cpu_limit(cgroup: Path = CGROUP) -> int:
    """Whole cores this process may use: the smaller of its affinity and its cgroup's quota, at least 1."""
    cores = usable_cores()
    quota = cpu_quota(cgroup)
    return cores if quota is None else max(1, min(cores, int(quota)))


@dataclass(frozen=True, slots=True)
class Limits:
    """The number of workers, the length of the queue and the size of Java's heap."""

    workers: int
    queue: int = QUEUE
    heap_mib: int = HEAP_MIB


def choose_limits(
    workers: int | None = None, queue: int | None = None, cgroup: Path = CGROUP, image_operations: bool = False
) -> Limits:
    """Workers by cores; the queue by how long a request may wait.

    Raises:
        UserError: the memory limit is too small for so many workers.
    """
    chosen, memory = workers or cpu_limit(cgroup), memory_limit(cgroup)
    needed = JAVA_MIB + chosen * WORKER_MIB + (IMAGES_MIB if image_operations else 0)
    if memory is not None and memory < needed:
        beside = f"{IMAGES_MIB} MiB for image operations, " if image_operations else ""
        raise UserError(
            f"The memory limit is {memory} MiB, and {needed} MiB are needed: {JAVA_MIB} MiB for TorchServe, {beside}"
            f"and {WORKER_MIB} MiB for each of {chosen} workers. Raise it, or lower --workers."
        )
    return Limits(chosen, queue or QUEUE)


@dataclass(frozen=True, slots=True)
class Settings:
    """One TorchServe. `run` and `private` are short paths: a unix socket's may have 107 bytes."""

    run: Path
    """Folder that it shares with the gateway."""
    private: Path
    """Folder that nobody else may enter."""
    archive: str
    workers: int
    grpc_port: int
    grpc_management_port: int
    verbose: bool = False
    queue: int = QUEUE

    def write(self) -> None:
        """Fills in the templates of serving/config, into `private`."""
        values = {
            "run": self.run,
            "private": self.private,
            "archive": self.archive,
            "workers": self.workers,
            "grpc_port": self.grpc_port,
            "grpc_management_port": self.grpc_management_port,
            "token_minutes": TOKEN_MINUTES,
            "queue": self.queue,
            "netty_threads": min(8, max(2, self.workers)),
            "worker_level": "info" if self.verbose else "warn",
            "java_level": "INFO" if self.verbose else "OFF",
        }
        for path in sorted(CONFIG.iterdir()):
            (self.private / path.name).write_text(Template(path.read_text()).substitute(values))

    @staticmethod
    def java_arguments(java: Java, private: Path, server_home: Path, heap_mib: int = HEAP_MIB) -> list[str]:
        """The virtual machine's part of the command line."""
        return [
            *java.arguments,
            f"-Xmx{heap_mib}m",
            # Else it is as much as the heap again. TorchServe answers 503 or 413 where it does not suffice.
            f"-XX:MaxDirectMemorySize={DIRECT_MIB}m",
            # Netty takes its buffers in pieces of 16 MiB by default, and keeps some for each thread: here of 2 MiB.
            "-Dio.netty.allocator.maxOrder=8",
            "-XX:MaxMetaspaceSize=96m",
            "-XX:ReservedCodeCacheSize=48m",
            "-Xss512k",
            "-XX:+ExitOnOutOfMemoryError",
            # A frontend on few cores starts faster and takes less from its workers with these two.
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            # On two cores or fewer Java's common pool is off, and TorchServe would start a thread for every batch.
            "-Djava.util.concurrent.ForkJoinPool.common.parallelism=3",
            f"-Djava.io.tmpdir={private}/tmp",
            # It would warn of a slower way to find a caller's name, which quiet logs never ask for.
            "-Dlog4j2.StatusLogger.level=ERROR",
            f"-Dlog4j.configurationFile=file://{private}/log4j2.xml",
            f"-Djava.util.logging.config.file={private}/logging.properties",
            f"-Dmodel_server_home={server_home}",
        ]
