"""Locust's own program, which prints a sentence at Ctrl-C before a test begins.

    python -P loadtest/generate/launch.py -f loadtest/locustfile.py ...

From the test's beginning on, Locust ends it at Ctrl-C, and what was measured is judged.
"""

import os
import signal
import sys


def main() -> None:
    first = os.getpid()
    try:
        # locust_process.start blocked it until this handler exists.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        from locust.main import main as locust

        sys.argv[0] = "locust"
        locust()
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if os.getpid() != first:
            os._exit(1)
        print("catsdogs: Stopped before the test began: nothing was measured.", file=sys.stderr, flush=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
