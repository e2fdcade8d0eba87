# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Error analysis of a release
#
# Which pictures a release gets wrong, and whether its probabilities can be trusted. `CATSDOGS_DATA` names the folder
# that `catsdogs prepare` made, `CATSDOGS_RELEASE` the release, and `CATSDOGS_SPLIT` the split: by default `test`.

# %%
import os
from collections import Counter
from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from common.wilson import wilson_bounds
from handler.predictor import Predictor
from training.data import manifest

DATA = Path(os.environ.get("CATSDOGS_DATA", "data"))
RELEASE = Path(os.environ.get("CATSDOGS_RELEASE", "model-store/catsdogs"))
SPLIT = os.environ.get("CATSDOGS_SPLIT", "test")
# Of each bound, for intervals of 95 %.
ONE_SIDE = 0.975
prepared, predictor = manifest.read(DATA), Predictor(RELEASE)
classes = predictor.release.classes
pictures = [picture for picture in prepared.split(SPLIT) if picture.label in classes]
release = predictor.release
print(f"{release.name} {release.version} in {predictor.precision}, {len(pictures)} pictures of {SPLIT}")

# %% [markdown]
# ## Predictions
#
# By the same class that the server's workers use, so by the same decoding and the same runtime.

# %%
probabilities = np.concatenate(
    [
        predictor.probabilities(predictor.decode((prepared.root / picture.path).read_bytes())[np.newaxis])
        for picture in pictures
    ]
)
truth = np.array([classes.index(picture.label) for picture in pictures])
predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
right = predicted == truth
low, high = wilson_bounds(int(right.sum()), len(right), ONE_SIDE)
print(f"accuracy {100 * right.mean():.2f} %, 95 % interval {100 * low:.2f} to {100 * high:.2f} %, n = {len(right)}")

# %% [markdown]
# ## Confusion matrix

# %%
matrix = np.zeros((len(classes), len(classes)), dtype=int)
np.add.at(matrix, (truth, predicted), 1)
figure, axes = plt.subplots(figsize=(1.5 + len(classes), 1.5 + len(classes)))
axes.imshow(matrix, cmap="Blues")
for row, column in np.ndindex(matrix.shape):
    axes.text(column, row, str(matrix[row, column]), ha="center", va="center")
axes.set_xticks(range(len(classes)), classes)
axes.set_yticks(range(len(classes)), classes)
axes.set_xlabel("predicted")
axes.set_ylabel("label")
plt.show()

# %% [markdown]
# ## Confidence
#
# Of predictions with a probability of 90 %, nine of ten should be right.

# %%
edges = np.array([0, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0000001])
for start, end in pairwise(edges):
    inside = (confidence >= start) & (confidence < end)
    if inside.any():
        low, high = wilson_bounds(int(right[inside].sum()), int(inside.sum()), ONE_SIDE)
        print(
            f"confidence {start:.2f} to {min(1.0, end):.2f}: {inside.sum():5} pictures, "
            f"mean {confidence[inside].mean():.3f}, "
            f"right {right[inside].mean():.3f} ({low:.3f} to {high:.3f})"
        )
figure, axes = plt.subplots(figsize=(6, 3))
axes.hist([confidence[right], confidence[~right]], bins=20, label=["right", "wrong"], stacked=True)
axes.set_xlabel("confidence")
axes.set_yscale("symlog")
axes.legend()
plt.show()

# %% [markdown]
# ## The worst mistakes
#
# The pictures that are wrong with the highest confidence or, where none is wrong, those with the lowest confidence.
# They are shown as the network sees them: in its size.

# %%
wrong = np.flatnonzero(~right)
order = wrong[np.argsort(-confidence[wrong])] if len(wrong) else np.argsort(confidence)
print(f"{len(wrong)} wrong:", dict(Counter(f"{classes[truth[i]]} as {classes[predicted[i]]}" for i in wrong)))
shown = order[:8]
figure, places = plt.subplots(2, 4, figsize=(9, 5))
for place in places.flat:
    place.axis("off")
for place, index in zip(places.flat, shown, strict=False):
    place.imshow(predictor.decode((prepared.root / pictures[index].path).read_bytes()))
    place.set_title(f"{pictures[index].label}: {classes[predicted[index]]} {confidence[index]:.3f}", fontsize=8)
plt.show()

# %% [markdown]
# ## Small and large pictures
#
# Does the accuracy depend on how many pixels a picture has?

# %%
sides = np.array([min(picture.width, picture.height) for picture in pictures])
for part in np.array_split(np.argsort(sides), min(4, len(sides))):
    low, high = wilson_bounds(int(right[part].sum()), len(part), ONE_SIDE)
    span = f"{sides[part].min():5} to {sides[part].max():5}"
    print(f"shorter side {span}: {right[part].mean():.3f} ({low:.3f} to {high:.3f})")
