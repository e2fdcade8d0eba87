"""Outliers: pictures that a network sees nothing like among the others, such as logos, text and empty rooms."""

import numpy as np
import torch

from training.audit.networks import Floats
from training.learning.views import Features

NEIGHBOURS = 12
# Pictures that each one is compared with, at even distances: all would cost the square of their number.
REFERENCES = 8192
CHUNK = 2048


def similarity(features: Features) -> Floats:
    """Return the cosine of each picture's features to its NEIGHBOURS-th nearest reference, (n,).

    Args:
        features: (n, k), n >= 1.
    """
    rows = torch.from_numpy(features).float()
    rows = torch.nn.functional.normalize(rows - rows.mean(dim=0))
    references = rows[:: -(-len(rows) // REFERENCES)]
    count = min(NEIGHBOURS, len(references))
    nearest = [
        (rows[start : start + CHUNK] @ references.t()).topk(count, dim=1).values[:, -1]
        for start in range(0, len(rows), CHUNK)
    ]
    return np.asarray(torch.cat(nearest), dtype=np.float64)
