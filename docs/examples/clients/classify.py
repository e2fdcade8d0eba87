"""Classify a picture: python classify.py PICTURE [URL]

Needs httpx. If the server requires a key, set CATSDOGS_KEY.
"""

import os
import sys
import time
from typing import Any

import httpx

URL = "http://127.0.0.1:8080/predictions/catsdogs"
TIMEOUT_S = 10
TRIES = 4
MAX_WAIT_S = 30


class Refused(Exception):
    """The server did not classify the picture. `code` is a stable name for programs."""

    def __init__(self, response: httpx.Response) -> None:
        problem: dict[str, Any] = {}
        if response.headers.get("Content-Type", "").startswith("application/problem+json"):
            problem = response.json()
        self.code = problem.get("code", f"http_{response.status_code}")
        super().__init__(f"{self.code}: {problem.get('detail', response.reason_phrase)}")


def seconds_to_wait(response: httpx.Response) -> int:
    value = response.headers.get("Retry-After", "")
    return min(int(value), MAX_WAIT_S) if value.isdecimal() else 1


def classify(client: httpx.Client, picture: bytes, url: str = URL) -> dict[str, Any]:
    """Return the answer to a picture: label, probability, probabilities and model.

    Raises:
        Refused: the server answered with an error, after 429 and 503 for the last time.
        httpx.TransportError: no answer arrived in time.
    """
    for attempt in range(1, TRIES + 1):
        response = client.post(url, content=picture)
        if response.status_code not in (429, 503) or attempt == TRIES:
            break
        time.sleep(seconds_to_wait(response))
    if not response.is_success:
        raise Refused(response)
    answer: dict[str, Any] = response.json()
    return answer


def main() -> None:
    path, url = sys.argv[1], (sys.argv[2:] or [URL])[0]
    key = os.environ.get("CATSDOGS_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with open(path, "rb") as file:
        picture = file.read()
    with httpx.Client(timeout=TIMEOUT_S, headers=headers) as client:
        try:
            answer = classify(client, picture, url)
        except Refused as error:
            sys.exit(str(error))
        except httpx.TransportError as error:
            sys.exit(f"no answer: {error!r}")
    print(answer["label"], answer["probability"])


if __name__ == "__main__":
    main()
