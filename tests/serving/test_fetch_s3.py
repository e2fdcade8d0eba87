"""`catsdogs fetch` from a bucket: moto stands in for S3, STS and IAM, and checks signatures by botocore's own code.

Against AWS itself none of this was run.
"""

import json
import math
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest

from common.download.resume import Limits
from handler.files import UserError
from serving.fetch.download import fetch
from serving.fetch.s3 import Bucket
from serving.fetch.sources import find_source
from tests.aws import MOTO, READ, Aws, reader, serve_aws
from tests.serving import web as webs
from tests.serving.web import DATA, PART, left, sha256

ROLE = "arn:aws:iam::123456789012:role/reader"
KEY = "models/2026 (new)/cats+dogs=é.mar"
TRUST = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sts:*"}]}


@pytest.fixture(scope="module")
def aws() -> Iterator[Aws]:
    with serve_aws() as made:
        made.put("/models")
        made.put(f"/models/{KEY}", DATA)
        yield made


@pytest.fixture
def user(aws: Aws) -> Iterator[tuple[str, str]]:
    with reader(aws) as keys:
        yield keys


@pytest.fixture
def role(aws: Aws) -> Iterator[str]:
    document = json.dumps(TRUST)
    version = "2010-05-08"
    aws.ask("iam", Action="CreateRole", RoleName="reader", AssumeRolePolicyDocument=document, Version=version)
    aws.ask(
        "iam",
        Action="PutRolePolicy",
        RoleName="reader",
        PolicyName="read",
        PolicyDocument=json.dumps(READ),
        Version=version,
    )
    yield ROLE
    aws.demand_signatures(after=math.inf)
    aws.ask("iam", Action="DeleteRolePolicy", RoleName="reader", PolicyName="read", Version=version)
    aws.ask("iam", Action="DeleteRole", RoleName="reader", Version=version)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    webs.forget_environment(monkeypatch)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "models" / "catsdogs.mar"


def run(
    aws: Aws, out: Path, environment: dict[str, str], name: str = f"s3://models/{KEY}", seconds: float = 20
) -> bool:
    with find_source(name, aws.url, environment) as source:
        return fetch(
            source,
            out,
            sha256(DATA),
            Limits(seconds, first_wait_s=0.01),
            lambda done, total: None,
            lambda message: None,
        )


def keys(user: tuple[str, str]) -> dict[str, str]:
    return {"AWS_ACCESS_KEY_ID": user[0], "AWS_SECRET_ACCESS_KEY": user[1]}


def test_an_object_is_fetched_by_the_keys_of_the_environment(aws: Aws, user: tuple[str, str], out: Path) -> None:
    assert run(aws, out, keys(user))
    assert out.read_bytes() == DATA
    assert left(out) == ["catsdogs.mar"]


def test_an_object_is_fetched_by_the_keys_in_a_folder(
    aws: Aws, user: tuple[str, str], out: Path, tmp_path: Path
) -> None:
    """A Secret as Kubernetes mounts it: each of its entries is a file behind two links."""
    folder = tmp_path / "secret"
    (folder / "..2026").mkdir(parents=True)
    (folder / "..data").symlink_to("..2026")
    for name, value in {**keys(user), "other": "x"}.items():
        (folder / "..2026" / name).write_text(f"{value}\n")
        (folder / name).symlink_to(f"..data/{name}")
    assert run(aws, out, {"CATSDOGS_FETCH_CREDENTIALS": str(folder)})
    assert out.read_bytes() == DATA


def test_what_another_process_began_is_gone_on_with(aws: Aws, user: tuple[str, str], out: Path) -> None:
    out.parent.mkdir()
    (out.parent / PART).write_bytes(DATA[:1000])
    had: list[int] = []
    with find_source(f"s3://models/{KEY}", aws.url, keys(user)) as source:
        fetch(source, out, sha256(DATA), Limits(20), lambda done, total: had.append(done), lambda message: None)
    assert had[0] == 1000
    assert out.read_bytes() == DATA


def test_a_wrong_secret_is_one_sentence(aws: Aws, user: tuple[str, str], out: Path) -> None:
    wrong = {**keys(user), "AWS_SECRET_ACCESS_KEY": "wrong"}
    with pytest.raises(UserError, match=r"s3://models/.* at http.*the server answers 403 SignatureDoesNotMatch"):
        run(aws, out, wrong)
    assert left(out) == []


def test_a_key_that_is_unknown_is_one_sentence(aws: Aws, user: tuple[str, str], out: Path) -> None:
    with pytest.raises(UserError, match="403 InvalidAccessKeyId"):
        run(aws, out, {"AWS_ACCESS_KEY_ID": "AKIAUNKNOWN", "AWS_SECRET_ACCESS_KEY": "x"})


def test_an_object_that_is_not_there_is_one_sentence(aws: Aws, user: tuple[str, str], out: Path) -> None:
    with pytest.raises(UserError, match=r"s3://models/none.mar at .* the server answers 404 NoSuchKey\.$"):
        run(aws, out, keys(user), "s3://models/none.mar")


def test_without_credentials_it_asks_as_anybody_and_says_so(aws: Aws, out: Path) -> None:
    with pytest.raises(UserError, match=r"403.*there are no credentials in the environment"):
        run(aws, out, {})


def test_half_of_the_keys_is_one_sentence(aws: Aws, out: Path) -> None:
    with pytest.raises(UserError, match="AWS_SECRET_ACCESS_KEY is not"):
        run(aws, out, {"AWS_ACCESS_KEY_ID": "AKIA"})


def test_a_service_accounts_token_is_changed_for_the_keys_of_its_role(aws: Aws, role: str, out: Path) -> None:
    """IRSA: the role's session has a token of its own, which is signed too."""
    # A token is changed without a signature, which moto does not know.
    aws.demand_signatures(after=1)
    token = out.parent.parent / "token"
    token.write_text("a.web.token\n")
    environment = {
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(token),
        "AWS_ROLE_ARN": role,
        "AWS_ENDPOINT_URL_STS": aws.url,
        "AWS_REGION": "eu-central-1",
    }
    assert run(aws, out, environment)


def test_a_token_that_is_not_there_is_one_sentence(aws: Aws, out: Path) -> None:
    environment = {"AWS_WEB_IDENTITY_TOKEN_FILE": "/nowhere/token", "AWS_ROLE_ARN": ROLE}
    with pytest.raises(UserError, match="The token /nowhere/token cannot be read"):
        run(aws, out, environment)
    with pytest.raises(UserError, match="AWS_ROLE_ARN is not"):
        run(aws, out, {"AWS_WEB_IDENTITY_TOKEN_FILE": "/nowhere/token"})


def test_a_role_whose_giver_is_not_there_is_one_sentence_that_names_it(aws: Aws, out: Path) -> None:
    token = out.parent.parent / "token"
    token.write_text("a.web.token")
    environment = {
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(token),
        "AWS_ROLE_ARN": ROLE,
        "AWS_ENDPOINT_URL_STS": "http://127.0.0.1:1",
    }
    with pytest.raises(UserError, match=rf"http://127.0.0.1:1/, asked for the role {ROLE}: .*refused"):
        run(aws, out, environment, seconds=0.3)


class Agent(BaseHTTPRequestHandler):
    """EKS' agent for Pod Identity, which says 503 until it is ready."""

    answers: list[tuple[int, bytes]]
    headers_seen: list[str | None]

    def do_GET(self) -> None:
        self.headers_seen.append(self.headers.get("Authorization"))
        code, body = self.answers.pop(0)
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def agent() -> Iterator[tuple[type[Agent], str]]:
    kind = type("OneAgent", (Agent,), {"answers": [], "headers_seen": []})
    with HTTPServer(("127.0.0.1", 0), kind) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield kind, f"http://127.0.0.1:{server.server_port}/v1/credentials"
        server.shutdown()
        thread.join()


def test_the_agent_of_pod_identity_gives_keys_when_it_can(
    aws: Aws, user: tuple[str, str], agent: tuple[type[Agent], str], out: Path
) -> None:
    kind, url = agent
    token = out.parent.parent / "token"
    token.write_text("agent.token")
    document = {"AccessKeyId": user[0], "SecretAccessKey": user[1], "Token": None}
    kind.answers = [(503, b""), (200, json.dumps(document).encode())]
    environment = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": url, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(token)}
    assert run(aws, out, environment)
    assert kind.headers_seen == ["agent.token"] * 2


@pytest.mark.parametrize(("code", "body"), [(403, b""), (200, b"<html>"), (200, b"{}"), (200, b"[]")])
def test_an_agent_that_gives_none_is_one_sentence(
    aws: Aws, agent: tuple[type[Agent], str], out: Path, code: int, body: bytes
) -> None:
    kind, url = agent
    kind.answers = [(code, body)]
    with pytest.raises(UserError, match=r"refuses the role of this pod's service account: 403|not answer with credent"):
        run(aws, out, {"AWS_CONTAINER_CREDENTIALS_FULL_URI": url})


@pytest.mark.parametrize(
    ("name", "endpoint", "region", "address"),
    [
        ("s3://models/a/b.mar", None, "", "https://models.s3.us-east-1.amazonaws.com/a/b.mar"),
        ("s3://models/a/b.mar", None, "eu-west-1", "https://models.s3.eu-west-1.amazonaws.com/a/b.mar"),
        ("s3://models/b.mar", None, "cn-north-1", "https://models.s3.cn-north-1.amazonaws.com.cn/b.mar"),
        ("s3://our.models/b.mar", None, "", "https://s3.us-east-1.amazonaws.com/our.models/b.mar"),
        ("s3://models/b.mar", "http://minio:9000/", "", "http://minio:9000/models/b.mar"),
        ("s3://models/a?b#c.mar", "http://minio:9000", "", "http://minio:9000/models/a%3Fb%23c.mar"),
    ],
)
def test_where_an_object_lies(name: str, endpoint: str | None, region: str, address: str) -> None:
    with Bucket(name, endpoint, {"AWS_REGION": region}) as bucket:
        assert str(bucket.url) == address


def test_a_bucket_of_another_region_is_told_by_its_name() -> None:
    with Bucket("s3://models/b.mar", None, {"AWS_REGION": "us-east-1"}) as bucket:
        headers = {"x-amz-bucket-region": "eu-west-1"}
        response = httpx.Response(
            301, headers=headers, stream=httpx.ByteStream(b"<Error><Code>PermanentRedirect</Code></Error>")
        )
        explanation = bucket.explain(response)
    assert (
        explanation == "301 PermanentRedirect (the bucket lies in eu-west-1: set AWS_REGION to it, which is us-east-1)"
    )


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate of localhost."""
    base = tmp_path_factory.mktemp("tls") / "own"
    code = f"from werkzeug.serving import make_ssl_devcert; make_ssl_devcert({str(base)!r}, host='localhost')"
    subprocess.run([str(MOTO), "-c", code], check=True)
    return base


@pytest.fixture
def secure(certificate: Path) -> Iterator[str]:
    with webs.serve(DATA, certificate) as served:
        yield f"https://localhost:{served.port}"


def test_an_authority_of_the_environment_is_trusted_by_its_variable_alone(
    certificate: Path, secure: str, out: Path
) -> None:
    crt = str(certificate.with_suffix(".crt"))
    for name, endpoint, variable in (
        ("s3://models/b.mar", secure, "AWS_CA_BUNDLE"),
        ("s3://models/c.mar", secure, "SSL_CERT_FILE"),
        (f"{secure}/catsdogs.mar", None, "SSL_CERT_FILE"),
    ):
        out.unlink(missing_ok=True)
        with find_source(name, endpoint, {}) as source, pytest.raises(UserError, match="CERTIFICATE_VERIFY_FAILED"):
            fetch(source, out, sha256(DATA), Limits(20), lambda done, total: None, lambda message: None)
        with find_source(name, endpoint, {variable: crt}) as source:
            assert fetch(source, out, sha256(DATA), Limits(20), lambda done, total: None, lambda message: None)


def test_an_authority_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for path in (tmp_path / "empty", tmp_path / "none"):
        with pytest.raises(UserError, match="holds no certificates that can be read"):
            find_source("https://localhost/x.mar", None, {"SSL_CERT_FILE": str(path)})
