"""Classify pictures, four at a time: python classify_async.py URL PICTURE...

Needs httpx. If the server requires a key, set CATSDOGS_KEY.
"""

import argparse
import asyncio
import os
import sys
import time
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

TIMEOUT_S = 10
TRIES = 4
MAX_WAIT_S = 30
AT_ONCE = 4


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


async def classify(client: httpx.AsyncClient, picture: bytes, url: str) -> dict[str, Any]:
    """Return the answer to a picture: label, probability, probabilities and model.

    Raises:
        Refused: the server answered with an error, after 429 and 503 for the last time.
        httpx.RequestError: no answer arrived in time.
        ValueError: the answer is not JSON.
    """
    for attempt in range(1, TRIES + 1):
        response = await client.post(url, content=picture)
        if response.status_code not in (429, 503) or attempt == TRIES:
            break
        await asyncio.sleep(seconds_to_wait(response))
    if response.status_code != 200:
        raise Refused(response)
    answer: dict[str, Any] = response.json()
    return answer


async def main() -> int:
    parser = argparse.ArgumentParser(description="Classify pictures, four at a time.")
    parser.add_argument("url")
    parser.add_argument("pictures", nargs="+")
    arguments = parser.parse_args()
    key = os.environ.get("CATSDOGS_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    free = asyncio.Semaphore(AT_ONCE)

    async def show(path: str) -> bool:
        try:
            async with free:
                with open(path, "rb") as file:
                    picture = file.read()
                answer = await classify(client, picture, arguments.url)
            print(answer["label"], answer["probability"], path)
            return True
        except OSError as error:
            text = error.strerror
        except Refused as error:
            text = str(error)
        except (httpx.RequestError, httpx.InvalidURL) as error:
            text = f"no answer: {error!r}"
        except (ValueError, TypeError, KeyError):
            text = f"not an answer of this API: is {arguments.url} right?"
        print(f"{path}: {text}", file=sys.stderr)
        return False

    async with httpx.AsyncClient(timeout=TIMEOUT_S, headers=headers) as client:
        shown = await asyncio.gather(*(show(path) for path in arguments.pictures))
    return 0 if all(shown) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
