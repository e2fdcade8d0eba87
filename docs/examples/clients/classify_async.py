"""Classify pictures, four at a time: python classify_async.py URL PICTURE...

Needs httpx. If the server requires a key, set CATSDOGS_KEY.
"""

import asyncio
import os
import sys
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


def seconds_to_wait(response: httpx.Response) -> int:
    value = response.headers.get("Retry-After", "")
    return min(int(value), MAX_WAIT_S) if value.isdecimal() else 1


async def classify(client: httpx.AsyncClient, picture: bytes, url: str) -> dict[str, Any]:
    """Return the answer to a picture: label, probability, probabilities and model.

    Raises:
        Refused: the server answered with an error, after 429 and 503 for the last time.
        httpx.TransportError: no answer arrived in time.
    """
    for attempt in range(1, TRIES + 1):
        response = await client.post(url, content=picture)
        if response.status_code not in (429, 503) or attempt == TRIES:
            break
        await asyncio.sleep(seconds_to_wait(response))
    if not response.is_success:
        raise Refused(response)
    answer: dict[str, Any] = response.json()
    return answer


async def main() -> int:
    url, *paths = sys.argv[1:]
    key = os.environ.get("CATSDOGS_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    free = asyncio.Semaphore(AT_ONCE)

    async def show(path: str) -> bool:
        async with free:
            with open(path, "rb") as file:
                picture = file.read()
            try:
                answer = await classify(client, picture, url)
            except Refused as error:
                print(f"{path}: {error}", file=sys.stderr)
                return False
            except httpx.TransportError as error:
                print(f"{path}: no answer: {error!r}", file=sys.stderr)
                return False
            print(answer["label"], answer["probability"], path)
            return True

    async with httpx.AsyncClient(timeout=TIMEOUT_S, headers=headers) as client:
        shown = await asyncio.gather(*(show(path) for path in paths))
    return 0 if all(shown) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
