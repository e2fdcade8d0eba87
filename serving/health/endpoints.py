"""The answers to what may be asked about health and the model, in TorchServe's and KServe's words."""

import contextlib
import os
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from serving.health.probe import Health

Model = Mapping[str, Any]
LIVENESS = ("/livez", "/v2/health/live")
# The start of KServe's paths, whose clients look for `error` in an error's document.
KSERVE = ("/v1/", "/v2/")
JSON, PROBLEM = "application/json", "application/problem+json"
CONFIG = "model-config.yaml"


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and the JSON document that comes with it, which may be encoded already."""

    status: int
    document: Any
    content_type: str = JSON


def answer(path: str, health: Health, model: Model) -> Answer:
    """Return the answer to a GET of `path`, with or without a slash at its end.

    Args:
        health: as `is_live` judges it for the paths of LIVENESS, as `check` does for all others.
        model: `name`, `version`, `classes`, `sha256` of the weights, `server`, the version of this software,
            `openapi`, the description of its API, and `registered`, how TorchServe was told to serve the model.
    """
    path = path.removesuffix("/")
    name, version = model["name"], model["version"]
    ready_status = 200 if health.ready else 503
    reason = {"reason": health.reason} if health.reason else {}
    if path in LIVENESS:
        return Answer(ready_status, {"live": health.ready, **reason})
    if path in ("/readyz", "/health"):
        return Answer(ready_status, {"ready": health.ready, "workers": health.workers, **reason})
    if path == "/ping":
        return Answer(200, {"status": "Healthy"}) if health.ready else Answer(500, {"status": "Unhealthy"})
    if path == "/openapi.json":
        return Answer(200, model["openapi"])
    if path == "/models":
        return Answer(200, {"models": [{"modelName": name, "modelUrl": model["registered"]["modelUrl"]}]})
    if path in (f"/models/{name}", f"/models/{name}/{version}"):
        return Answer(200, [description(model, health.pids)])
    if path == "/v1/models":
        return Answer(200, {"models": [name]})
    if path == "/v2":
        return Answer(200, {"name": "catsdogs", "version": model["server"], "extensions": []})
    if path == "/v2/health/ready":
        return Answer(ready_status, {"ready": health.ready})
    versions = (f"/v2/models/{name}", f"/v2/models/{name}/versions/{version}")
    if path == f"/v1/models/{name}" or path in [f"{start}/ready" for start in versions]:
        return Answer(ready_status, {"name": name, "ready": health.ready})
    if path in versions:
        return Answer(200, metadata(model))
    return not_found(path, model)


def not_found(path: str, model: Model) -> Answer:
    """Return a problem document that says what is served instead. It repeats nothing of what the client sent."""
    name = re.escape(model["name"])
    if re.match(rf"(/models/{name}|/v2/models/{name}/versions)/[^/]+", path):
        detail = f"This server has one version of {model['name']}: {model['version']}."
    elif re.match("(/v1|/v2)?/models/", path):
        detail = f"This server has one model: {model['name']}, version {model['version']}."
    else:
        detail = "There is no such path: /openapi.json lists those that there are."
    document = {"type": "about:blank", "title": "not found", "status": 404, "code": "not_found", "detail": detail}
    return Answer(404, {**document, **({"error": detail} if path.startswith(KSERVE) else {})}, PROBLEM)


def metadata(model: Model) -> dict[str, Any]:
    """Return KServe v2's description of the model. In a shape, -1 stands for any number of pictures."""
    return {
        "name": model["name"],
        "versions": [model["version"]],
        "platform": "torchserve_mar",
        "inputs": [{"name": "image", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
            {"name": "probability", "datatype": "FP32", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, len(model["classes"])]},
        ],
        "parameters": {"classes": ",".join(model["classes"]), "sha256": model["sha256"]},
    }


def description(model: Model, pids: Sequence[int]) -> dict[str, Any]:
    """Return the model as TorchServe's management API describes it, as far as it is known without asking that.

    TorchServe itself is not asked: on a GPU it starts a process for each worker to answer.
    """
    return {
        "modelName": model["name"],
        "modelVersion": model["version"],
        **model["registered"],
        "loadedAtStartup": True,
        "workers": [{"id": str(pid), **_started(pid), "status": "READY", "pid": pid} for pid in sorted(pids)],
    }


def registered(archive: Path, workers: int) -> dict[str, Any]:
    """Return how TorchServe was told to serve an archive: its settings, under the names that TorchServe uses."""
    settings: dict[str, Any] = {}
    with zipfile.ZipFile(archive) as packed, contextlib.suppress(KeyError):
        settings = yaml.safe_load(packed.read(CONFIG))
    return {
        "modelUrl": archive.name,
        "runtime": "python",
        "minWorkers": workers,
        "maxWorkers": workers,
        **{name: value for name, value in settings.items() if type(value) is int},
    }


def _started(pid: int) -> dict[str, str]:
    """Return when a process started, where the system tells: /proc counts ticks from the machine's start."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
        (boot,) = re.findall(r"^btime (\d+)$", Path("/proc/stat").read_text(), re.MULTILINE)
        started = datetime.fromtimestamp(int(boot) + ticks / os.sysconf("SC_CLK_TCK"), UTC)
        return {"startTime": started.isoformat(timespec="milliseconds").replace("+00:00", "Z")}
    return {}
