"""A bucket with an archive, for a pod: python bucket.py ARCHIVE

moto stands in for S3 and IAM. `models/whole.mar` is the archive, `models/truncated.mar` its first megabyte, and nothing
is answered without a signature. Writes a line of JSON with the keys of one who may read.
"""

import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

PORT = 5000
TRUNCATED = 1_000_000
URL = f"http://127.0.0.1:{PORT}"
READ = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}


def ask(path: str, data: bytes, method: str, service: str) -> str:
    scope = f"AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=x"
    kind = "application/x-www-form-urlencoded" if service == "iam" else "application/octet-stream"
    headers = {"Authorization": scope, "Content-Type": kind}
    request = urllib.request.Request(f"{URL}{path}", data, headers, method=method)
    with urllib.request.urlopen(request, timeout=60) as response:
        return str(response.read().decode())


def iam(**form: str) -> str:
    return ask("/", urllib.parse.urlencode({**form, "Version": "2010-05-08"}).encode(), "POST", "iam")


def wait_until_it_answers() -> None:
    for _ in range(300):
        try:
            urllib.request.urlopen(f"{URL}/moto-api/", timeout=5).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.2)
    raise SystemExit("moto does not answer")


def main() -> None:
    data = Path(sys.argv[1]).read_bytes()
    with subprocess.Popen([sys.executable, "-m", "moto.server", "-H", "0.0.0.0", "-p", str(PORT)]) as process:
        wait_until_it_answers()
        ask("/models", b"", "PUT", "s3")
        ask("/models/whole.mar", data, "PUT", "s3")
        ask("/models/truncated.mar", data[:TRUNCATED], "PUT", "s3")
        iam(Action="CreateUser", UserName="reader")
        iam(Action="PutUserPolicy", UserName="reader", PolicyName="read", PolicyDocument=json.dumps(READ))
        made = iam(Action="CreateAccessKey", UserName="reader")
        keys = [re.findall(f"<{name}>(.*?)</", made)[0] for name in ("AccessKeyId", "SecretAccessKey")]
        ask("/moto-api/reset-auth", b"0", "POST", "s3")
        print(json.dumps({"access": keys[0], "secret": keys[1]}), flush=True)
        process.wait()


if __name__ == "__main__":
    main()
