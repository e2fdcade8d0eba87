"""The sample pictures, which come with the package: eight cats and eight dogs, in folders named by their class."""

from pathlib import Path

SAMPLES = Path(__file__).resolve().parents[1] / "samples"


def samples() -> Path:
    """Return the folder of sample pictures, relative to the working directory where it lies below it."""
    here = Path.cwd()
    return SAMPLES.relative_to(here) if SAMPLES.is_relative_to(here) else SAMPLES
