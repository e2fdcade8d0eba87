"""A stand-in for gcloud, for machines without a Google account: Cloud Run is a folder, $STANDIN_GCLOUD.

It knows `run services describe, replace, update-traffic`, and takes a service to be ready at once. `service.json` is
the service with its status; `address` is where each revision answers; `fails` is what `replace` says if it fails.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

import yaml

HOME = Path(os.environ["STANDIN_GCLOUD"])
SERVICE = HOME / "service.json"


def fail(text: str) -> NoReturn:
    print(f"ERROR: (gcloud.run) {text}", file=sys.stderr)
    sys.exit(1)


def service() -> dict[str, Any]:
    if not SERVICE.exists():
        fail("Cannot find service [catsdogs]")
    return dict(json.loads(SERVICE.read_text()))


def replace(path: str) -> None:
    if (HOME / "fails").exists():
        fail((HOME / "fails").read_text())
    before = json.loads(SERVICE.read_text())["revisions"] if SERVICE.exists() else []
    document = yaml.safe_load(Path(path).read_text())
    newest = f"catsdogs-{len(before) + 1:05d}"
    traffic = [{"revisionName": newest, **part} for part in document["spec"]["traffic"]]
    for part in traffic:
        if "tag" in part:
            part["url"] = (HOME / "address").read_text()
    SERVICE.write_text(json.dumps({**document, "revisions": [*before, newest], "status": {"traffic": traffic}}))


def to_latest() -> None:
    document = service()
    newest = document["revisions"][-1]
    document["status"]["traffic"] = [{"revisionName": newest, "latestRevision": True, "percent": 100}]
    SERVICE.write_text(json.dumps(document))


match [word for word in sys.argv[1:] if not word.startswith("--")]:
    case ["run", "services", "describe", "catsdogs"]:
        print(json.dumps(service()))
    case ["run", "services", "replace", path]:
        replace(path)
    case ["run", "services", "update-traffic", "catsdogs"]:
        to_latest()
    case words:
        fail(f"The stand-in for gcloud does not know: {' '.join(words)}")
