"""Put together the folder of a Space of Hugging Face, which is a git repository of its own.

python -m serving.hosting.spaces server build/space --image ghcr.io/OWNER/catsdogs-serve:0.2.0-cpu
python -m serving.hosting.spaces gradio build/gradio-space --release model-store/catsdogs
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
# What Predictor reads of a release; its figures and its card stay in the repository.
MODELS = ("release.json", "model.*", "components.npy")


def server_space(out: Path, image: str) -> None:
    """The server: a Dockerfile on a published image."""
    text = (HERE / "space" / "Dockerfile").read_text()
    head, from_image, rest = text.partition("FROM ${IMAGE}\n")
    assert from_image, "the Dockerfile takes its image from elsewhere"
    kept = [line for line in head.splitlines(keepends=True) if not line.startswith("ARG ")]
    (out / "Dockerfile").write_text(f"{''.join(kept)}FROM {image}\n{rest}")
    shutil.copy(HERE / "space" / "README.md", out)


def gradio_space(out: Path, release: Path) -> None:
    """The Gradio app: the app, its lock, the handler's code and a release."""
    for name in ("Dockerfile", "README.md", "app.py", "requirements.txt"):
        shutil.copy(HERE / "gradio_space" / name, out)
    shutil.copytree(ROOT / "handler", out / "handler", ignore=shutil.ignore_patterns("__pycache__"))
    (out / "release").mkdir()
    for pattern in MODELS:
        for path in release.glob(pattern):
            shutil.copy(path, out / "release")
    # Without these, a Space refuses files of more than 10 MB.
    (out / ".gitattributes").write_text("release/model.* filter=lfs diff=lfs merge=lfs -text\n")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m serving.hosting.spaces", description="Make the folder of a Space.")
    parser.add_argument("kind", choices=("server", "gradio"))
    parser.add_argument("out", type=Path, help="Folder to make; one that is there is replaced.")
    parser.add_argument("--image", help="Published image of the server.")
    parser.add_argument("--release", type=Path, default=ROOT / "model-store" / "catsdogs", help="Folder of a release.")
    given = parser.parse_args(arguments)
    if given.kind == "server" and not given.image:
        parser.error("--image is needed: a published image, such as ghcr.io/OWNER/catsdogs-serve:0.2.0-cpu.")
    if given.kind == "gradio" and not (given.release / "release.json").is_file():
        parser.error(f"{given.release} is no release: it has no release.json.")
    if given.out.exists() and not (given.out / "Dockerfile").exists() and any(given.out.iterdir()):
        parser.error(f"{given.out} is not the folder of a Space: nothing was changed.")
    shutil.rmtree(given.out, ignore_errors=True)
    given.out.mkdir(parents=True)
    if given.kind == "server":
        server_space(given.out, given.image)
    else:
        gradio_space(given.out, given.release)
    print(f"The Space is in {given.out}: push it to https://huggingface.co/spaces/OWNER/NAME by git.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
