"""Certificates for tests, by the command openssl: an authority's, and those it signs."""

import subprocess
from pathlib import Path

NEW = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "2")
NAME = "catsdogs.example"


def openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def make_authority(folder: Path) -> Path:
    """Its certificate; its key lies beside."""
    folder.mkdir(parents=True, exist_ok=True)
    files = ("-keyout", str(folder / "ca.key"), "-out", str(folder / "ca.crt"))
    # An authority is told by openssl's own configuration; the rest is what strict clients want.
    openssl(*NEW, *files, "-subj", "/CN=tests", "-addext", "keyUsage=critical,keyCertSign")
    return folder / "ca.crt"


def make_pair(authority: Path, folder: Path, *names: str) -> tuple[Path, Path]:
    """tls.crt and tls.key, as a Secret of the type kubernetes.io/tls has them, for these names and this machine."""
    folder.mkdir(parents=True, exist_ok=True)
    certificate, key = folder / "tls.crt", folder / "tls.key"
    signed = ("-CA", str(authority), "-CAkey", str(authority.with_suffix(".key")))
    named = ",".join(f"DNS:{name}" for name in (*(names or (NAME,)), "localhost"))
    extensions = (f"subjectAltName={named},IP:127.0.0.1", "basicConstraints=critical,CA:FALSE")
    added = [word for extension in extensions for word in ("-addext", extension)]
    openssl(*NEW, *signed, "-keyout", str(key), "-out", str(certificate), "-subj", "/CN=catsdogs", *added)
    return certificate, key
