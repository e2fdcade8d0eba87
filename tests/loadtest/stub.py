"""A server of known mathematics: one worker, first come first served, each request takes the same time (M/D/1).

python -m tests.loadtest.stub --service 0.02 [--stall-at 5 --stall 2] [--port 8080]

Its answers have the right form. It reckons when each is due instead of working, so it takes no processor time; with
--service 0 all are answered at once, and with --sleep each takes that long, beside one another; and with
--fail-every 25 every 25th is refused. --refuse 404 refuses all by this status, --contradict-every 25 lets every 25th
contradict itself, and --models 2 lets so many models answer in turn. With --name and --classes it says what it serves;
with --says-classes it says other classes than it answers.
"""

import argparse
import asyncio
import json
import time

REASONS = {200: "OK", 401: "Unauthorized", 404: "Not Found", 503: "Service Unavailable"}
CODES = {401: "unauthorized", 404: "not_found", 503: "overloaded"}


class Stub:
    def __init__(self, options: argparse.Namespace) -> None:
        self.service_s: float = options.service
        self.sleep_s: float = options.sleep
        self.stall_at_s: float = options.stall_at
        self.stall_s: float = options.stall
        self.fail_every: int = options.fail_every
        self.refuse: int = options.refuse
        self.contradict_every: int = options.contradict_every
        self.models: int = options.models
        self.name: str = options.name
        self.classes: list[str] = options.classes.split(",")
        self.said: str = options.says_classes or options.classes
        self.first = self.free = 0.0
        self.count = 0

    def metadata(self, path: str) -> tuple[int, object]:
        known = {
            "/readyz": {"ready": True},
            "/v1/models": {"models": [self.name]},
            f"/v2/models/{self.name}": {"parameters": {"classes": self.said}},
        }
        if path == "/readyz" or (self.name and path in known):
            return 200, known[path]
        return 404, {"status": 404, "code": "not_found"}

    def answer(self, path: str) -> tuple[int, object]:
        failing = self.fail_every and self.count % self.fail_every == self.fail_every - 1
        other = self.name and path != f"/predictions/{self.name}"
        if status := self.refuse or (503 if failing else 404 if other else 0):
            return status, {"status": status, "code": CODES[status]}
        contradicts = self.contradict_every and self.count % self.contradict_every == self.contradict_every - 1
        label, other_label = self.classes[:2]
        model = {"version": f"0.{self.count % self.models}", "sha256": f"{self.count % self.models:064x}"}
        return 200, {
            "label": other_label if contradicts else label,
            "probability": 0.9,
            "probabilities": {name: 0.9 if name == label else 0.1 / (len(self.classes) - 1) for name in self.classes},
            **({"model": model} if self.models > 1 else {}),
        }

    def answer_at(self, now: float) -> float:
        """Return the time at which a request that arrives now is answered."""
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
                method, path, _ = head.decode().split(" ", 2)
                if method == "POST":
                    self.count += 1
                    await asyncio.sleep(max(0.0, self.answer_at(time.perf_counter()) - time.perf_counter()))
                status, document = self.answer(path) if method == "POST" else self.metadata(path)
                body = json.dumps(document).encode()
                writer.write(f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Type: application/json\r\n".encode())
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
    parser.add_argument("--refuse", type=int, default=0)
    parser.add_argument("--contradict-every", type=int, default=0)
    parser.add_argument("--models", type=int, default=1)
    parser.add_argument("--name", default="")
    parser.add_argument("--classes", default="cat,dog")
    parser.add_argument("--says-classes", default="")
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    stub = Stub(options)
    server = await asyncio.start_server(stub.serve, "127.0.0.1", options.port)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
