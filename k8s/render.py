"""The chart -> plain manifests for those who do without Helm: serve-gpu.yaml and serve-cpu.yaml.

python k8s/render.py      (part of `make chart`; $HELM names helm where it is not on the PATH)
"""

import os
import re
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
CHART = HERE.parent / "helm"
# File: what it is for, the chart's values files.
RENDERED = {"serve-gpu.yaml": ("a GPU pool", []), "serve-cpu.yaml": ("CPU nodes", [CHART / "values-cpu.yaml"])}
# The oldest version that the chart takes: what it renders must not follow from the helm that rendered it.
KUBE_VERSION = "1.29.0"
# Helm would take these objects for its own.
HELMS = re.compile(r"^ *(helm\.sh/chart|app\.kubernetes\.io/managed-by): .*\n", re.MULTILINE)


def template(*arguments: str) -> str:
    """What `helm template` prints."""
    command = [os.environ.get("HELM", "helm"), "template", "catsdogs", str(CHART), "--kube-version", KUBE_VERSION]
    return subprocess.run([*command, *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


def render(name: str) -> str:
    """The content of k8s/`name`."""
    purpose, values = RENDERED[name]
    rendered = template("--skip-tests", *(argument for path in values for argument in ("--values", str(path))))
    # Versions of helm differ in the empty lines between documents.
    documents = [text.strip() for text in re.split(r"^---\n", HELMS.sub("", rendered), flags=re.MULTILINE)]
    head = (
        f"# catsdogs on {purpose}, rendered from helm/ by `make chart`: change that, not this.\n"
        f"# kubectl apply --namespace catsdogs -f k8s/{name}\n"
    )
    return head + "".join(f"---\n{text}\n" for text in documents if text)


def main() -> None:
    for name in RENDERED:
        (HERE / name).write_text(render(name))


if __name__ == "__main__":
    main()
