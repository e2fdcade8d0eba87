"""Ask a server by HTTP/2 with one picture in four bad, until standard input ends or COUNT requests are done (httpx).

By httpx's asynchronous client: over HTTP/2 two threads of a synchronous one can take the same stream, which the server
ends the connection for (httpcore, `handle_request`: the number is chosen before it is used, under no lock).
"""

import asyncio
import itertools
import json
import ssl
import sys
from pathlib import Path

import httpx

BAD = b"no picture"


async def main() -> None:
    url, picture, count, tasks, *authority = sys.argv[1:]
    good, limit = Path(picture).read_bytes(), int(count)
    trust = ssl.create_default_context(cafile=authority[0]) if authority else True
    numbers, ended = itertools.count(), asyncio.Event()
    counts = {"right": 0, "lost": 0}

    async def wait() -> None:
        await asyncio.to_thread(sys.stdin.buffer.read)
        ended.set()

    async def work(client: httpx.AsyncClient) -> None:
        for number in numbers:
            if number >= limit if limit else ended.is_set():
                return
            body, wanted = (BAD, 415) if number % 4 == 3 else (good, 200)
            try:
                answer = await client.post(url, content=body)
                outcome = "right" if (answer.status_code, answer.http_version) == (wanted, "HTTP/2") else "lost"
                if outcome == "lost":
                    print(f"status {answer.status_code} by {answer.http_version}", file=sys.stderr)
            except httpx.HTTPError as error:
                outcome = "lost"
                print(repr(error), file=sys.stderr)
            counts[outcome] += 1

    async with httpx.AsyncClient(http1=False, http2=True, verify=trust, timeout=30, trust_env=False) as client:
        waiting = [] if limit else [wait()]
        await asyncio.gather(*waiting, *(work(client) for _ in range(int(tasks))))
    print(json.dumps(counts))


if __name__ == "__main__":
    asyncio.run(main())
