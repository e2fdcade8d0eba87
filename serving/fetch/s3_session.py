"""Signed requests to one bucket that speaks S3. The caller's keys are kept for some minutes."""

import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import httpx

from common.download.transfer import Watch
from serving.fetch.s3 import Keys, address, find_keys, region_of
from serving.fetch.sources import CREDENTIALS, with_credentials
from serving.fetch.web import open_client

KEYS_S = 300.0
"""Seconds that keys are used before they are asked for again: those of a role last for 15 minutes or more."""


class Session:
    """A client of one bucket, for several threads.

    Args:
        bucket: the bucket's name.
        endpoint: address of a server other than AWS.
        credentials: the environment's variable that names a folder of credentials.

    Raises:
        UserError: the endpoint is not an address, or a client for it cannot be opened.
    """

    def __init__(
        self,
        bucket: str,
        endpoint: str | None = None,
        environment: Mapping[str, str] = os.environ,
        credentials: str = CREDENTIALS,
    ) -> None:
        self.bucket, self.endpoint = bucket, endpoint or ""
        self.environment, self.credentials = environment, credentials
        self.region = region_of(environment)
        address(bucket, "", self.region, self.endpoint)
        self.client = open_client(environment, "AWS_CA_BUNDLE")
        self.signed = False
        """Whether the last request was signed: there were keys."""
        self._lock = threading.Lock()
        self._keys: Keys | None = None
        self._keys_until = 0.0

    def close(self) -> None:
        self.client.close()

    def forget_keys(self) -> None:
        """Look for the keys anew at the next request: they were refused or may have been replaced."""
        self._keys_until = 0.0

    @contextmanager
    def ask(
        self,
        method: str,
        key: str,
        *,
        timeout_s: float,
        query: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> Iterator[httpx.Response]:
        """Yield the answer, whose body is still to come. A redirect is an answer, too.

        Args:
            timeout_s: seconds without a byte.

        Raises:
            httpx.HTTPError: the server cannot be reached, or breaks off.
            UserError, Again: the keys cannot be had.
        """
        from httpx_auth import AWS4Auth

        keys = self._find_keys()
        self.signed = keys is not None
        with self.client.stream(
            method,
            address(self.bucket, key, self.region, self.endpoint).copy_with(query=query),
            content=content,
            headers={"Accept-Encoding": "identity", **(headers or {})},
            timeout=timeout_s,
            auth=keys and AWS4Auth(keys.access, keys.secret, self.region, "s3", security_token=keys.token),
            follow_redirects=False,
        ) as response:
            yield response

    def _find_keys(self) -> Keys | None:
        with self._lock:
            if time.monotonic() > self._keys_until:
                watch = Watch()
                try:
                    environment = with_credentials(self.environment, self.credentials)
                    self._keys = find_keys(self.client, self.region, environment, watch)
                finally:
                    watch.close()
                self._keys_until = time.monotonic() + KEYS_S
            return self._keys
