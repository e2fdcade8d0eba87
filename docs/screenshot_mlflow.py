"""The pictures of MLflow's UI in docs/, of a real sweep: make screenshot-mlflow PETIMAGES=..."""

import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import httpx
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from common.ports import free_ports
from tests.petimages import copy_some

DOCS = Path(__file__).parent
MLFLOW = DOCS.parent / ".venv-mlflow" / "bin" / "mlflow"
GRID = ("train.learning_rate=0.002,0.01,0.05", "train.label_smoothing=0,0.1", "train.epochs=6", "train.workers=0")
WIDTH, HEIGHT = 1360, 800
COLORS = 128
# A busy machine takes minutes to start the server.
DEADLINE_S = 600
EXPERIMENT = "1"  # the first one of a new database
NAME = "tf_efficientnet_lite0"
COLUMNS = [
    "params.`train.learning_rate`",
    "params.`train.label_smoothing`",
    "metrics.`best_val_accuracy`",
    "metrics.`val_loss`",
]
# Of charts that are drawn, but still move.
SETTLED_MS = 2000


def main() -> None:
    os.environ["CATSDOGS_PICTURES"] = sys.argv[1]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sweep(folder)
        record = json.loads((folder / "learning" / "tracking.json").read_bytes())
        members = [json.loads(path.read_bytes())["run"] for path in sorted(folder.glob("learning/*/tracking.json"))]
        with served(folder) as url, sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
            page.set_default_timeout(1000 * DEADLINE_S)
            take(page, url, EXPERIMENT, record["run"], members)
            browser.close()


def sweep(folder: Path) -> None:
    """Train six last layers on a few hundred pictures."""
    pictures = folder / "pictures"
    pictures.mkdir()
    copy_some(pictures)
    grid = [word for setting in GRID for word in ("--set", setting)]
    data = ["--data", str(folder / "data")]
    for arguments in (
        ["prepare", str(pictures), "--out", str(folder / "data")],
        ["sweep", *data, "--out", str(folder / "learning"), "--config", "small", "--tracker", "mlflow", *grid],
    ):
        subprocess.run(
            [sys.executable, "-m", "catsdogs", *arguments],
            check=True,
            env={**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db", "PYTHONPATH": str(DOCS.parent)},
        )


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The UI of the sweep's database, at the address that is yielded."""
    (port,) = free_ports(1)
    command = [MLFLOW, "server", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--workers", "1"]
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
    )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for_server(url)
        yield url
    finally:
        process.terminate()
        process.wait()


def wait_for_server(url: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            if httpx.get(f"{url}/health").is_success:
                return
        except httpx.TransportError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.5)


def take(page: Page, url: str, experiment: str, parent: str, members: list[str]) -> None:
    """Take the run list, a run, the curves beside each other, and the parallel coordinates."""
    state = {"selectedColumns": COLUMNS, "runsExpanded": {parent: True}, "orderByKey": "attributes.start_time"}
    settings = {
        "mlflow.workflowType_v1": "machine_learning",
        "mlflow.assistant.panelOpen_v1": False,
        "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": True,
        f'MLflowLocalStorage-1.1-ExperimentPage-["{experiment}"]-ReactComponentState': state,
    }
    for key, value in settings.items():
        page.add_init_script(f"localStorage.setItem({json.dumps(key)}, JSON.stringify({json.dumps(value)}))")
    runs = f"{url}/#/experiments/{experiment}/runs"
    page.goto(runs)
    page.get_by_text(NAME).nth(len(members) - 1).wait_for()
    shoot(page, "runs")
    page.goto(f"{runs}/{members[0]}")
    page.get_by_text("About this run").wait_for()
    page.get_by_text("data_sha256").wait_for()
    shoot(page, "run")
    page.goto(f"{runs}?compareRunsMode=CHART")
    page.get_by_placeholder("Search metric charts").fill("val_")
    page.locator(".js-plotly-plot").get_by_text("Step").nth(2).wait_for()
    shoot(page, "curves")
    listed = quote(json.dumps(members, separators=(",", ":")))
    page.goto(f"{url}/#/compare-runs?runs={listed}&experiments={quote(json.dumps([experiment]))}")
    metrics = page.locator(".du-bois-light-select-multiple").nth(1)
    metrics.locator(".du-bois-light-select-selection-item-remove").first.click()
    metrics.click()
    page.keyboard.type("val_loss")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    page.locator(".js-plotly-plot").get_by_text("val_loss").wait_for()
    shoot(page, "parallel")


def shoot(page: Page, name: str) -> None:
    """Keep a picture of few colours, which is what an interface has."""
    page.wait_for_timeout(SETTLED_MS)
    picture = Image.open(io.BytesIO(page.screenshot()))
    picture.quantize(COLORS).save(DOCS / f"mlflow-{name}.png", optimize=True)


if __name__ == "__main__":
    main()
