"""Packing of the released weights for stock TorchServe: python -m loadtest.rivals.pack RELEASE FOLDER"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import safetensors.torch
import torch

from handler.release import read_release, verify_file

STOCK = Path(__file__).parent / "stock"
NAME = "catsdogs"


def pack(release: Path, folder: Path) -> None:
    """Write catsdogs.mar into a folder by torch-model-archiver, as its users call it."""
    facts = read_release(release)
    verify_file(release, "model.safetensors", facts.weights_sha256)
    # Kernels are stored as fp16 and computed as fp32.
    state = safetensors.torch.load_file(release / "model.safetensors")
    weights = folder / "weights.pt"
    torch.save({name: value.float() if value.is_floating_point() else value for name, value in state.items()}, weights)
    names = folder / "index_to_name.json"
    names.write_text(json.dumps({str(index): name for index, name in enumerate(facts.classes)}))
    shutil.copy(release / "release.json", folder)
    archiver = Path(sys.executable).with_name("torch-model-archiver")
    command = [str(archiver), "--model-name", NAME, "--version", "1.0", "--export-path", str(folder)]
    command += ["--model-file", str(STOCK / "model.py"), "--serialized-file", str(weights)]
    command += ["--handler", str(STOCK / "stock_handler.py"), "--extra-files", f"{names},{folder / 'release.json'}"]
    subprocess.run(command, check=True)


if __name__ == "__main__":
    pack(Path(sys.argv[1]), Path(sys.argv[2]))
