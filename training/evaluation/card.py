"""MODEL_CARD.md from what release.json says: no figure is written by hand, and what was not measured is left out."""

from training.evaluation.markdown import (
    Figures,
    bounds,
    decimal,
    escaped,
    interval,
    percent,
    section,
    table,
    with_interval,
)
from training.evaluation.metrics import JUDGED
from training.evaluation.robustness_section import robustness_section
from training.evaluation.story import averaged_story, epochs, training_story
from training.evaluation.unsure_section import unsure_section

ARCHITECTURES = {
    "resnet18": "ResNet18",
    "mobilenet_v2": "MobileNetV2",
    "baseline": "plain network of three convolutional blocks",
}

INTRODUCTION = """# Model card: {name} {version}

{network} with {outputs} outputs ({classes}), {training}, on {sizes} pixel crops for {epochs}.
It takes any picture and always answers with one of its classes: it cannot say "none of these".{or_unsure}

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
    int8 = release.get("precisions", {}).get("int8", {}).get("metrics") or {}
    labels = [escaped(label) for label in release["classes"]]
    classes = " and ".join([", ".join(labels[:-1]), labels[-1]])
    sections = [
        _introduction(release),
        "## Accuracy on pictures never trained on",
        _accuracy(metrics, int8) if metrics else "Not evaluated.",
        _precision(release),
        _per_class(metrics),
        _calibration(metrics, "temperature" in release, release.get("calibration") or {}),
        unsure_section(release.get("unsure") or {}),
        robustness_section(release.get("robustness") or {}),
        _slices(metrics, int8),
        _pairs(metrics),
        _resize_rule(decisions.get("resize") or {}),
        _input_size(decisions.get("size") or {}),
        _sizes_served(release.get("sizes") or {}),
        INTENDED.format(classes=classes if len(release["classes"]) <= 5 else f"its {len(release['classes'])} classes"),
    ]
    return "\n\n".join(text for text in sections if text) + "\n"


def _introduction(release: Figures) -> str:
    train, arch = release["config"]["train"], release["config"]["model"]["arch"]
    network = ARCHITECTURES.get(arch) or f"{arch.removeprefix('timm:')} (timm)"
    size, rule = release["input"]["size"], release["input"]["resize"]
    difference, compared = release["parity"]["max_difference"], release["parity"]["pictures"]
    trained, evaluated = release["manifest_sha256"], release.get("evaluated_manifest_sha256")
    averaged = release.get("averaged")
    rows = [
        ("input", f"{size} x {size} pixels, RGB, uint8; rule `{rule}` (handler/preprocess.py)"),
        ("weights", f"{_kernels(release)}; sha256 `{release['files']['model.safetensors']}`"),
        *([("averaged", f"the mean of the weights of {averaged_story(averaged)}")] if averaged else []),
        ("pictures", f"manifest sha256 `{trained}`"),
        *([("evaluated on", f"manifest sha256 `{evaluated}`")] if evaluated not in (None, trained) else []),
        ("code", f"git `{release['git_sha']}`, config sha256 `{release['config_sha256']}`"),
        *([("run", f"`{release['run_id']}` in its tracker")] if release.get("run_id") else []),
        (
            "arithmetic",
            f"differs from torch's by at most {difference} in a probability, over {compared} pictures",
        ),
    ]
    low, high = train["min_size"], train["max_size"]
    return INTRODUCTION.format(
        name=release["name"],
        version=release["version"],
        network=network,
        outputs=len(release["classes"]),
        classes=", ".join(map(escaped, release["classes"])),
        training=training_story(release),
        sizes=low if low == high else f"{low} to {high}",
        epochs=epochs(release["epochs"]),
        or_unsure=" It can say that it is unsure." if (release.get("unsure") or {}).get("precisions") else "",
        facts=table(["", ""], rows),
    )


def _kernels(release: Figures) -> str:
    """Return how the kernels are stored, and the reason where that is unusual."""
    stored = release.get("kernels") or {"stored": "fp16"}
    if stored["stored"] == "fp16":
        return "kernels as fp16, computed in fp32"
    moved = stored["fp16_difference"]
    by = "to numbers that are none" if moved is None else f"by up to {moved}"
    return f"kernels as fp32: rounded to fp16 they would move a probability {by}, {stored['allowed']} is allowed"


def _precision(release: Figures) -> str:
    """Return how the int8 network compares with the fp32 one, and which is served where."""
    int8 = release.get("precisions", {}).get("int8")
    if int8 is None:
        return ""
    served = (
        "x86-64 CPUs serve int8; other CPUs serve fp32, and GPUs fp16."
        if release.get("precision") == "int8"
        else "CPUs serve fp32, and GPUs fp16."
    )
    text = f"Verdict on int8: {int8['verdict']}. {int8['sentence']}"
    if calibration := int8.get("calibration"):
        text += f" Its ranges were measured on {calibration['pictures']} pictures of the train split."
    return f"## Precision\n\n{served} Tables that do not name a precision are of fp32.\n\n{text}"


def _accuracy(metrics: Figures, int8: Figures) -> str:
    depths = sorted({int(k) for figures in metrics.values() for k in figures.get("top_k", {})})
    balanced = any("balanced_accuracy" in figures for figures in metrics.values())
    header = ["slice", *["precision"] * bool(int8), "accuracy", "95 % interval", "n"]
    header += ["balanced accuracy"] * balanced + [f"top {k}" for k in depths]
    rows = []
    both = [(name, "fp32", figures) for name, figures in metrics.items()]
    both += [(name, "int8", figures) for name, figures in int8.items()]
    for name, precision, figures in sorted(both, key=lambda entry: list(metrics).index(entry[0])):
        row = [escaped(name), *[precision] * bool(int8), percent(figures["accuracy"])]
        row += [interval(figures), str(figures["count"])]
        if balanced:
            row.append(percent(figures.get("balanced_accuracy")))
        row += [with_interval(figures.get("top_k", {}).get(str(k))) for k in depths]
        rows.append(row)
    return (
        f"{table(header, rows)}\n\n"
        "Intervals are Wilson's at 95 %, here and below; what is no proportion of pictures has none. No\n"
        "near-duplicate of a test picture was trained on; duplicates between the slices remain (a photograph and its\n"
        "squeezed twin), so the slices are not to be added up."
    )


def _per_class(metrics: Figures) -> str:
    rows = [
        (
            escaped(name),
            escaped(label),
            with_interval(scores["recall"]),
            with_interval(scores["precision"]),
            decimal(scores["f1"]),
            decimal(scores["average_precision"]),
        )
        for name, figures in metrics.items()
        for label, scores in figures.get("per_class", {}).items()
    ]
    scores_table = table(["pictures", "class", "recall", "precision", "F1", "AP"], rows)
    return section("By class", f"{scores_table}{_not_judged(metrics)}", rows)


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
        (escaped(name), *(decimal(figures[key]) for key in ("ece", "ece_scaled", "log_loss", "log_loss_scaled")))
        for name, figures in metrics.items()
        if "ece" in figures
    ]
    temperature = next((figures["temperature"] for figures in metrics.values() if "temperature" in figures), 1.0)
    header = ["pictures", "ECE", f"ECE at T = {temperature:.3f}", "log loss", f"log loss at T = {temperature:.3f}"]
    text = (
        f"{table(header, rows)}\n\n"
        "ECE is the mean distance between a verdict's probability and the share that is right, in 15 bins. The\n"
        "temperature T, which logits are divided by, was fitted on the val split."
        + _shrinkage(fitted)
        + "\nThe released network does so itself: its probabilities are those at T." * applied
    )
    return section("Calibration", text, rows)


def _shrinkage(fitted: Figures) -> str:
    """Return how far few pictures moved the temperature towards 1; nothing where a release does not say."""
    if "unshrunk" not in fitted:
        return ""
    alone = f"they alone would give {fitted['unshrunk']:.3f}" if fitted["unshrunk"] else "they alone set no bound to it"
    return f" Its {fitted['count']} pictures\nare weighed against a prior around T = 1; {alone}."


def _slices(metrics: Figures, int8: Figures) -> str:
    rows = [
        (escaped(name), trait, row["name"], bounds(row), with_interval(row), *_int8_third(int8, name, trait, row))
        for name, figures in metrics.items()
        for trait, sliced in figures.get("by_slice", {}).items()
        for row in sliced["slices"]
    ]
    units = {
        trait: sliced["unit"] for figures in metrics.values() for trait, sliced in figures.get("by_slice", {}).items()
    }
    legend = "; ".join(f"{trait}: {unit}" for trait, unit in units.items())
    header = ["pictures", "trait", "third", "values", *(["accuracy, fp32", "accuracy, int8"] if int8 else ["accuracy"])]
    text = f"{table(header, rows)}\n\nUnits: {legend}."
    return section("By size, brightness and sharpness", text, rows)


def _int8_third(int8: Figures, name: str, trait: str, third: Figures) -> list[str]:
    """Return the accuracy of int8 in a third of a trait; nothing where int8 was not measured."""
    if name not in int8:
        return []
    slices = int8[name]["by_slice"][trait]["slices"]
    return [next((with_interval(row) for row in slices if row["name"] == third["name"]), "")]


def _pairs(metrics: Figures) -> str:
    rows = [
        (escaped(name), escaped(pair["truth"]), escaped(pair["verdict"]), str(pair["count"]), with_interval(pair, "of"))
        for name, figures in metrics.items()
        for pair in figures.get("worst_pairs", [])
    ]
    return section(
        "Most frequent confusions", table(["pictures", "truth", "verdict", "times", "of that truth"], rows), rows
    )


def _resize_rule(decision: Figures) -> str:
    rows = [(f"val, at usual aspects: {rule}", with_interval(row)) for rule, row in decision.get("rules", {}).items()]
    rows += [
        (f"test, {escaped(name)}, as they are: {rule}", with_interval(row))
        for name, rules in decision.get("test_pictures_as_they_are", {}).items()
        for rule, row in rules.items()
    ]
    text = f"{decision.get('sentence')}\n\n{table(['pictures and rule', 'accuracy'], rows)}\n\n"
    return section("The resize rule, as measured", text + "The test pictures had no say in the choice.", rows)


def _input_size(decision: Figures) -> str:
    rows = _size_rows(decision)
    text = (
        f"{decision.get('sentence')}\n\n{table(['pixels', 'accuracy on val', 'network, per picture'], rows)}\n\n"
        f"Cost: {decision.get('cost')}. The knee is {decision.get('rule')}."
    )
    return section("The input size, as measured", text, rows)


def _size_rows(measured: Figures) -> list[tuple[str, ...]]:
    return [
        (
            f"**{row['size']}**" if row["size"] == measured["knee"] else str(row["size"]),
            with_interval(row["accuracy"]),
            f"{row['milliseconds']:.2f} ms",
        )
        for row in measured.get("sizes", [])
    ]


def _sizes_served(measured: Figures) -> str:
    """Return what `catsdogs sizes` measured; nothing where it was not run."""
    precisions = measured.get("precisions", {})
    rows = [(precision, *row) for precision, figures in precisions.items() for row in _size_rows(figures)]
    sentences = " ".join(f"{precision}: {figures['sentence']}" for precision, figures in precisions.items())
    text = (
        f"{sentences}\n\n{table(['precision', 'pixels', 'accuracy on val', 'network, per picture'], rows)}\n\n"
        f"The released weights at other sizes; int8 is quantised at each. Cost: {measured.get('cost')}."
    )
    return section("Other input sizes, by precision", text, rows)
