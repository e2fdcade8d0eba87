"""Run the notebooks, and write each with its results as a notebook and as a page: make notebooks"""

import os
import sys
from pathlib import Path

import jupytext
import nbconvert
from nbconvert.preprocessors import ExecutePreprocessor

HERE = Path(__file__).parent
NAMES = ("data_exploration", "error_analysis")
# Time for one cell: the release answers the whole split in one.
CELL_S = 3600


def main() -> None:
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    # The kernel is another process, which has to find this repository.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(HERE.parents[1]), os.environ.get("PYTHONPATH", ""))))
    for name in NAMES:
        notebook = jupytext.read(HERE / f"{name}.py")
        ExecutePreprocessor(timeout=CELL_S, kernel_name="python3").preprocess(
            notebook, {"metadata": {"path": str(Path.cwd())}}
        )
        jupytext.write(notebook, out / f"{name}.ipynb")
        page, _ = nbconvert.HTMLExporter().from_notebook_node(notebook)
        (out / f"{name}.html").write_text(page)
        print(out / f"{name}.html")


if __name__ == "__main__":
    main()
