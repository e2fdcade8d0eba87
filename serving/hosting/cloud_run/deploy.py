"""Deploy the server on Cloud Run: users get the new revision once it has been validated at an address of its own.

    python -m serving.hosting.cloud_run.deploy --region europe-west1 --image ... --service-account ...

It needs gcloud, logged in, with a project set. A revision that does not start, or does not pass `catsdogs validate`,
gets no traffic: what served before serves on. Exit codes: 0 deployed, 10 refused, 11 and 12 as `catsdogs validate`,
13 gcloud failed or the revision did not get ready, 2 wrong usage.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from common.verdicts import WRONG_USAGE, Verdict
from serving.hosting.cloud_run.render import PLAIN, add_options, render, with_traffic

TAG = "candidate"
ROOT = Path(__file__).parents[3]


class Ended(Exception):
    """The end of a deployment that did not pass: its exit code, and a sentence that says what the state is now."""

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


def gcloud(*arguments: str) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(["gcloud", "run", *arguments, "--quiet"], capture_output=True, text=True)
    except FileNotFoundError:
        raise Ended(WRONG_USAGE, "There is no gcloud on the PATH.") from None


def describe(name: str, region: str) -> dict[str, Any] | None:
    """Return a service as it is, or None if there is none.

    Raises:
        Ended: Google Cloud does not answer.
    """
    done = gcloud("services", "describe", name, f"--region={region}", "--format=json")
    if done.returncode == 0:
        return dict(json.loads(done.stdout))
    if "Cannot find service" in done.stderr:
        return None
    raise Ended(Verdict.NOT_READY.exit_code, f"gcloud failed, and nothing was changed: {done.stderr.strip()}")


def serving_revision(service: dict[str, Any] | None) -> str | None:
    """Return the revision that has the traffic, or None if none has any.

    Raises:
        Ended: several share it, so that there is no one revision to go on with.
    """
    traffic = [] if service is None else service.get("status", {}).get("traffic", [])
    shares = {str(part["revisionName"]): part["percent"] for part in traffic if part.get("percent")}
    if len(shares) > 1:
        parts = " and ".join(f"{name} ({percent} %)" for name, percent in shares.items())
        raise Ended(
            WRONG_USAGE,
            f"{parts} share the traffic, and nothing was changed: give all of it to one of them first, by `gcloud run "
            "services update-traffic`.",
        )
    return next(iter(shares), None)


def validate(url: str, minimum: str) -> int:
    """Return the exit code of `catsdogs validate`."""
    command = [sys.executable, "-P", "-m", "catsdogs", "validate", "--url", url, "--wait", "120"]
    return subprocess.run([*command, "--min-accuracy", minimum], cwd=ROOT).returncode


def deploy(given: argparse.Namespace) -> None:
    """
    Raises:
        Ended: the new revision was refused, or nothing could be done.
    """
    if not PLAIN.fullmatch(given.region):
        raise Ended(WRONG_USAGE, f"--region cannot be {given.region!r}.")
    names = ("name", "image", "service_account", "min_instances", "max_instances")
    try:
        rendered = render("service", {name: str(getattr(given, name)) for name in names})
    except ValueError as error:
        raise Ended(WRONG_USAGE, str(error)) from None
    before = serving_revision(describe(given.name, given.region))
    kept = "there was no other one" if before is None else f"{before} serves on"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "service.yaml"
        path.write_text(yaml.safe_dump(with_traffic(rendered, before, TAG), sort_keys=False))
        done = gcloud("services", "replace", str(path), f"--region={given.region}")
    if done.returncode != 0:
        raise Ended(Verdict.BREACH.exit_code, f"The new revision did not start, and {kept}: {done.stderr.strip()}")
    traffic = (describe(given.name, given.region) or {}).get("status", {}).get("traffic", [])
    url = next((part["url"] for part in traffic if part.get("tag") == TAG), None)
    if url is None:
        raise Ended(Verdict.NOT_READY.exit_code, f"The new revision has no address, so it was not asked; {kept}.")
    code = validate(url, given.min_accuracy)
    if code != 0:
        raise Ended(code, f"The new revision at {url} did not pass, and {kept}.")
    done = gcloud("services", "update-traffic", given.name, f"--region={given.region}", "--to-latest")
    if done.returncode != 0:
        raise Ended(Verdict.NOT_READY.exit_code, f"The new revision passed, but {kept}: {done.stderr.strip()}")


def share(value: str) -> str:
    if not 0 < float(value) < 1:
        raise ValueError
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m serving.hosting.cloud_run.deploy", description="Deploy on Cloud Run."
    )
    add_options(parser)
    parser.add_argument("--region", required=True, help="Region, such as europe-west1.")
    parser.add_argument("--min-accuracy", type=share, default="0.85", help="Minimum accuracy, at 95 %%. Default: 0.85.")
    given = parser.parse_args(arguments)
    try:
        deploy(given)
    except Ended as error:
        print(error)
        return error.code
    print(f"PASS: {given.name} serves {given.image}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
