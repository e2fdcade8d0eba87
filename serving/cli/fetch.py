"""catsdogs fetch: an archive from a web server or a bucket."""

import math
import re
import time
from pathlib import Path

import click

from handler.files import UserError
from serving.cli.options import PATH
from serving.terminal import say

MAX_TIMEOUT_S = 7 * 24 * 3600.0


@click.command()
@click.argument("source")
@click.argument("out", type=PATH)
@click.option(
    "--sha256", metavar="HEX", help="SHA-256 that the archive must have. Required, unless --model-key is given."
)
@click.option(
    "--model-key",
    envvar="CATSDOGS_MODEL_KEY",
    type=PATH,
    help="File with public keys (PEM), one of which must have signed the archive: its signature is SOURCE.sig, and is "
    "written to OUT.sig. Default: $CATSDOGS_MODEL_KEY, else no signature is required.",
)
@click.option(
    "--endpoint-url",
    envvar=["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"],
    metavar="URL",
    help="URL of an S3 service other than AWS, such as MinIO. Default: $AWS_ENDPOINT_URL_S3 or $AWS_ENDPOINT_URL.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(1, MAX_TIMEOUT_S),
    metavar="SECONDS",
    help="Seconds that the whole download may take, retries included.  [default: 600]",
)
@click.option(
    "--max-mib", type=click.IntRange(1), metavar="MIB", help="Maximum size of the archive in MiB.  [default: 1024]"
)
@click.option("--seconds", type=click.FloatRange(1, MAX_TIMEOUT_S), hidden=True)
@click.option("--mib", type=click.IntRange(1), hidden=True)
def fetch(
    source: str,
    out: Path,
    sha256: str | None,
    model_key: Path | None,
    endpoint_url: str | None,
    timeout: float | None,
    max_mib: int | None,
    seconds: float | None,
    mib: int | None,
) -> None:
    """Fetch an archive from a web server or a bucket, and verify its SHA-256.

    SOURCE is https://…, http://… or s3://BUCKET/KEY. The archive is written to OUT, or nothing is. A download that
    breaks off resumes where it stopped, by itself within the time limit, and when the command is run again. With
    --model-key, an archive that is not signed, or signed with another key, is refused.

    Set $CATSDOGS_FETCH_HEADER, or name a file by $CATSDOGS_FETCH_HEADER_FILE, to send a header such as
    `Authorization: Bearer …` to a web server. S3 credentials come from the variables of AWS, from a folder
    $CATSDOGS_FETCH_CREDENTIALS with a file for each of them, from a service account's token (IRSA) or from EKS Pod
    Identity.
    """
    from common.download.resume import Limits
    from serving.fetch.download import fetch as run_fetch
    from serving.fetch.progress import show_progress
    from serving.fetch.sources import find_source

    if sha256 is None and model_key is None:
        raise UserError("Give --sha256, by which the archive is known, or --model-key, by whose signature it is.")
    if sha256 is not None and not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise UserError(f"{sha256} is not a sha256, which has 64 digits of 0-9 and a-f. Get it by: sha256sum FILE.mar")
    limit_s = renamed("--seconds", seconds, "--timeout", timeout) or 600.0
    limit_mib = int(renamed("--mib", mib, "--max-mib", max_mib) or 1024)
    if math.isnan(limit_s):
        raise UserError("--timeout must be a number of seconds.")
    limits = Limits(limit_s, limit_mib << 20)
    started = time.monotonic()
    signature = None
    if model_key is not None:
        from serving.fetch.signed import find_signature

        signature = find_signature(source, out, model_key, sha256, endpoint_url, limits, say)
        sha256 = signature.sha256
    assert sha256 is not None
    with find_source(source, endpoint_url) as origin, show_progress(say) as progress:
        fetched = run_fetch(origin, out, sha256, limits, progress, say)
    if signature is not None:
        signature.keep()
        say(f"{out} is signed by a key of {model_key}.")
    if not fetched:
        say(f"{out} is there already, with this sha256.")
        return
    size = out.stat().st_size / 1e6
    say(f"{out} is fetched: {size:.1f} MB in {time.monotonic() - started:.1f} s, with this sha256.")


def renamed(old_name: str, old: float | None, new_name: str, new: float | None) -> float | None:
    """Return the value of an option that may still be given by its old name, until the next version."""
    if old is None:
        return new
    if new is not None:
        raise UserError(f"{old_name} is the old name of {new_name}: give one of them.")
    say(f"{old_name} is now named {new_name}; the next version removes the old name.")
    return old
