"""The trackers by name. A tracker's library is imported when it is chosen, and nothing else needs it."""

import importlib
from collections.abc import Mapping

from handler.files import first_line
from training.tracking.tracker import Guarded, Say, Tracker, without_credentials

NONE = "none"
TRACKERS: Mapping[str, tuple[str, str]] = {
    "mlflow": ("training.tracking.mlflow_tracker", "MLflowTracker"),
    "wandb": ("training.tracking.wandb_tracker", "WandbTracker"),
}
NAMES = (*TRACKERS, NONE)
REQUIREMENTS = "requirements/tracking.txt"


def open_tracker(name: str, say: Say, place: str | None = None) -> Guarded | None:
    """Return a tracker, or None: where that is asked for, or its library is missing or fails.

    Args:
        say: told in a sentence why nothing is tracked.
        place: address that an earlier run was recorded at.
    """
    if name == NONE:
        return None
    module, kind = TRACKERS[name]
    try:
        tracker: Tracker = getattr(importlib.import_module(module), kind)(place)
    except ModuleNotFoundError as error:
        say(
            f"Warning: the run is not tracked, because {error.name} is not installed: "
            f"pip install --require-hashes -r {REQUIREMENTS}"
        )
        return None
    except Exception as error:
        reason = without_credentials(first_line(error))
        say(f"Warning: the run is not tracked, because {name} does not start: {reason}")
        return None
    return Guarded(tracker, say)
