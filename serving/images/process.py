"""The worker's process: started, started again whenever it ends, and ended, by a thread of its own."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from handler.preprocess import InputSpec
from serving.images.wire import SOCKET
from serving.server.parent import bound
from serving.server.workers import Bounded, Say, describe_exit

# A picture that ends it again and again costs no more than this many starts.
AGAIN_S = 1.0
POLL_S = 0.2


class ImageProcess:
    """One worker in a thread, which the kernel counts as its parent.

    Args:
        run: folder that is shared with the gateway.
        spec: input of the network that is served.
        say: takes a sentence for the operator.
        tell: takes the janitor's lines, as `Frontend` does.
    """

    def __init__(self, run: Path, spec: InputSpec, say: Say, tell: Callable[[str], None] = lambda line: None) -> None:
        self.path = run / SOCKET
        self.spec = spec
        self.say = Bounded(say)
        self.tell = tell
        self.child: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="images", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the worker; the gateway, which asks it, has ended before."""
        self._stopping.set()
        self._thread.join()
        self.path.unlink(missing_ok=True)

    def _keep(self) -> None:
        worker = [sys.executable, "-P", "-m", "serving.images.worker", str(self.path), str(self.spec.size)]
        while not self._stopping.is_set():
            # In a session of its own: Ctrl-C in a terminal would end it while requests are finished.
            child = self.child = subprocess.Popen(
                bound([*worker, self.spec.resize]),
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
            self.tell(f"group {child.pid}")
            while child.poll() is None and not self._stopping.wait(POLL_S):
                pass
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            self.tell(f"ended {child.pid}")
            if self._stopping.is_set():
                return
            self.say(f"The process of image operations ended {describe_exit(child.returncode)}: starting it again.")
            self._stopping.wait(AGAIN_S)
