"""MODEL_CARD.md from what release.json says: no figure is written by hand, and what was not measured is left out."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from training.evaluation.metrics import JUDGED

Figures = Mapping[str, Any]

ARCHITECTURES = {
    "resnet18": "ResNet18",
    "mobilenet_v2": "MobileNetV2",
    "baseline": "plain network of three convolutional blocks",
}
TEACHERS = {
    "efficientnet_lite0": "EfficientNet-Lite0",
    "efficientnet_lite2": "EfficientNet-Lite2",
    "resnet18": "ResNet18",
    "mobilenet_v2": "MobileNetV2",
}

INTRODUCTION = """# Model card: {name} {version}

{network} with {outputs} outputs ({classes}), {training}, on {sizes} pixel crops for {epochs}.
It takes any picture and always answers with one of its classes: it cannot say "none of these".

{facts}"""

INTENDED = """## Intended use and limits

Demonstrating and testing this system. It tells {classes} apart; anything else, drawings, and several of them in one
picture are out of its reach. The labels of its pictures are the names of the folders they were found in: what is
wrong in them is wrong in the figures above too. Do not use it where a wrong answer matters.

## Ethical considerations

It was made to judge {classes}, not people, and its answer says nothing about a person who happens to be in the
picture. Its mistakes are not spread evenly over classes and pictures; before it decides anything, measure it on
pictures of the place where it shall work."""


def model_card(release: Figures) -> str:
    """Markdown for a release, whose `metrics` are of `evaluate` or None; keys of younger releases may be missing."""
    metrics = release.get("metrics") or {}
    decisions = release.get("decisions") or {}
    labels = [_md(label) for label in release["classes"]]
    classes = " and ".join([", ".join(labels[:-1]), labels[-1]])
    sections = [
        _introduction(release),
        "## Accuracy on pictures never trained on",
        _accuracy(metrics) if metrics else "Not evaluated.",
        _per_class(metrics),
        _calibration(metrics, "temperature" in release, release.get("calibration") or {}),
        _slices(metrics),
        _pairs(metrics),
        _resize_rule(decisions.get("resize") or {}),
        _input_size(decisions.get("size") or {}),
        INTENDED.format(classes=classes if len(release["classes"]) <= 5 else f"its {len(release['classes'])} classes"),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def training_story(release: Figures) -> str:
    """Return how the weights came to be, to stand after "a network with n outputs, "."""
    model, train = release["config"].get("model", {}), release["config"].get("train", {})
    weights = model.get("weights")
    source = (
        "ImageNet weights" if weights == "imagenet" else f"the weights of {_md(Path(weights).name)}" if weights else ""
    )
    if start := release.get("start"):
        low, high = (start["config"]["train"][key] for key in ("min_size", "max_size"))
        sizes = low if low == high else f"{low} to {high}"
        released = f"the release {start['name']} {start['version']}, " if start.get("version") else ""
        source = f"{released}a run of {_epochs(start['epochs'])} at {sizes} pixels (git `{start['git_sha']}`), "
        source += f"which was itself {training_story(start)}"
        if start.get("pictures_known") is False:
            source += ", and of which nobody knows on which pictures"
    if teacher := _teacher(release):
        return f"distilled from {teacher}, otherwise from {source or 'random weights'}"
    if model.get("freeze_backbone") or train.get("freeze_backbone"):
        return f"a linear head trained on a frozen network with {source or 'random weights'}"
    return f"fine-tuned from {source}" if source else "trained from scratch"


def _teacher(release: Figures) -> str:
    """Return the teacher's name and what it saw; nothing where there was none."""
    distill = release["config"].get("distill") or {}
    teacher = release.get("teacher") or ({"name": distill["teacher"]} if distill.get("teacher") else None)
    if teacher is None:
        return ""
    raw = str(teacher.get("name", "")).removeprefix("timm:").removeprefix("tf_")
    details = [
        TEACHERS.get(raw, raw or "unnamed"),
        source if (source := teacher.get("source")) != "imagenet" else None,  # which the sentence says anyway
        f"weights sha256 `{teacher['weights_sha256']}`" if teacher.get("weights_sha256") else None,
        f"{teacher['size']} pixels" if teacher.get("size") else None,
        f"{teacher['views']} fixed views of each picture" if teacher.get("views") else None,
        f"matching its {teacher['match']}" if teacher.get("match") else None,
    ]
    trained_on = "an ImageNet teacher" if distill.get("teacher_weights", "imagenet") == "imagenet" else "a teacher"
    return f"{trained_on} ({', '.join(str(detail) for detail in details if detail)})"


def _introduction(release: Figures) -> str:
    train, arch = release["config"]["train"], release["config"]["model"]["arch"]
    network = ARCHITECTURES.get(arch) or f"{arch.removeprefix('timm:')} (timm)"
    size, rule = release["input"]["size"], release["input"]["resize"]
    difference, compared = release["parity"]["max_difference"], release["parity"]["pictures"]
    trained, evaluated = release["manifest_sha256"], release.get("evaluated_manifest_sha256")
    rows = [
        ("input", f"{size} x {size} pixels, RGB, uint8; rule `{rule}` (handler/preprocess.py)"),
        ("weights", f"{_kernels(release)}; sha256 `{release['files']['model.safetensors']}`"),
        ("pictures", f"manifest sha256 `{trained}`"),
        *([("evaluated on", f"manifest sha256 `{evaluated}`")] if evaluated not in (None, trained) else []),
        ("code", f"git `{release['git_sha']}`, config sha256 `{release['config_sha256']}`"),
        ("arithmetic", f"ONNX differs from torch by at most {difference} in a probability, over {compared} pictures"),
    ]
    low, high = train["min_size"], train["max_size"]
    return INTRODUCTION.format(
        name=release["name"],
        version=release["version"],
        network=network,
        outputs=len(release["classes"]),
        classes=", ".join(map(_md, release["classes"])),
        training=training_story(release),
        sizes=low if low == high else f"{low} to {high}",
        epochs=_epochs(release["epochs"]),
        facts=_table(["", ""], rows),
    )


def _kernels(release: Figures) -> str:
    """Return how the kernels are stored, and the reason where that is unusual."""
    stored = release.get("kernels") or {"stored": "fp16"}
    if stored["stored"] == "fp16":
        return "kernels as fp16, computed in fp32"
    moved = stored["fp16_difference"]
    by = "to numbers that are none" if moved is None else f"by up to {moved}"
    return f"kernels as fp32: rounded to fp16 they would move a probability {by}, {stored['allowed']} is allowed"


def _epochs(count: int) -> str:
    return f"{count} epoch" if count == 1 else f"{count} epochs"


def _accuracy(metrics: Figures) -> str:
    depths = sorted({int(k) for figures in metrics.values() for k in figures.get("top_k", {})})
    balanced = any("balanced_accuracy" in figures for figures in metrics.values())
    header = ["slice", "accuracy", "95 % interval", "n"]
    header += ["balanced accuracy"] * balanced + [f"top {k}" for k in depths]
    rows = []
    for name, figures in metrics.items():
        row = [_md(name), _percent(figures["accuracy"]), _interval(figures), str(figures["count"])]
        if balanced:
            row.append(_percent(figures.get("balanced_accuracy")))
        row += [_with_interval(figures.get("top_k", {}).get(str(k))) for k in depths]
        rows.append(row)
    return (
        f"{_table(header, rows)}\n\n"
        "Intervals are Wilson's at 95 %, here and below; what is no proportion of pictures has none. No\n"
        "near-duplicate of a test picture was trained on; duplicates between the slices remain (a photograph and its\n"
        "squeezed twin), so the slices are not to be added up."
    )


def _per_class(metrics: Figures) -> str:
    rows = [
        (
            _md(name),
            _md(label),
            _with_interval(scores["recall"]),
            _with_interval(scores["precision"]),
            _decimal(scores["f1"]),
            _decimal(scores["average_precision"]),
        )
        for name, figures in metrics.items()
        for label, scores in figures.get("per_class", {}).items()
    ]
    table = _table(["pictures", "class", "recall", "precision", "F1", "AP"], rows)
    return _section("By class", f"{table}{_not_judged(metrics)}", rows)


def _not_judged(metrics: Figures) -> str:
    """A sentence on classes with too few test pictures, over all slices, for a verdict on them."""
    counts: dict[str, int] = {}
    for figures in metrics.values():
        for label, scores in figures.get("per_class", {}).items():
            counts[label] = counts.get(label, 0) + (scores["recall"]["count"] if scores["recall"] else 0)
    names = ", ".join(f"{label} ({count})" for label, count in counts.items() if count < JUDGED)
    return f"\n\nFewer than {JUDGED} test pictures, so not judged: {names}." if names else ""


def _calibration(metrics: Figures, applied: bool, fitted: Figures) -> str:
    rows = [
        (_md(name), *(_decimal(figures[key]) for key in ("ece", "ece_scaled", "log_loss", "log_loss_scaled")))
        for name, figures in metrics.items()
        if "ece" in figures
    ]
    temperature = next((figures["temperature"] for figures in metrics.values() if "temperature" in figures), 1.0)
    header = ["pictures", "ECE", f"ECE at T = {temperature:.3f}", "log loss", f"log loss at T = {temperature:.3f}"]
    text = (
        f"{_table(header, rows)}\n\n"
        "ECE is the mean distance between a verdict's probability and the share that is right, in 15 bins. The\n"
        "temperature T, which logits are divided by, was fitted on the val split."
        + _shrinkage(fitted)
        + "\nThe released network does so itself: its probabilities are those at T." * applied
    )
    return _section("Calibration", text, rows)


def _shrinkage(fitted: Figures) -> str:
    """Return how far few pictures moved the temperature towards 1; nothing where a release does not say."""
    if "unshrunk" not in fitted:
        return ""
    alone = f"they alone would give {fitted['unshrunk']:.3f}" if fitted["unshrunk"] else "they alone set no bound to it"
    return f" Its {fitted['count']} pictures\nare weighed against a prior around T = 1; {alone}."


def _slices(metrics: Figures) -> str:
    rows = [
        (_md(name), trait, row["name"], _bounds(row), _with_interval(row))
        for name, figures in metrics.items()
        for trait, sliced in figures.get("by_slice", {}).items()
        for row in sliced["slices"]
    ]
    units = {
        trait: sliced["unit"] for figures in metrics.values() for trait, sliced in figures.get("by_slice", {}).items()
    }
    legend = "; ".join(f"{trait}: {unit}" for trait, unit in units.items())
    text = f"{_table(['pictures', 'trait', 'third', 'values', 'accuracy'], rows)}\n\nUnits: {legend}."
    return _section("By size, brightness and sharpness", text, rows)


def _pairs(metrics: Figures) -> str:
    rows = [
        (_md(name), _md(pair["truth"]), _md(pair["verdict"]), str(pair["count"]), _with_interval(pair, "of"))
        for name, figures in metrics.items()
        for pair in figures.get("worst_pairs", [])
    ]
    return _section(
        "Most frequent confusions", _table(["pictures", "truth", "verdict", "times", "of that truth"], rows), rows
    )


def _resize_rule(decision: Figures) -> str:
    rows = [(f"val, at usual aspects: {rule}", _with_interval(row)) for rule, row in decision.get("rules", {}).items()]
    rows += [
        (f"test, {_md(name)}, as they are: {rule}", _with_interval(row))
        for name, rules in decision.get("test_pictures_as_they_are", {}).items()
        for rule, row in rules.items()
    ]
    text = f"{decision.get('sentence')}\n\n{_table(['pictures and rule', 'accuracy'], rows)}\n\n"
    return _section("The resize rule, as measured", text + "The test pictures had no say in the choice.", rows)


def _input_size(decision: Figures) -> str:
    rows = [
        (
            f"**{row['size']}**" if row["size"] == decision["knee"] else str(row["size"]),
            _with_interval(row["accuracy"]),
            f"{row['milliseconds']:.2f} ms",
        )
        for row in decision.get("sizes", [])
    ]
    text = (
        f"{decision.get('sentence')}\n\n{_table(['pixels', 'accuracy on val', 'network, per picture'], rows)}\n\n"
        f"Cost: {decision.get('cost')}. The knee is {decision.get('rule')}."
    )
    return _section("The input size, as measured", text, rows)


def _section(title: str, text: str, rows: Sequence[object]) -> str:
    return f"## {title}\n\n{text}" if rows else ""


def _md(text: str) -> str:
    """A name that a user chose, in Markdown: no sign of it is markup, and it stays on its line."""
    line = "".join(sign if sign.isprintable() else " " for sign in text)
    return re.sub(r"([\\`*_\[\]<>|#~$&])", r"\\\1", line)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    cells = [[re.sub(r"(?<!\\)\|", r"\\|", cell) for cell in line] for line in (header, ["---"] * len(header), *rows)]
    return "\n".join(f"| {' | '.join(line)} |" if any(line) else "|" + " |" * len(line) for line in cells)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f} %"


def _decimal(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _interval(figures: Figures) -> str:
    return f"{_percent(figures['low'])} to {_percent(figures['high'])}"


def _with_interval(figures: Figures | None, count: str = "count") -> str:
    if figures is None:
        return ""
    low, high = 100 * figures["low"], 100 * figures["high"]
    return f"{_percent(figures['share'])} ({low:.2f} to {high:.2f}, n = {figures[count]})"


def _bounds(row: Figures) -> str:
    above, up_to = row["above"], row["up_to"]
    if above is None:
        return f"up to {up_to:.4g}"
    return f"above {above:.4g}" if up_to is None else f"{above:.4g} to {up_to:.4g}"
