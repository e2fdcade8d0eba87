"""Java's classes as they are in memory once TorchServe runs: a server that maps them starts in less than half of Java's
time. Dockerfile.serve makes it, for what it holds is of one Java and one TorchServe, file by file.

    python -m serving.server.class_cache model-store/catsdogs.mar

writes it beside the Java that runs TorchServe, where `find_java` finds it. Java ignores one that does not fit.
Source: JEP 514, Ahead-of-Time Command-Line Ergonomics.
"""

import os
import subprocess
import sys
from pathlib import Path

from common.ports import free_ports
from handler.files import UserError
from serving.server.find_java import OLDEST_CACHE, find_java
from serving.server.launch import Server
from serving.server.options import server_options

READY_S = 120
DUMP_S = 300


def make(archive: Path, out: Path) -> None:
    """Runs a server, asks it by every protocol, so that Java sees what it is to remember, and stops it.

    Raises:
        UserError: the server did not answer, or Java wrote no cache.
    """
    out.unlink(missing_ok=True)
    rest, grpc, metrics = free_ports(3)
    options = server_options(archive, port=rest, grpc_port=grpc, metrics_port=metrics, startup_s=READY_S)
    # For the server's Java alone: another that inherited it would write the file too.
    os.environ["JAVA_TOOL_OPTIONS"] = f"-XX:AOTCacheOutput={out}"
    with Server(options, restarts=False) as server:
        urls = ["--url", options.url, "--grpc", f"127.0.0.1:{grpc}", "--metrics", f"http://127.0.0.1:{metrics}/metrics"]
        done = subprocess.run([sys.executable, "-m", "catsdogs", "check", *urls], check=False)
        if done.returncode:
            raise UserError("The server does not predict as expected: see above.")
        # Our own stop would kill it: Java writes as it ends by itself.
        assert server.torchserve is not None
        server.torchserve.terminate()
        server.torchserve.wait(DUMP_S)
    if not out.is_file():
        raise UserError("Java wrote no cache.")
    # The server's Java writes for its own user and group; the image is run by another.
    out.chmod(0o644)


if __name__ == "__main__":
    java = find_java()
    if java.version < OLDEST_CACHE:
        # Not an error: an image with such a Java starts as slowly as Java does.
        print(f"No cache: {java.path} is Java {java.version}, and a cache needs {OLDEST_CACHE} or newer.")
        sys.exit()
    try:
        make(Path(sys.argv[1]), java.cache_file)
    except UserError as error:
        sys.exit(str(error))
    print(f"{java.cache_file}: {java.cache_file.stat().st_size / 1e6:.0f} MB")
