"""Keys for signatures, and the real model-signing."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.zoo import ROOT

# Not in the environment of the other tests: requirements/signing.in says why.
PYTHON = ROOT / ".venv-signing" / "bin" / "python"


class Pair:
    """A private key and its public key, as files."""

    def __init__(self, folder: Path, name: str = "key", curve: ec.EllipticCurve | None = None) -> None:
        self.key = ec.generate_private_key(curve or ec.SECP256R1())
        self.private, self.public = folder / f"{name}.pem", folder / f"{name}.pub.pem"
        self.private.write_bytes(
            self.key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        self.public.write_bytes(
            self.key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )


SCRIPT = """
import json, sys
from click.testing import CliRunner
from model_signing._cli import main
print(json.dumps([CliRunner().invoke(main, command).exit_code for command in json.loads(sys.argv[1])]))
"""


def model_signing(*commands: Sequence[str | Path]) -> list[int]:
    """Run commands of the real package, which takes seconds to start, and return their exit codes."""
    assert PYTHON.exists(), f"{PYTHON} is missing: run the tests by make, or `make .venv-signing/.installed`"
    given = json.dumps([list(map(str, command)) for command in commands])
    done = subprocess.run([PYTHON, "-c", SCRIPT, given], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    codes: list[int] = json.loads(done.stdout)
    return codes


def really_sign(pair: Pair, model: Path, signature: Path, *more: str | Path) -> list[str | Path]:
    return ["sign", "key", model, "--private_key", pair.private, "--signature", signature, *more]


def really_verify(pair: Pair, model: Path, signature: Path) -> list[str | Path]:
    return ["verify", "key", model, "--public_key", pair.public, "--signature", signature]
