"""The source of an archive by its address: a web server, or a bucket that speaks S3."""

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from common.download.transfer import Source
from handler.files import UserError
from serving.fetch.web import Web

# A folder with a file for each of AWS' variables, as a Secret is mounted.
CREDENTIALS = "CATSDOGS_FETCH_CREDENTIALS"


def find_source(
    name: str, endpoint: str | None = None, environment: Mapping[str, str] = os.environ
) -> AbstractContextManager[Source[Any]]:
    """Return the source that an address names, ready to be asked.

    Raises:
        UserError: nothing that can be fetched has such a name.
    """
    scheme = name.partition("://")[0].lower()
    if scheme == "s3":
        from serving.fetch.s3 import Bucket

        return Bucket(name, endpoint, with_credentials(environment, CREDENTIALS))
    if scheme in ("http", "https"):
        return Web(name, environment)
    raise UserError(f"{name} is not a source: it must begin with https://, http:// or s3://.")


def with_credentials(environment: Mapping[str, str], variable: str) -> Mapping[str, str]:
    """Return the environment with the variables of AWS that lie, a file each, in the folder that a variable names."""
    if not (folder := environment.get(variable)):
        return environment
    return {**environment, **{path.name: path.read_text().strip() for path in Path(folder).glob("AWS_*")}}
