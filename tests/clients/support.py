"""Clients of HTTP/2 in four languages: programs that ask until they are told to stop, and count what they lost."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests import zoo
from tests.e2e.support import PATH

HERE = Path(__file__).parent
THREADS = 4


@dataclass(frozen=True)
class Language:
    name: str
    command: list[str]
    fails_what_is_in_flight: bool = False
    """Whether it fails requests in flight when the server sends GOAWAY, against RFC 9113, 6.8."""


def has_go() -> bool:
    """Whether Go is here, and new enough to speak HTTP/2 without TLS (1.24)."""
    if not shutil.which("go"):
        return False
    version = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True, check=True).stdout
    major, minor = version.removeprefix("go").split(".")[:2]
    return (int(major), int(minor)) >= (1, 24)


def java_home(version: str) -> str | None:
    """A JDK of this version."""
    for home in Path("/usr/lib/jvm").glob(f"*{version}*"):
        if (home / "bin" / "javac").exists():
            return str(home / "bin")
    return None


def languages(out: Path) -> Iterator[Language]:
    """Those of this machine, compiled where they need to be."""
    yield Language("httpx", [sys.executable, str(HERE / "client.py")], fails_what_is_in_flight=True)
    if has_go():
        subprocess.run(["go", "build", "-o", str(out / "client"), str(HERE / "client.go")], check=True)
        yield Language("go", [str(out / "client")])
    if shutil.which("node"):
        yield Language("node", ["node", str(HERE / "client.mjs")])
    for version, fails in (("17", True), ("25", False)):
        if home := java_home(version):
            classes = str(out / version)
            subprocess.run([f"{home}/javac", "-d", classes, str(HERE / "Client.java")], check=True)
            # Before 24 (JDK-8335181).
            yield Language(f"java {version}", [f"{home}/java", "-cp", classes, "Client"], fails_what_is_in_flight=fails)


@dataclass
class Run:
    """A client that asks until it is told to stop."""

    language: Language
    child: "subprocess.Popen[str]"

    def stop(self) -> tuple[dict[str, int], list[str]]:
        """Tell it that this was all; its result."""
        assert self.child.stdin is not None
        self.child.stdin.close()
        self.child.stdin = None
        return self.result()

    def result(self) -> tuple[dict[str, int], list[str]]:
        with self.child:
            out, errors = self.child.communicate(timeout=90)
        counts: dict[str, int] = json.loads(out)
        return counts, errors.splitlines()


def run(language: Language, url: str, authority: Path | None, count: int = 0) -> Run:
    options = [url.replace("127.0.0.1", "localhost") + PATH, str(zoo.CAT), str(count), str(THREADS)]
    trusted = [str(authority)] if authority else []
    pipe = subprocess.PIPE
    return Run(
        language,
        subprocess.Popen([*language.command, *options, *trusted], stdin=pipe, stdout=pipe, stderr=pipe, text=True),
    )


def speaks(language: Language, tls: bool) -> bool:
    """Java's client reaches HTTP/2 without TLS by an upgrade alone, which the gateway does not take."""
    return tls or not language.name.startswith("java")
