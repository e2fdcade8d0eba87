"""catsdogs torchserve: TorchServe's half of the server, in a container of its own."""

import signal
import threading
from pathlib import Path

import click

from handler.files import UserError
from serving.cli.options import (
    ARCHIVE,
    IMAGE_OPERATIONS,
    MODEL_KEY,
    PATH,
    PRECISION,
    RUN,
    SHA256,
    UNSURE,
    VERBOSE,
    WORKERS,
)
from serving.terminal import say


@click.command()
@click.argument("archive", default=ARCHIVE, type=PATH)
@click.option("--run", default=RUN, show_default=True, type=PATH, help="Folder that is shared with the gateway.")
@click.option(
    "--private",
    type=PATH,
    help="Folder for settings, tokens and the unpacked archive. Share it with no other container.  "
    "[default: RUN/private]",
)
@SHA256
@MODEL_KEY
@WORKERS
@PRECISION
@UNSURE
@click.option("--queue", type=click.IntRange(1), help="Maximum number of requests that wait for a worker. Default: 32.")
@IMAGE_OPERATIONS
@VERBOSE
def torchserve(
    archive: Path,
    run: Path,
    private: Path | None,
    sha256: str | None,
    model_key: Path | None,
    workers: int | None,
    queue: int | None,
    image_operations: bool,
    verbose: bool,
) -> None:
    """Run TorchServe's half of the server, in its own container.

    Start it before the gateway and stop it after it: in a pod, make it an init container with restartPolicy Always.
    """
    from common.ports import free_ports
    from serving.server.archive import read_archive
    from serving.server.find_java import find_java
    from serving.server.settings import choose_limits
    from serving.server.torchserve import TorchServe, run_alone

    checked, java = read_archive(archive, sha256, model_key), find_java()
    checked.check_unsure()
    limits = choose_limits(workers, queue, image_operations=image_operations)
    if not run.is_dir():
        raise UserError(f"There is no folder {run}. Mount one there, or name another by --run.")
    if private is not None and not private.is_dir():
        raise UserError(f"There is no folder {private}. Mount one there, or name another by --private.")
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    grpc_port, management_port = free_ports(2)
    say(
        f"Starting TorchServe on {checked.name} {checked.version} with {limits.workers} workers, a queue of "
        f"{limits.queue} and a heap of {limits.heap_mib} MiB (Java {java.version}: {java.path})"
    )
    half = TorchServe(checked, java, run, limits, grpc_port, management_port, verbose, private, image_operations)
    run_alone(half, stop, say)
    say("Stopped.")
