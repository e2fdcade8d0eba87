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
# # Data exploration
#
# Classes, sizes, near-duplicates and quarantine of a folder that `catsdogs prepare` made.
# `CATSDOGS_DATA` names it; by default it is `data`.

# %%
import csv
import os
from collections import Counter
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from training.data import manifest
from training.data.split import SPLITS

DATA = Path(os.environ.get("CATSDOGS_DATA", "data"))
prepared = manifest.read(DATA)
pictures = prepared.pictures
print(f"{len(pictures)} pictures in {len(prepared.classes)} classes; sha256 of the manifest: {prepared.sha256[:12]}")

# %% [markdown]
# ## Classes
#
# Pictures of each class in each split. A split with few pictures of a class measures its accuracy badly.

# %%
counts = Counter((picture.label, picture.split) for picture in pictures)
print(f"{'class':20}" + "".join(f"{split:>8}" for split in SPLITS))
for label in prepared.classes:
    print(f"{label:20}" + "".join(f"{counts[label, split]:8}" for split in SPLITS))

figure, axes = plt.subplots(figsize=(7, 3))
left = np.zeros(len(prepared.classes))
for split in SPLITS:
    bars = np.array([counts[label, split] for label in prepared.classes])
    axes.barh(prepared.classes, bars, left=left, label=split)
    left += bars
axes.set_xlabel("pictures")
axes.legend()
plt.show()

# %% [markdown]
# ## Sizes
#
# A picture that is much smaller than the network's input has less to show. One of a very different shape is squeezed.

# %%
widths = np.array([picture.width for picture in pictures])
heights = np.array([picture.height for picture in pictures])
print("median", f"{np.median(widths):.0f} x {np.median(heights):.0f},", "least side", min(widths.min(), heights.min()))
figure, (sizes, shapes) = plt.subplots(1, 2, figsize=(9, 3.5))
for label in prepared.classes:
    mine = np.array([picture.label == label for picture in pictures])
    sizes.scatter(widths[mine], heights[mine], s=8, alpha=0.5, label=label)
sizes.set_xlabel("width in pixels")
sizes.set_ylabel("height in pixels")
sizes.legend()
shapes.hist(np.log2(widths / heights), bins=30)
shapes.set_xlabel("width : height, in powers of two")
plt.show()

# %% [markdown]
# ## Near-duplicates
#
# Pictures of one group look alike. A group stays in one split: otherwise the network would be tested on what it has
# learned.

# %%
groups = Counter(picture.group for picture in pictures)
several = [group for group, count in groups.most_common() if count > 1]
print(f"{len(several)} groups of near-duplicates with {sum(groups[group] for group in several)} pictures")
crossing = [group for group in several if len({p.split for p in pictures if p.group == group}) > 1]
print(f"{len(crossing)} groups in more than one split")
if several:
    shown = [picture for picture in pictures if picture.group == several[0]][:6]
    figure, places = plt.subplots(1, len(shown), figsize=(2 * len(shown), 2.2), squeeze=False)
    for place, picture in zip(places[0], shown, strict=True):
        with Image.open(prepared.root / picture.path) as opened:
            place.imshow(opened.convert("RGB"))
        place.set_title(picture.path.rsplit("/", 1)[-1], fontsize=7)
        place.axis("off")
    plt.show()

# %% [markdown]
# ## Quarantine
#
# Files that cannot be used, with the reason.

# %%
with (DATA / "quarantine.csv").open(newline="") as file:
    quarantined = list(csv.DictReader(file))
print(f"{len(quarantined)} files in quarantine")
for reason, count in Counter(row["reason"].partition(":")[0] for row in quarantined).most_common():
    print(f"{count:6}  {reason}")
for row in quarantined[:10]:
    print(f"        {row['path']}: {row['reason']}")
