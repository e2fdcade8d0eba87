"""The commands of docs/how-to/sign-models.md, as they stand there."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.documentation import run_by
from tests.zoo import ROOT


def test_the_documented_commands_make_a_key_sign_verify_and_show_the_bill(archive: Path, tmp_path: Path) -> None:
    assert shutil.which("openssl"), "openssl is missing"
    (tmp_path / "model-store").mkdir()
    (tmp_path / "model-store" / "catsdogs.mar").symlink_to(archive)
    command = tmp_path / "bin" / "catsdogs"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m catsdogs "$@"\n')
    unzip = command.with_name("unzip")  # not on every machine that tests
    unzip.write_text(
        f'#!/bin/sh\nexec {sys.executable} -c "import sys, zipfile; '
        'print(zipfile.ZipFile(sys.argv[2]).read(sys.argv[3]).decode())" "$@"\n'
    )
    for script in (command, unzip):
        script.chmod(0o755)
    path = f"{command.parent}:{os.environ['PATH']}"
    output = []
    for line in (line for block in run_by(__file__) for line in block.commands):
        done = subprocess.run(
            line, shell=True, cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True
        )
        assert done.returncode == 0, (line, done.stderr)
        output.append(done.stdout)
    assert (tmp_path / "model-store" / "catsdogs.mar.sig").exists()
    assert "is as it was signed: 1 file" in output[-2]
    assert json.loads(output[-1])["bomFormat"] == "CycloneDX"
