"""Principal components of the network's inner features, which records hold beside the other features.

The inner features are the input of the network's last layer. A release may name their tensor in its reference, and have
their mean and their first principal axes over the reference pictures in the file `components.npy`:

    "components": {"file": "components.npy", "tensor": "mean"}

The file is an array of NumPy's format, float32 (1 + components, inner features): the mean, then one axis a row.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from handler.files import UserError

FILE = "components.npy"
PREFIX = "component_"
MAX_COMPONENTS, MAX_INNER = 32, 65_536
MAX_NAME = 200

Inner = npt.NDArray[np.float32]
"""Inner features, (pictures, features)."""


@dataclass(frozen=True, slots=True)
class Components:
    """The mean of the inner features, and the axes on which they are projected."""

    mean: Inner
    axes: Inner

    @property
    def names(self) -> list[str]:
        """Names of the components as features of a record."""
        return [f"{PREFIX}{number}" for number in range(1, len(self.axes) + 1)]

    def project(self, inner: Inner) -> list[dict[str, float]]:
        """Return the components of each picture by name."""
        values = (inner - self.mean) @ self.axes.T
        return [dict(zip(self.names, row, strict=True)) for row in values.tolist()]

    def to_bytes(self) -> bytes:
        """Return the content of the file: always the same for the same numbers."""
        written = io.BytesIO()
        np.save(written, np.vstack([self.mean[None], self.axes]).astype("<f4"), allow_pickle=False)
        return written.getvalue()


def read_components(path: Path) -> Components:
    """Read the file of a release, whose sha256 was verified.

    Raises:
        UserError: it is no array of the form that a release has.
    """
    try:
        with path.open("rb") as file:
            values = np.load(file, allow_pickle=False)
        rows, columns = values.shape
        right = 2 <= rows <= 1 + MAX_COMPONENTS and 1 <= columns <= MAX_INNER
        right = right and values.dtype == np.float32 and bool(np.isfinite(values).all())
    except (ValueError, EOFError, AttributeError):
        right = False
    if not right:
        raise UserError(f"{path} does not hold a mean and axes of inner features: make it by catsdogs reference.")
    return Components(values[0], values[1:])


def parse_tensor(value: Any) -> str | None:
    """Return the name of the tensor that holds the inner features, from `reference.components` of a release.json.

    Raises:
        ValueError: one sentence says what is wrong.
    """
    if value is None:
        return None
    tensor = value.get("tensor") if isinstance(value, dict) and value.get("file") == FILE else None
    if not isinstance(tensor, str) or not 1 <= len(tensor) <= MAX_NAME or not tensor.isprintable():
        raise ValueError(f"reference.components must give the file {FILE} and the name of a tensor.")
    return tensor
