"""The faults of the drill: how each begins and ends, whether it hurts users, and the alert that must tell of it."""

import contextlib
import io
import json
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from PIL import Image, ImageEnhance

from tests.monitoring.drill.archives import BROKEN, SLOW, WELL, another_version
from tests.monitoring.drill.clients import TYPICAL, Load
from tests.monitoring.drill.processes import Server, serving
from tests.zoo import encode

WORKER, JAVA = "model_service_worker", "java"
DARK = 0.25
NEXT_VERSION = "9.9.9"


@dataclass
class Scene:
    """Everything that a fault may change."""

    server: Server
    load: Load
    """The clients that send all the time."""
    folder: Path
    """Folder of this fault; Prometheus finds its targets here."""
    switch: Path
    """File by which the handler is told to be slow or to fail."""
    command: Path
    archive: Path

    def tell(self, state: str) -> None:
        new = self.switch.with_suffix(".new")
        new.write_text(state)
        new.rename(self.switch)

    def reach(self, *addresses: str) -> None:
        """Let Prometheus read these addresses."""
        new = self.folder / "new.json"
        new.write_text(json.dumps([{"targets": [one], "labels": {"pod": f"{n}"}} for n, one in enumerate(addresses)]))
        new.rename(self.folder / "target.json")


Injection = Callable[[Scene], "contextlib.AbstractContextManager[None]"]


@dataclass(frozen=True)
class Fault:
    """A fault. `inject` holds for as long as its block."""

    name: str
    title: str
    hurts: bool
    """Whether users are hurt, so that somebody must be paged."""
    inject: Injection
    ticket: str = ""
    """Alert without a page that must tell of it."""
    scale: int = 1
    """Divisor of the durations of the ticket's rules: nobody waits a day in a drill."""
    fades_s: float = field(default=120, kw_only=True)
    """Seconds for which its alert may go on after the fault has ended."""


@contextlib.contextmanager
def extra(scene: Scene, body: bytes, clients: int) -> Iterator[None]:
    with Load(scene.server.url, (body,)).sent(clients):
        yield


@contextlib.contextmanager
def told(scene: Scene, state: str) -> Iterator[None]:
    scene.tell(state)
    try:
        yield
    finally:
        scene.tell(WELL)


@contextlib.contextmanager
def stopped(scene: Scene, what: str) -> Iterator[None]:
    scene.server.signal(what, signal.SIGSTOP)
    try:
        yield
    finally:
        scene.server.signal(what, signal.SIGCONT)


@contextlib.contextmanager
def killed(scene: Scene) -> Iterator[None]:
    scene.server.signal(WORKER, signal.SIGKILL, 1)
    yield


@contextlib.contextmanager
def hung(scene: Scene) -> Iterator[None]:
    """Stop all workers, and their successors: TorchServe replaces one that hangs."""
    over = threading.Event()

    def again() -> None:
        while not over.wait(0.2):
            with contextlib.suppress(psutil.Error):
                scene.server.signal(WORKER, signal.SIGSTOP)

    thread = threading.Thread(target=again)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        scene.server.signal(WORKER, signal.SIGCONT)


@contextlib.contextmanager
def swapped(scene: Scene) -> Iterator[None]:
    """Start a server of another version beside the first, and let Prometheus read both."""
    other = another_version(scene.archive, scene.folder / "other.mar", NEXT_VERSION)
    with serving(scene.command, other, scene.folder / "other", 1) as second:
        scene.reach(scene.server.metrics, second.metrics)
        try:
            yield
        finally:
            scene.reach(scene.server.metrics)


@contextlib.contextmanager
def cut_off(scene: Scene) -> Iterator[None]:
    scene.reach("127.0.0.1:9")
    try:
        yield
    finally:
        scene.reach(scene.server.metrics)


@contextlib.contextmanager
def darkened(scene: Scene) -> Iterator[None]:
    pictures = [Image.open(io.BytesIO(body)).convert("RGB") for body in TYPICAL]
    scene.load.bodies = [encode(ImageEnhance.Brightness(one).enhance(DARK), "JPEG", quality=90) for one in pictures]
    try:
        yield
    finally:
        scene.load.bodies = TYPICAL


FAULTS = (
    Fault("broken-inputs", "broken client inputs only", False, lambda scene: extra(scene, b"no picture", 4)),
    Fault("worker-killed", "one of two workers killed", False, killed),
    Fault("workers-hung", "all workers hung", True, hung),
    Fault("java-stopped", "Java stopped", True, lambda scene: stopped(scene, JAVA)),
    # Most requests of five minutes failed, which pages as long as that is so.
    Fault(
        "queue-full",
        "queue full, 300 more clients (503)",
        True,
        lambda scene: extra(scene, TYPICAL[0], 300),
        fades_s=360,
    ),
    Fault("slow-decode", "slow decode, 1.5 s more a picture", True, lambda scene: told(scene, SLOW)),
    Fault("errors", "each request fails (500)", True, lambda scene: told(scene, BROKEN)),
    # Prometheus cannot tell it from a gateway that is down, so it pages.
    Fault("scrape-cut-off", "scrape cut off", True, cut_off),
    Fault("model-swapped", "another version beside the first", False, swapped, "CatsdogsVersionSkew", 360),
    Fault("drifted-pictures", "pictures a quarter as bright", False, darkened, "CatsdogsInputDrift", 360, fades_s=360),
)
