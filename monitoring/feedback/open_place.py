"""The place that a name means: a folder, or a prefix in a bucket."""

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from handler.files import UserError
from monitoring.feedback.folder_place import Folder
from monitoring.feedback.place import Place


def open_place(
    name: str, endpoint: str | None = None, environment: Mapping[str, str] = os.environ
) -> AbstractContextManager[Place]:
    """Return the place that a name means: a folder, or s3://BUCKET/PREFIX.

    Raises:
        UserError: there is none of this name.
    """
    scheme, separator, _ = name.partition("://")
    if not separator:
        return nullcontext(Folder(Path(name)))
    if scheme.lower() != "s3":
        raise UserError(f"{name} is not a place for feedback: name a folder, or s3://BUCKET/PREFIX.")
    from monitoring.feedback.bucket_place import BucketPlace
    from serving.fetch.sources import CREDENTIALS, with_credentials

    return BucketPlace(name, endpoint, with_credentials(environment, CREDENTIALS))
