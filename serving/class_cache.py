"""Java's classes as they are in memory once TorchServe runs: a server that maps them starts in less than half of Java's
time. Dockerfile.serve makes it, for what it holds is of one Java and one TorchServe, file by file.

    python -m serving.class_cache model-store/catsdogs.mar

writes it beside the Java that runs TorchServe, where `find_java` finds it. Java ignores one that does not fit.
Source: JEP 514, Ahead-of-Time Command-Line Ergonomics.
"""

import os
import subprocess
import sys
from pathlib import Path

import psutil

from handler.files import UserError
from serving.java import OLDEST_CACHE, find_java
from serving.launch import free_ports

READY_S = 120
DUMP_S = 300


def make(archive: Path) -> Path:
    """Runs a server, asks it by every protocol, so that Java sees what it is to remember, and stops it.

    Raises:
        UserError: this Java cannot, or the server did not answer.
    """
    java = find_java()
    if java.version < OLDEST_CACHE:
        raise UserError(f"This takes Java {OLDEST_CACHE} or newer: {java.path} is {java.version}.")
    out = java.cache_file
    out.unlink(missing_ok=True)
    rest, grpc, metrics = (str(port) for port in free_ports(3))
    catsdogs = [sys.executable, "-m", "catsdogs"]
    options = ["--port", rest, "--grpc-port", grpc, "--metrics-port", metrics]
    env = {**os.environ, "JAVA_TOOL_OPTIONS": f"-XX:AOTCacheOutput={out}"}
    with subprocess.Popen([*catsdogs, "serve", str(archive), *options], env=env) as server:
        try:
            urls = ["--url", f"http://127.0.0.1:{rest}", "--grpc", f"127.0.0.1:{grpc}"]
            done = subprocess.run(
                [*catsdogs, "check", *urls, "--metrics", f"http://127.0.0.1:{metrics}/metrics", "--wait", str(READY_S)],
                check=False,
            )
            if done.returncode:
                raise UserError("The server does not answer as it should: see above.")
            # Our own stop would kill it: Java writes as it ends by itself.
            for child in psutil.Process(server.pid).children():
                if child.name() == "java":
                    child.terminate()
                    child.wait(DUMP_S)
        finally:
            server.terminate()
    if not out.is_file():
        raise UserError("Java wrote nothing.")
    return out


if __name__ == "__main__":
    try:
        written = make(Path(sys.argv[1]))
    except UserError as error:
        sys.exit(str(error))
    print(f"{written}: {written.stat().st_size / 1e6:.0f} MB")
