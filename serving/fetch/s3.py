"""An object in a bucket that speaks S3: AWS, MinIO and others. Its address, the caller's keys, and its errors."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx

from common.download.failures import Again
from common.download.transfer import TIMEOUT_S, Watch
from handler.files import UserError
from serving.fetch.web import failures, open_client, parse, read_at_most

# An answer that explains itself, or has credentials in it, takes a few thousand bytes.
MOST_BYTES = 1 << 16
BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}")


class Keys(NamedTuple):
    access: str
    secret: str
    token: str | None


class Bucket:
    """One object. Its keys are looked for anew at each try: those of a role expire."""

    def __init__(self, name: str, endpoint: str | None = None, environment: Mapping[str, str] = os.environ) -> None:
        # Not as a URL: ? and # may be part of a key.
        self.bucket, _, self.key = name.partition("://")[2].partition("/")
        if not BUCKET.fullmatch(self.bucket) or not self.key:
            raise UserError(f"{name} is not an object in a bucket: it must have the form s3://BUCKET/KEY.")
        self.environment = environment
        self.region = region_of(environment)
        self.endpoint = endpoint or ""
        self.url = address(self.bucket, self.key, self.region, self.endpoint)
        self.signed = False
        self.client = open_client(environment, "AWS_CA_BUNDLE")

    def __enter__(self) -> "Bucket":
        return self

    def __exit__(self, *reason: object) -> None:
        self.client.close()

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}" + f" at {self.endpoint}" * bool(self.endpoint)

    @contextmanager
    def get(self, headers: dict[str, str], watch: Watch) -> Iterator[httpx.Response]:
        from httpx_auth import AWS4Auth

        with failures():
            keys = find_keys(self.client, self.region, self.environment, watch)
            watch.come_forward()
            self.signed = keys is not None
            auth = keys and AWS4Auth(keys.access, keys.secret, self.region, "s3", security_token=keys.token)
            extensions = watch.extensions
            with self.client.stream(
                "GET", self.url, headers=headers, timeout=TIMEOUT_S, auth=auth, extensions=extensions
            ) as response:
                yield response

    def explain(self, response: httpx.Response) -> str:
        status = f"{response.status_code} {response.reason_phrase}".strip()
        if code := code_of(read_at_most(response, MOST_BYTES)):
            status = f"{response.status_code} {code}"
        elsewhere = response.headers.get("x-amz-bucket-region", self.region)
        if elsewhere != self.region:
            return f"{status} (the bucket lies in {elsewhere}: set AWS_REGION to it, which is {self.region})"
        if response.status_code in (401, 403) and not self.signed:
            return f"{status} (there are no credentials in the environment, so it was asked without)"
        return status


def region_of(environment: Mapping[str, str]) -> str:
    return environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or "us-east-1"


def address(bucket: str, key: str, region: str, endpoint: str = "") -> httpx.URL:
    """Return the address of an object, or with an empty key of the bucket."""
    path = quote(key, safe="/")
    if endpoint:
        return parse(f"{endpoint.rstrip('/')}/{bucket}/{path}")
    host = f"s3.{region}.{_domain(region)}"
    # AWS wants the bucket in the host's name, where its certificate holds for no name with more dots.
    if "." in bucket:
        return parse(f"https://{host}/{bucket}/{path}")
    return parse(f"https://{bucket}.{host}/{path}")


def find_keys(client: httpx.Client, region: str, environment: Mapping[str, str], watch: Watch) -> Keys | None:
    """The environment's own, else those of a role that a service account may take: by its token (IRSA), or by EKS'
    agent (Pod Identity). None for a bucket that anybody may read.

    Raises:
        UserError: there are some, but they are refused.
        Again: who gives them cannot say so now.
    """
    if access := environment.get("AWS_ACCESS_KEY_ID"):
        secret = environment.get("AWS_SECRET_ACCESS_KEY")
        if not secret:
            raise UserError("AWS_ACCESS_KEY_ID is set, and AWS_SECRET_ACCESS_KEY is not: set both, or neither.")
        return _keys([access, secret, environment.get("AWS_SESSION_TOKEN")], "The environment")
    if token := environment.get("AWS_WEB_IDENTITY_TOKEN_FILE"):
        return _by_token(client, region, Path(token), environment, watch)
    if address := environment.get("AWS_CONTAINER_CREDENTIALS_FULL_URI"):
        return _by_agent(address, environment, watch)
    return None


def _by_token(client: httpx.Client, region: str, token: Path, environment: Mapping[str, str], watch: Watch) -> Keys:
    role = environment.get("AWS_ROLE_ARN")
    if not role:
        raise UserError("AWS_WEB_IDENTITY_TOKEN_FILE is set, and AWS_ROLE_ARN is not: set both, or neither.")
    address = (
        environment.get("AWS_ENDPOINT_URL_STS")
        or environment.get("AWS_ENDPOINT_URL")
        or f"https://sts.{region}.{_domain(region)}"
    )
    form = {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": "2011-06-15",
        "RoleArn": role,
        "RoleSessionName": environment.get("AWS_ROLE_SESSION_NAME") or "catsdogs-fetch",
        "WebIdentityToken": _read_token(token),
    }
    text = _ask(f"the role {role}", client, watch, "POST", f"{address.rstrip('/')}/", data=form).decode(
        errors="replace"
    )
    matches = [re.search(rf"<{name}>([^<]+)</{name}>", text) for name in KEY_NAMES]
    return _keys([match and match[1] for match in matches], address)


def _by_agent(address: str, environment: Mapping[str, str], watch: Watch) -> Keys:
    headers = {"Authorization": environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")}
    if token := environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"):
        headers["Authorization"] = _read_token(Path(token))
    # It is on this node: no proxy can reach it.
    with httpx.Client(trust_env=False) as client:
        answer = _ask("the role of this pod's service account", client, watch, "GET", address, headers=headers)
    try:
        document = json.loads(answer)
        return _keys([document[name] for name in ("AccessKeyId", "SecretAccessKey", "Token")], address)
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise UserError(f"{address} does not answer with credentials.") from error


KEY_NAMES = ("AccessKeyId", "SecretAccessKey", "SessionToken")


def _keys(values: list[Any], giver: str) -> Keys:
    """Return credentials that a header can hold: one that cannot would be shown in the error that httpx raises."""
    access, secret, token = values
    for value in filter(None, values):
        if not isinstance(value, str) or not value.isascii() or not value.isprintable() or " " in value:
            raise UserError(f"{giver} has credentials with characters that no header may have.")
    if not access or not secret:
        raise UserError(f"{giver} does not answer with credentials.")
    return Keys(access, secret, token)


def _ask(what: str, client: httpx.Client, watch: Watch, method: str, address: str, **request: Any) -> bytes:
    """Return the body of an answer that gives credentials; of others what they say."""
    request["headers"] = {"Accept-Encoding": "identity", **request.get("headers", {})}
    try:
        with client.stream(method, address, timeout=TIMEOUT_S, extensions=watch.extensions, **request) as response:
            body = read_at_most(response, MOST_BYTES)
    except httpx.TransportError as error:
        raise type(error)(f"{address}, asked for {what}: {error}") from error
    status = response.status_code
    if status == 429 or status >= 500:
        raise Again(f"{response.url.host}, asked for {what}, answers {status}")
    if status != 200:
        why = code_of(body) or response.reason_phrase
        raise UserError(f"{response.url.host} refuses {what}: {status} {why}.")
    return body


def _read_token(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The token {path} cannot be read: {error}.") from error


def code_of(body: bytes) -> str:
    """Return the code in the XML in which AWS and those like it explain themselves; empty without one."""
    code = re.search(rb"<Code>([A-Za-z0-9.]{1,100})</Code>", body)
    return code[1].decode() if code else ""


def _domain(region: str) -> str:
    return "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
