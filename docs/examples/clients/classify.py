"""Classify a picture: python classify.py PICTURE [URL]

Needs httpx. If the server requires a key, set CATSDOGS_KEY.
"""

import argparse
import os
import sys
import time
from email.utils import parsedate_to_datetime
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


def seconds_to_wait(response: httpx.Response) -> float:
    """Return what Retry-After says: seconds, or a date."""
    value = response.headers.get("Retry-After", "1")
    try:
        seconds = float(value) if value.isdecimal() else parsedate_to_datetime(value).timestamp() - time.time()
    except (TypeError, ValueError):
        seconds = 1
    return max(0, min(seconds, MAX_WAIT_S))


def classify(client: httpx.Client, picture: bytes, url: str = URL) -> dict[str, Any]:
    """Return the answer to a picture: label, probability, probabilities and model.

    Raises:
        Refused: the server answered with an error, after 429 and 503 for the last time.
        httpx.RequestError: no answer arrived in time.
        ValueError: the answer is not JSON.
    """
    for attempt in range(1, TRIES + 1):
        response = client.post(url, content=picture)
        if response.status_code not in (429, 503) or attempt == TRIES:
            break
        time.sleep(seconds_to_wait(response))
    if response.status_code != 200:
        raise Refused(response)
    answer: dict[str, Any] = response.json()
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description="Classify a picture.")
    parser.add_argument("picture")
    parser.add_argument("url", nargs="?", default=URL)
    arguments = parser.parse_args()
    key = os.environ.get("CATSDOGS_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        with open(arguments.picture, "rb") as file, httpx.Client(timeout=TIMEOUT_S, headers=headers) as client:
            answer = classify(client, file.read(), arguments.url)
        print(answer["label"], answer["probability"])
    except (OSError, Refused) as error:
        sys.exit(str(error))
    except (httpx.RequestError, httpx.InvalidURL) as error:
        sys.exit(f"no answer: {error!r}")
    except (ValueError, TypeError, KeyError):
        sys.exit(f"not an answer of this API: is {arguments.url} right?")


if __name__ == "__main__":
    main()
