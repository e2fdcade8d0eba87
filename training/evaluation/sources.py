"""The sources of pictures, which reports tell apart: the top folders that are neither classes nor splits."""

import numpy as np

from training.data.class_names import label_of, split_of
from training.data.manifest import Picture
from training.evaluation.metrics import Ints

ALL = "all"


def source_of(picture: Picture, classes: list[str]) -> str:
    """Return the first folder of a picture's path that is not named after a split; `all` where that is a class's own.

    A tree that the user split has train/, val/ and test/ at its top. Those are no sources: a picture for validation may
    stand in train/.
    """
    folders = picture.path.split("/")[:-1]
    if folders and label_of(folders[0]) not in classes and split_of(folders[0]):
        folders = folders[1:]
    return folders[0] if folders and label_of(folders[0]) not in classes else ALL


def domains(pictures: list[Picture], classes: list[str]) -> dict[str, Ints]:
    """Return indices into `pictures` by source, in the order of the sources' names."""
    names = np.array([source_of(picture, classes) for picture in pictures])
    return {str(name): np.flatnonzero(names == name) for name in np.unique(names)}
