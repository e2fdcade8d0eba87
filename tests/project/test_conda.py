"""environment.yml: conda brings Python, our locks everything else, and with it one OpenMP of Intel's at most.

conda itself is not run: its channels cannot be reached from where the tests run. The pip part is.
"""

import re
import subprocess
import sys
from pathlib import Path

import yaml

from tests.zoo import ROOT

ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text())


def pip_lines() -> list[str]:
    (part,) = (entry["pip"] for entry in ENVIRONMENT["dependencies"] if isinstance(entry, dict))
    lines: list[str] = part
    return lines


def test_conda_brings_python_and_pip_and_nothing_else() -> None:
    names = [entry for entry in ENVIRONMENT["dependencies"] if isinstance(entry, str)]
    assert names == ["python=3.11", "pip"]
    assert ENVIRONMENT["channels"] == ["conda-forge", "nodefaults"]


def test_pip_gets_our_locks_with_their_hashes(tmp_path: Path) -> None:
    assert pip_lines()[0] == "--require-hashes"
    locks = [ROOT / line.removeprefix("-r ") for line in pip_lines()[1:]]
    assert [lock.name for lock in locks] == ["tools.txt", "train.txt"]
    # As conda does it: the lines become a file of requirements beside environment.yml.
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("".join(f"-r {lock}\n" for lock in locks))
    uv, python = ROOT / ".venv-train" / "bin" / "uv", ROOT / ".venv-train" / "bin" / "python"
    options = ["--dry-run", "--require-hashes", "--python", str(python), "--requirements", str(requirements)]
    done = subprocess.run([uv, "pip", "install", *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Would make no changes" in done.stderr


def test_there_is_one_openmp_of_intel_at_most() -> None:
    site = next(Path(path) for path in sys.path if path.endswith("site-packages"))
    copies = [path for path in site.rglob("*") if re.fullmatch(r"lib(iomp5|omp5?)(md)?[-.].*", path.name)]
    assert any(site.glob("torch/lib/*.so*")), "this test is for the environment with torch"
    assert len(copies) <= 1, copies


def test_the_lock_holds_no_package_with_an_openmp_of_intel() -> None:
    lock = (ROOT / "requirements" / "train.txt").read_text()
    assert re.findall(r"^(?:mkl|intel-openmp|intel-cmplr-lib-rt)\b.*", lock, re.MULTILINE) == []
