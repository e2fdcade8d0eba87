"""Ask a server by HTTP/2 with one picture in four bad, until standard input ends or COUNT requests are done (httpx)."""

import itertools
import json
import ssl
import sys
import threading
from pathlib import Path

import httpx

BAD = b"no picture"


def main() -> None:
    url, picture, count, threads, *authority = sys.argv[1:]
    good, limit = Path(picture).read_bytes(), int(count)
    trust = ssl.create_default_context(cafile=authority[0]) if authority else True
    numbers, ended = itertools.count(), threading.Event()
    counts = {"right": 0, "lost": 0}
    lock = threading.Lock()

    def wait() -> None:
        sys.stdin.buffer.read()
        ended.set()

    if not limit:
        threading.Thread(target=wait, daemon=True).start()

    def work(client: httpx.Client) -> None:
        for number in numbers:
            if number >= limit if limit else ended.is_set():
                return
            body, wanted = (BAD, 415) if number % 4 == 3 else (good, 200)
            try:
                answer = client.post(url, content=body)
                outcome = "right" if (answer.status_code, answer.http_version) == (wanted, "HTTP/2") else "lost"
                if outcome == "lost":
                    print(f"status {answer.status_code} by {answer.http_version}", file=sys.stderr)
            except httpx.HTTPError as error:
                outcome = "lost"
                print(repr(error), file=sys.stderr)
            with lock:
                counts[outcome] += 1

    with httpx.Client(http1=False, http2=True, verify=trust, timeout=30, trust_env=False) as client:
        workers = [threading.Thread(target=work, args=(client,)) for _ in range(int(threads))]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
