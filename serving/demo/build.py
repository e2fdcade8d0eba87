"""Make the folder of the demo that computes in the browser, for a static web server.

python -m serving.demo.build build/web-demo --onnxruntime build/onnxruntime-web/node_modules/onnxruntime-web

The folder holds the page of the gateway with another backend.js, ONNX Runtime's WebAssembly, and the network of an
archive in one file. The same inputs give the same bytes.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from handler.files import UserError
from handler.runtimes.runtime import FP32, INT8
from serving.client.samples import SAMPLES
from serving.demo.index import index_page
from serving.demo.model import model_facts

HERE = Path(__file__).parent
PAGE = HERE.parent / "gateway" / "page"
ROOT = HERE.parents[1]
# The description of the API, which a demo does not have.
NOT_SHIPPED = ("docs.html", "docs.js", "backend.js", "index.html")
RUNTIME = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
# Those of the gateway's page (backend.js), with what they show.
SHOWN = {"cat/4055": "tabby cat", "dog/4123": "puppy", "cat/4780": "cat", "dog/420": "dog"}
# A file that only such a folder has.
MARK = "model.json"


def build(out: Path, archive: Path, precision: str, onnxruntime: Path) -> None:
    """Write the files of the demo into an empty folder.

    Args:
        out: the folder.
        archive: whose network is computed.
        precision: of the network, fp32 or int8.
        onnxruntime: the npm package onnxruntime-web, unpacked.

    Raises:
        UserError: the archive is not sound, or the package is not there.
    """
    for path in sorted(PAGE.iterdir()):
        if path.name not in NOT_SHIPPED:
            shutil.copyfile(path, out / path.name)
    shutil.copytree(HERE / "site", out, dirs_exist_ok=True, copy_function=shutil.copyfile)
    runtime = copy_runtime(onnxruntime, out)
    facts = model_facts(archive, precision, out, runtime)
    facts["samples"] = copy_samples(facts["classes"], out)
    (out / MARK).write_text(json.dumps(facts, indent=2) + "\n")
    (out / "index.html").write_text(index_page((PAGE / "index.html").read_text()))


def copy_runtime(package: Path, out: Path) -> Path:
    """Copy ONNX Runtime's script and WebAssembly, and return the path of the latter in the folder.

    The script gets the ending .js: some web servers do not know .mjs for JavaScript.

    Raises:
        UserError: the package is not there.
    """
    folder = out / "onnxruntime"
    for name in RUNTIME:
        source = package / "dist" / name
        if not source.is_file():
            raise UserError(f"{source} is missing: `make web-demo` fetches the package.")
        shutil.copyfile(source, folder / name.replace(".mjs", ".js"))
    return folder / RUNTIME[1]


def copy_samples(classes: Sequence[str], out: Path) -> list[dict[str, str]]:
    """Copy the sample photographs where they show the model's classes; return the address and text of each."""
    if not {"cat", "dog"} <= set(classes):
        return []
    for name in [*(f"{each}.jpg" for each in SHOWN), "README.md"]:
        target = out / "samples" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(SAMPLES / name, target)
    return [{"href": f"samples/{name}.jpg", "text": text} for name, text in SHOWN.items()]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m serving.demo.build", description="Make the folder of the demo.")
    parser.add_argument("out", type=Path, help="Folder to make; one that is there is replaced.")
    parser.add_argument("--archive", type=Path, default=ROOT / "model-store" / "catsdogs.mar", help="Archive to show.")
    parser.add_argument("--precision", choices=(FP32, INT8), default=FP32, help="Precision (default: fp32).")
    parser.add_argument("--onnxruntime", type=Path, required=True, help="Folder of the npm package onnxruntime-web.")
    given = parser.parse_args(arguments)
    if given.out.exists() and not (given.out / MARK).exists() and any(given.out.iterdir()):
        parser.error(f"{given.out} is not the folder of a demo: nothing was changed.")
    given.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=given.out.parent) as scratch:
        made = Path(scratch) / "demo"
        made.mkdir()
        try:
            build(made, given.archive, given.precision, given.onnxruntime)
        except UserError as error:
            parser.error(str(error))
        shutil.rmtree(given.out, ignore_errors=True)
        made.rename(given.out)
    print(summary(given.out))
    return 0


def summary(folder: Path) -> str:
    """Return a sentence on the folder: its files and their size, and what the browser loads of it first."""
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    files = json.loads((folder / MARK).read_text())["files"]
    large = sum(file["bytes"] for file in files.values() if file)
    return (
        f"{folder}: {len(sizes)} files, {sum(sizes) / 1e6:.1f} MB, of which network and runtime are "
        f"{large / 1e6:.1f} MB. See it by: make web-demo-serve"
    )


if __name__ == "__main__":
    sys.exit(main())
