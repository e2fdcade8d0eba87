"""The split that a user made: its sides are kept, and no near-duplicate of a tested picture is trained on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from handler.files import UserError
from training.data.layout import Labelled
from training.data.split import SPLITS, Ratios


@dataclass(frozen=True, slots=True)
class Crossing:
    """A picture that is nearly the same as one on another side of the user's split."""

    path: str
    split: str
    other: str
    other_split: str

    @property
    def reason(self) -> str:
        """Why it is set aside."""
        return f"near_duplicate: nearly the same picture is for {self.other_split}: {self.other}"

    def __str__(self) -> str:
        return f"{self.path} ({self.split}) and {self.other} ({self.other_split})"


def sides_given(files: Iterable[Labelled]) -> list[str]:
    """Return the sides that the user chose pictures for; none where there are only pictures for evaluation.

    Raises:
        UserError: pictures that stand on no side lie beside others that are for training.
    """
    files = list(files)
    given = {file.split for file in files if file.split}
    if not given:
        return []
    pool = next((file for file in files if file.split is None and not file.evaluation_only), None)
    if pool is not None and "train" in given:
        raise UserError(
            f"{pool.path} stands in no folder of a split, and others stand in one for training. "
            "Name each folder by --train, --val or --test, or leave out those that belong to none."
        )
    if pool is None and "train" not in given:
        raise UserError("There are no pictures to train on: name a folder of them by --train, or as PICTURES.")
    if any(file.evaluation_only for file in files):
        given.add("test")
    return [split for split in SPLITS if split in given]


def parts_left(given: Sequence[str], ratios: Ratios) -> Ratios:
    """Return the parts by which the pictures for training are split: sides that the user filled take none of them."""
    train, val, test = ratios
    return max(train, 1), 0 if "val" in given else val, 0 if "test" in given else test


def side_of(file: Labelled) -> str:
    """Return the side of a picture in the user's split; what stands on no side is for training."""
    return "test" if file.evaluation_only else file.split or "train"


def describe(given: Sequence[str], ratios: Ratios) -> str:
    """Say what was kept of the user's split and what was added."""
    train, *others = parts_left(given, ratios)
    taken = [(split, part) for split, part in zip(SPLITS[1:], others, strict=True) if part]
    kept = f"Your own split was kept: {', '.join(given)}."
    if not taken:
        return kept
    parts = "/".join(str(part) for part in (train, *(part for _, part in taken)))
    names = " and ".join(split for split, _ in taken)
    return f"{kept} Pictures for {names} were taken from those for training, by content, in the ratio {parts}."
