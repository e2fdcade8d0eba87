"""Fill in the YAML of the service or of the training job.

    python -m serving.hosting.cloud_run.render service --image REGION-docker.pkg.dev/P/R/catsdogs-serve@sha256:... \
        --service-account serve@P.iam.gserviceaccount.com
    python -m serving.hosting.cloud_run.render job --image ... --service-account ... --pictures BUCKET --store BUCKET
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any

import yaml

HERE = Path(__file__).parent
# What may stand in YAML between quotes, and in the names of images, accounts and buckets.
PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]*")


def render(kind: str, values: dict[str, str]) -> dict[str, Any]:
    """Return the service or the job.

    Raises:
        ValueError: a value is none that could stand there.
    """
    for name, value in values.items():
        if not PLAIN.fullmatch(value):
            raise ValueError(f"--{name.replace('_', '-')} cannot be {value!r}.")
    text = Template((HERE / f"{kind}.yaml").read_text()).substitute(values)
    document: dict[str, Any] = yaml.safe_load(text)
    return document


def with_traffic(service: dict[str, Any], serving: str | None, tag: str) -> dict[str, Any]:
    """Return the service so that its new revision has an address of its own, by a tag, and no traffic.

    Args:
        serving: the revision that keeps the traffic; None is a service that is new, whose first revision gets it all.
    """
    newest = {"latestRevision": True, "tag": tag}
    kept = [] if serving is None else [{"revisionName": serving, "percent": 100}]
    percent = 100 if serving is None else 0
    return {**service, "spec": {**service["spec"], "traffic": [*kept, {**newest, "percent": percent}]}}


def values_of(given: argparse.Namespace) -> dict[str, str]:
    names = ("name", "image", "service_account")
    own = {"service": ("min_instances", "max_instances"), "job": ("version", "pictures", "store")}
    return {name: str(getattr(given, name)) for name in (*names, *own[given.kind])}


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m serving.hosting.cloud_run.render", description="Render for Cloud Run."
    )
    kinds = made.add_subparsers(dest="kind", required=True)
    for kind in ("service", "job"):
        options = kinds.add_parser(kind)
        add_options(options)
        if kind == "job":
            options.add_argument("--pictures", required=True, help="Bucket with one folder per class.")
            options.add_argument("--store", required=True, help="Bucket for runs, the release and the archive.")
            options.add_argument("--version", default="0.1.0", help="Version of the release. Default: 0.1.0.")
    return made


def add_options(options: argparse.ArgumentParser) -> None:
    """Add what the service and the job have in common, and the service's numbers."""
    options.add_argument("--name", default="catsdogs", help="Name of the service. Default: catsdogs.")
    options.add_argument("--image", required=True, help="Image, by digest if it is to stay the same.")
    options.add_argument("--service-account", required=True, help="Account that it runs as.")
    options.add_argument("--min-instances", type=int, default=0, help="Instances that are kept. Default: 0.")
    options.add_argument("--max-instances", type=int, default=3, help="Instances at most. Default: 3.")


def main(arguments: Sequence[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    try:
        document = render(given.kind, values_of(given))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print(yaml.safe_dump(document, sort_keys=False), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
