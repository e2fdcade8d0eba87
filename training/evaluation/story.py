"""The story of a release's weights: from which they started, and who taught them."""

from collections.abc import Sequence
from pathlib import Path

from training.evaluation.markdown import Figures, escaped

TEACHERS = {
    "efficientnet_lite0": "EfficientNet-Lite0",
    "efficientnet_lite1": "EfficientNet-Lite1",
    "efficientnet_lite2": "EfficientNet-Lite2",
    "resnet18": "ResNet18",
    "mobilenet_v2": "MobileNetV2",
}
MATCHED = {"labels": "matching a last layer on its features that was cross-fitted on the labels"}


def training_story(release: Figures) -> str:
    """Return how the weights came to be, to stand after "a network with n outputs, "."""
    model, train = release["config"].get("model", {}), release["config"].get("train", {})
    weights = model.get("weights")
    source = f"the weights of {escaped(Path(weights).name)}" if weights else ""
    if weights == "imagenet":
        source = "ImageNet weights"
    if start := release.get("start"):
        low, high = (start["config"]["train"][key] for key in ("min_size", "max_size"))
        sizes = low if low == high else f"{low} to {high}"
        released = f"the release {start['name']} {start['version']}, " if start.get("version") else ""
        source = f"{released}a run of {epochs(start['epochs'])} at {sizes} pixels (git `{start['git_sha']}`), "
        source += f"which was itself {training_story(start)}"
        if start.get("pictures_known") is False:
            source += ", and of which nobody knows on which pictures"
    if teacher := _teacher(release):
        return f"distilled from {teacher}, otherwise from {source or 'random weights'}"
    if model.get("freeze_backbone") or train.get("freeze_backbone"):
        return f"a linear head trained on a frozen network with {source or 'random weights'}"
    return f"fine-tuned from {source}" if source else "trained from scratch"


def averaged_story(members: Sequence[Figures]) -> str:
    """Return which models the weights are the mean of; the last one is the one that the card tells the story of."""
    names = [
        f"{escaped(member['name'])} {escaped(member['version'])}"
        if member.get("version")
        else f"a run of {epochs(member['epochs'])} (git `{member['git_sha']}`)"
        for member in members
    ]
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _teacher(release: Figures) -> str:
    """Return the teacher's name, or the names of several, and what was seen; nothing where there was none."""
    distill = release["config"].get("distill") or {}
    teacher = release.get("teacher") or ({"name": distill["teacher"]} if distill.get("teacher") else None)
    if teacher is None:
        return ""
    members = teacher.get("members") or [teacher]
    details = [
        *(detail for member in members for detail in _origin(member)),
        f"{teacher['size']} pixels" if teacher.get("size") else None,
        f"{views} fixed view{'s' * (views > 1)} of each picture" if (views := teacher.get("views")) else None,
        MATCHED.get(match, f"matching its {match}") if (match := teacher.get("match")) else None,
    ]
    is_imagenet = distill.get("teacher_weights", "imagenet") == "imagenet"
    who = "an ImageNet teacher" if is_imagenet else "a teacher"
    if len(members) > 1:
        who = f"the mean of {len(members)} ImageNet teachers"
    return f"{who} ({', '.join(str(detail) for detail in details if detail)})"


def _origin(teacher: Figures) -> list[str | None]:
    """Return the name of a network and where its weights are from."""
    raw = str(teacher.get("name", "")).removeprefix("timm:").removeprefix("tf_")
    return [
        TEACHERS.get(raw, raw or "unnamed"),
        source if (source := teacher.get("source")) != "imagenet" else None,  # which the sentence says anyway
        f"weights sha256 `{teacher['weights_sha256']}`" if teacher.get("weights_sha256") else None,
    ]


def epochs(count: int) -> str:
    return f"{count} epoch" if count == 1 else f"{count} epochs"
