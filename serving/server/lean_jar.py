"""TorchServe's jar without what no server calls: half of it. For images: python -m serving.server.lean_jar"""

import importlib.util
import os
import platform
import sys
import zipfile
from pathlib import Path

# Frameworks for its tests, with all that they bring. Nothing in org/pytorch names them, which a test proves.
UNUSED = (
    *("groovy", "org/codehaus/groovy", "org/apache/groovy", "META-INF/groovy", "META-INF/dgminfo"),
    *("org/testng", "org/junit", "META-INF/junit", "org/hamcrest", "org/opentest4j", "org/apiguardian", "bsh"),
    *("com/github/javaparser", "com/thoughtworks/qdox", "com/beust/jcommander", "META-INF/resources/webjars"),
    *("org/apache/tools", "org/apache/ant", "org/fusesource/jansi"),
    # Java would look for what these promise.
    *(f"META-INF/services/{name}" for name in ("javax.script", "org.apache.groovy", "org.codehaus", "org.junit")),
    "META-INF/services/org.testng",
)
NATIVE = "META-INF/native/"
OTHERS = {"x86_64": "aarch_64", "aarch64": "x86_64"}


def is_unused(name: str, machine: str) -> bool:
    """Whether a server on Linux, on such a processor, can do without this part of the jar."""
    if name.startswith(NATIVE):
        return name.endswith((".dll", ".jnilib")) or OTHERS.get(machine, "no other") in name
    return name.startswith(UNUSED)


def make_lean(jar: Path, machine: str) -> None:
    """Writes beside it and renames. What stays keeps its order and its times, so that it is the same each time."""
    beside = jar.with_suffix(".part")
    with zipfile.ZipFile(jar) as old, zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as new:
        for member in old.infolist():
            if not is_unused(member.filename, machine):
                new.writestr(member, old.read(member), compress_type=zipfile.ZIP_DEFLATED, compresslevel=9)
    if epoch := os.environ.get("SOURCE_DATE_EPOCH"):
        os.utime(beside, (int(epoch), int(epoch)))
    beside.rename(jar)


if __name__ == "__main__":
    spec = importlib.util.find_spec("ts")
    if spec is None or spec.origin is None:
        sys.exit("TorchServe is not installed.")
    path = Path(spec.origin).parent / "frontend" / "model-server.jar"
    before = path.stat().st_size
    make_lean(path, platform.machine())
    print(f"{path}: {before / 1e6:.0f} MB, now {path.stat().st_size / 1e6:.0f}")
