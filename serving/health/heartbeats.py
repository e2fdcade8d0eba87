"""The workers' heartbeats: a file for each, in which it says that it is there and since when it works on a batch."""

import contextlib
import json
import os
from pathlib import Path
from typing import Any

# Four missed beats of half a second: a worker whose thread waits for a core is not dead.
BEAT_S = 2.0
# TorchServe replaces a worker after responseTimeout, 10 s; until then it may still answer.
STUCK_S = 12.0
Beat = dict[str, Any]


def live_beats(heartbeats: Path, now: float) -> list[Beat]:
    """Return the heartbeats of the workers that can answer."""
    beats = []
    for path in heartbeats.glob("[0-9]*.json"):
        try:
            beat = json.loads(path.read_bytes())
            os.kill(beat["pid"], 0)
            stuck = beat["busy_since"] is not None and now - beat["busy_since"] > STUCK_S
            if now - beat["time"] <= BEAT_S and not stuck:
                beats.append(beat)
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return beats


def live_workers(heartbeats: Path, now: float) -> list[int]:
    """Return the process ids of the workers that can answer."""
    return [beat["pid"] for beat in live_beats(heartbeats, now)]


def last_sign(run: Path) -> float:
    """Return the time of the workers' last heartbeat, or at which a hanging one was given its batch."""
    signs = [run.stat().st_mtime]
    for path in (run / "heartbeats").glob("[0-9]*.json"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            signs.append(float(json.loads(path.read_bytes())["busy_since"] or path.stat().st_mtime))
    return max(signs)


def why(run: Path) -> str:
    """Return the reason why the last worker could not load the model. It is for the operator, not for clients."""
    try:
        return f": {(run / 'heartbeats' / 'failure.txt').read_text()}"
    except OSError:
        return ""
