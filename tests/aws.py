"""moto as a stand-in for S3, STS and IAM; it checks signatures by botocore's own code."""

import json
import math
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from common.ports import free_ports
from tests.zoo import ROOT

# Not in the environment of the other tests: requirements/s3.in says why.
MOTO = Path(os.environ.get("CATSDOGS_MOTO", ROOT / ".venv-s3" / "bin" / "python"))
READ = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
SIGNED = "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=x"


class Aws:
    """A server, asked without a library."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client = httpx.Client(base_url=url, trust_env=False, timeout=30)

    def ask(self, service: str, **form: str) -> str:
        scope = (
            f"AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=x"
        )
        response = self.client.post("/", data=form, headers={"Authorization": scope})
        assert response.status_code == 200, response.text
        return response.text

    def put(self, path: str, data: bytes = b"") -> None:
        assert self.client.put(path, content=data, headers={"Authorization": SIGNED}).status_code == 200

    def demand_signatures(self, after: float = 0) -> None:
        """Make the service check signatures, except of the next `after` requests."""
        self.client.post("/moto-api/reset-auth", content=str(after).encode()).raise_for_status()


@contextmanager
def serve_aws() -> Iterator[Aws]:
    """Run the stand-in on a free port."""
    assert MOTO.exists(), f"{MOTO} is missing: run the tests by make, or `make .venv-s3/.installed`"
    (port,) = free_ports(1)
    command = [str(MOTO), "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                if "Running on" in line:
                    break
            drain = threading.Thread(target=process.stderr.read)
            drain.start()
            made = Aws(f"http://127.0.0.1:{port}")
            with made.client:
                yield made
        finally:
            process.terminate()
        drain.join()


@contextmanager
def reader(aws: Aws) -> Iterator[tuple[str, str]]:
    """The keys of one who may read; without signatures nothing is answered from here on."""
    aws.ask("iam", Action="CreateUser", UserName="reader", Version="2010-05-08")
    policy = {"PolicyName": "read", "PolicyDocument": json.dumps(READ)}
    aws.ask("iam", Action="PutUserPolicy", UserName="reader", Version="2010-05-08", **policy)
    made = aws.ask("iam", Action="CreateAccessKey", UserName="reader", Version="2010-05-08")
    access, secret = (re.findall(f"<{name}>(.*?)</", made)[0] for name in ("AccessKeyId", "SecretAccessKey"))
    aws.demand_signatures()
    yield access, secret
    aws.demand_signatures(after=math.inf)
    aws.ask("iam", Action="DeleteAccessKey", UserName="reader", AccessKeyId=access, Version="2010-05-08")
    aws.ask("iam", Action="DeleteUserPolicy", UserName="reader", PolicyName="read", Version="2010-05-08")
    aws.ask("iam", Action="DeleteUser", UserName="reader", Version="2010-05-08")
