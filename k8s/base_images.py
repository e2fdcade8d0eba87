"""Pin the images that ours are built on: write their digests, as the registries have them, to
requirements/base-images.env.

    python -m k8s.base_images            write the digest of each tag (`make base-images`)
    python -m k8s.base_images --check    exit with status 1 where a digest is missing or its tag has moved

A digest names an image for good, where a tag can be moved. It is that of an index, so that one line serves all
processors.
"""

import argparse
import hashlib
import json
import os
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import httpx

from handler.files import UserError, first_line, write_atomic
from serving.fetch.web import open_client

FILE = Path(__file__).parent.parent / "requirements" / "base-images.env"
LINE = re.compile(r"^([A-Z][A-Z0-9_]*)=(\S+)$", re.MULTILINE)
REFERENCE = re.compile(r"([a-z0-9./:_-]+?):([A-Za-z0-9_][A-Za-z0-9._-]*)(?:@(sha256:[0-9a-f]{64}))?")
DOCKER_HUB = "registry-1.docker.io"
INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
PLATFORMS = {("linux", "amd64"), ("linux", "arm64")}
MOST_BYTES = 1 << 20
TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Reference:
    """An image's name, as `docker pull` takes it."""

    name: str
    tag: str
    digest: str | None = None

    def __str__(self) -> str:
        return f"{self.name}:{self.tag}" + (f"@{self.digest}" if self.digest else "")

    @property
    def registry(self) -> str:
        first, slash, _ = self.name.partition("/")
        return first if slash and (re.search("[.:]", first) or first == "localhost") else DOCKER_HUB

    @property
    def repository(self) -> str:
        if self.registry != DOCKER_HUB:
            return self.name.partition("/")[2]
        return self.name if "/" in self.name else f"library/{self.name}"

    @property
    def manifest(self) -> str:
        """The address of what the tag names."""
        host = self.registry.partition(":")[0]
        scheme = "http" if host in ("localhost", "127.0.0.1") else "https"
        return f"{scheme}://{self.registry}/v2/{self.repository}/manifests/{self.tag}"


def parse(text: str) -> Reference:
    """
    Raises:
        UserError: the text is no image with a tag.
    """
    match = REFERENCE.fullmatch(text)
    if match is None:
        raise UserError(f"{text} is not an image: it must be as REPOSITORY:TAG, with or without @sha256:DIGEST.")
    return Reference(match[1], match[2], match[3])


def get(client: httpx.Client, url: str, headers: dict[str, str]) -> tuple[httpx.Response, bytes]:
    """Return an answer and its body.

    Raises:
        UserError: the server is not there, or its answer is too long.
    """
    try:
        with client.stream("GET", url, headers=headers, timeout=TIMEOUT_S, follow_redirects=True) as response:
            body = b""
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > MOST_BYTES:
                    raise UserError(f"{url} answers with more than {MOST_BYTES} bytes, which no index has.")
            return response, body
    except httpx.HTTPError as error:
        raise UserError(f"{url} cannot be asked: {first_line(error)}") from error


def token(client: httpx.Client, challenge: str) -> str:
    """Return what a registry lets a stranger read with, from where its header WWW-Authenticate says.

    Raises:
        UserError: there is none.
    """
    scheme, _, rest = challenge.partition(" ")
    fields = dict(re.findall(r'(\w+)="([^"]*)"', rest))
    if scheme.lower() != "bearer" or "realm" not in fields:
        raise UserError(f"The registry wants a login ({challenge!r}), and this tool has none.")
    query = {name: fields[name] for name in ("service", "scope") if name in fields}
    response, body = get(client, str(httpx.URL(fields["realm"], params=query)), {})
    try:
        answer = json.loads(body)
        return str(answer.get("token") or answer["access_token"])
    except (ValueError, LookupError, AttributeError) as error:
        raise UserError(f"{fields['realm']} answers {response.status_code} without a token.") from error


def resolve(client: httpx.Client, reference: Reference) -> str:
    """Return the digest of the index that the reference's tag names.

    Raises:
        UserError: it cannot be asked for, is no index, or is not what its registry says.
    """
    headers = {"Accept": ", ".join(INDEXES)}
    response, body = get(client, reference.manifest, headers)
    if response.status_code == 401:
        headers["Authorization"] = f"Bearer {token(client, response.headers.get('WWW-Authenticate', ''))}"
        response, body = get(client, reference.manifest, headers)
    if response.status_code != 200:
        raise UserError(f"{reference.manifest} answers {response.status_code} {response.reason_phrase}.")
    if response.headers.get("Content-Type", "").partition(";")[0] not in INDEXES:
        raise UserError(f"{reference} is an image for one kind of processor, and no index: choose another tag.")
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    if (claimed := response.headers.get("Docker-Content-Digest", digest)) != digest:
        raise UserError(f"{reference.manifest} says that its digest is {claimed}, but what came has {digest}.")
    try:
        platforms = {
            (entry["platform"]["os"], entry["platform"]["architecture"]) for entry in json.loads(body)["manifests"]
        }
    except (ValueError, LookupError, TypeError) as error:
        raise UserError(f"{reference.manifest} is no index that can be read.") from error
    if missing := PLATFORMS - platforms:
        raise UserError(
            f"{reference} has no image for {' and '.join('/'.join(platform) for platform in sorted(missing))}."
        )
    return digest


def pin(text: str, client: httpx.Client) -> str:
    """Return the file's text, with the digest that each tag has now."""

    def pinned(line: re.Match[str]) -> str:
        reference = parse(line[2])
        return f"{line[1]}={replace(reference, digest=resolve(client, reference))}"

    return LINE.sub(pinned, text)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Pin the images that ours are built on.")
    parser.add_argument("--file", type=Path, default=FILE)
    parser.add_argument("--check", action="store_true", help="change nothing; exit with status 1 where it would change")
    options = parser.parse_args(arguments)
    try:
        text = options.file.read_text()
        with open_client(os.environ) as client:
            pinned = pin(text, client)
    except (OSError, UserError) as error:
        print(f"{options.file}: nothing was changed. {first_line(error)}", file=sys.stderr)
        return 2
    for (_, old), (_, new) in zip(LINE.findall(text), LINE.findall(pinned), strict=True):
        print(f"{new}" + ("" if old == new else f" (was {old})"))
    if options.check:
        return int(text != pinned)
    write_atomic(options.file, pinned.encode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
