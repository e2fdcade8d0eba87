"""A server of known mathematics: one worker, first come first served, each request takes the same time (M/D/1).

python -m tests.loadtest.stub --service 0.02 [--stall-at 5 --stall 2] [--port 8080]

Its answers have the right form. It reckons when each is due instead of working, so it takes no processor time; with
--service 0 all are answered at once, and with --sleep each takes that long, beside one another; and with
--fail-every 25 every 25th is refused.
"""

import argparse
import asyncio
import json
import time

FAILURE = {"status": 503, "code": "overloaded"}
ANSWER = {"label": "cat", "probability": 0.9, "probabilities": {"cat": 0.9, "dog": 0.1}}


class Stub:
    def __init__(self, options: argparse.Namespace) -> None:
        self.service_s: float = options.service
        self.sleep_s: float = options.sleep
        self.stall_at_s: float = options.stall_at
        self.stall_s: float = options.stall
        self.fail_every: int = options.fail_every
        self.first = self.free = 0.0
        self.count = 0

    def answer_at(self, now: float) -> float:
        """When a request that came now is answered."""
        self.first = self.first or now
        begin = max(now, self.free)
        if self.stall_s and 0 <= begin - self.first - self.stall_at_s < self.stall_s:
            begin = self.first + self.stall_at_s + self.stall_s
        self.free = begin + self.service_s
        return self.free + self.sleep_s

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lines = head.lower().split(b"\r\n")
                length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
                await reader.readexactly(length)
                if head.startswith(b"POST"):
                    self.count += 1
                    await asyncio.sleep(max(0.0, self.answer_at(time.perf_counter()) - time.perf_counter()))
                failing = self.fail_every and self.count % self.fail_every == self.fail_every - 1
                body = json.dumps(FAILURE if failing else ANSWER).encode()
                status = b"503 Service Unavailable" if failing else b"200 OK"
                writer.write(b"HTTP/1.1 %s\r\nContent-Type: application/json\r\n" % status)
                writer.write(b"Content-Length: %d\r\n\r\n" % len(body))
                writer.write(body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--service", type=float, default=0.0)
    parser.add_argument("--sleep", type=float, default=0.0)
    parser.add_argument("--stall-at", type=float, default=0.0)
    parser.add_argument("--stall", type=float, default=0.0)
    parser.add_argument("--fail-every", type=int, default=0)
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    stub = Stub(options)
    server = await asyncio.start_server(stub.serve, "127.0.0.1", options.port)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
