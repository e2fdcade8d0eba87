"""The arguments and options that several verbs share."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from handler.files import UserError
from handler.runtimes.choice import PRECISION_VARIABLE
from handler.runtimes.runtime import FP32, INT8
from handler.unsure import VARIABLE as UNSURE_VARIABLE

if TYPE_CHECKING:
    from serving.gateway.tls import Pair


PATH = click.Path(path_type=Path)
PORT = click.IntRange(1, 65535)
ARCHIVE = Path("model-store/catsdogs.mar")
RUN = Path("/run/catsdogs")


def first_key(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Return the first of several keys: a Secret's entry has one a line, as the gateway's file has."""
    from serving.gateway.keys import read_secret

    return next(iter((value or read_secret("CATSDOGS_KEY")).split()), None)


KEY = click.option(
    "--key",
    envvar="CATSDOGS_KEY",
    callback=first_key,
    help="API key. Prefer $CATSDOGS_KEY, or $CATSDOGS_KEY_FILE for a file that holds it: this option is visible in "
    "process lists.",
)
CA = click.option("--ca", type=PATH, help="CA bundle (PEM) used to verify an https server. Default: certifi's bundle.")
SHA256 = click.option("--sha256", metavar="HEX", help="SHA-256 that the archive must have.")
MODEL_KEY = click.option(
    "--model-key",
    envvar="CATSDOGS_MODEL_KEY",
    type=PATH,
    help="File with public keys (PEM), one of which must have signed the archive: its signature is ARCHIVE.sig. "
    "Default: $CATSDOGS_MODEL_KEY, else no signature is required.",
)
WORKERS = click.option("--workers", type=click.IntRange(1), help="Number of worker processes. Default: one per core.")


def use_precision(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    """Tell the workers, which inherit the environment, the precision."""
    if value is not None:
        os.environ[PRECISION_VARIABLE] = value


PRECISION = click.option(
    "--precision",
    type=click.Choice([FP32, INT8]),
    callback=use_precision,
    expose_value=False,
    help="What the network computes in on a CPU. Default: $CATSDOGS_PRECISION, else int8 on x86-64 where the release "
    "has it, else fp32, the reference.",
)


def use_unsure(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    """Tell the workers, which inherit the environment, to say whether an answer is unsure."""
    if value:
        os.environ[UNSURE_VARIABLE] = "1"


UNSURE = click.option(
    "--unsure",
    is_flag=True,
    callback=use_unsure,
    expose_value=False,
    help="Have every answer say whether it is unsure: whether its probability is below the release's threshold. A "
    "request may ask for it, too: ?unsure=true. Default: $CATSDOGS_UNSURE.",
)
VERBOSE = click.option("--verbose", is_flag=True, help="Show what TorchServe and its workers log.")
KEYS = click.option(
    "--keys", type=PATH, help="File with one API key per line, read at each request. Default: no key is required."
)
CORS_ORIGIN = click.option(
    "--cors-origin",
    "cors_origins",
    multiple=True,
    metavar="ORIGIN",
    help="Origin whose pages may read the answers (CORS), such as https://example.org; * allows all. Repeatable. "
    "Default: none.",
)
ACCESS_LOG = click.option(
    "--access-log",
    is_flag=True,
    help="Log each prediction as a line of JSON: request id, status, code, label, bytes, ms. Pictures and keys are not "
    "logged.",
)
STATS = click.option(
    "--stats",
    is_flag=True,
    help="Answer GET /stats on the port of REST too: requests, latency and predictions by class, as JSON. The metrics "
    "port always does.",
)
PUBLIC_METRICS = click.option(
    "--public-metrics",
    is_flag=True,
    help="Answer GET /metrics on the port of REST too, with a key if --keys is given. The metrics port always does.",
)
IMAGE_OPERATIONS = click.option(
    "--image-operations",
    is_flag=True,
    help="Also answer POST /images/OPERATION: resize, crop, grayscale, normalize, show-input. Costs up to 512 MiB.",
)
TLS_CERT = click.option(
    "--tls-cert", type=PATH, help="Certificate chain (PEM) for TLS on REST and gRPC. Needs --tls-key."
)
TLS_KEY = click.option(
    "--tls-key", type=PATH, help="Private key (PEM) of --tls-cert. Both files are read again when they change."
)


def pair_of(certificate: Path | None, key: Path | None) -> "Pair | None":
    """Return the certificate and the key that --tls-cert and --tls-key name, or None without both."""
    from serving.gateway.tls import Pair

    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise UserError("--tls-cert and --tls-key go together: a certificate is of no use without its key.")
    return Pair(certificate, key)
