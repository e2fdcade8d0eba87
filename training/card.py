"""MODEL_CARD.md from what release.json says: nothing in it is written by hand."""

from typing import Any

TEMPLATE = """# Model card: {name} {version}

ResNet18 with {classes_count} outputs ({classes}), {training} on {size_range} pixel crops for {epochs} epochs.
It takes any picture and always answers with one of its classes: it cannot say "neither".

| | |
| --- | --- |
| input | {size} x {size} pixels, RGB, uint8; rule `{resize}` (handler/preprocess.py) |
| weights | kernels as fp16, computed in fp32; sha256 `{weights}` |
| pictures | manifest sha256 `{manifest}` |
| code | git `{git}`, config sha256 `{config}` |
| arithmetic | ONNX differs from torch by at most {difference} in a probability, over {parity_count} pictures |

## Accuracy on pictures never trained on

{metrics}

Intervals are Wilson's at 95 %. No near-duplicate of a test picture was trained on; duplicates between the slices
remain (a photograph and its squeezed twin), so the slices are not to be added up.

## Intended use and limits

Demonstrating and testing this system. It was trained on pictures of cats and dogs that people took of their pets;
other animals, drawings, several animals in one picture and night shots are out of its reach. Labels of the training
set hold a few errors. Do not use it where a wrong answer matters.
"""


def model_card(release: dict[str, Any]) -> str:
    """Markdown for a release whose `metrics` are of `evaluate`, or None."""
    train = release["config"]["train"]
    rows = ["| slice | accuracy | 95 % interval | n |", "| --- | --- | --- | --- |"]
    for name, figures in (release["metrics"] or {}).items():
        accuracy, low, high = (f"{100 * figures[key]:.2f} %" for key in ("accuracy", "low", "high"))
        rows.append(f"| {name} | {accuracy} | {low} to {high} | {figures['count']} |")
    return TEMPLATE.format(
        name=release["name"],
        version=release["version"],
        classes=", ".join(release["classes"]),
        classes_count=len(release["classes"]),
        training="fine-tuned" if release["config"]["model"]["weights"] else "trained from scratch",
        size_range=f"{train['min_size']} to {train['max_size']}",
        epochs=release["epochs"],
        size=release["input"]["size"],
        resize=release["input"]["resize"],
        weights=release["files"]["model.safetensors"],
        manifest=release["manifest_sha256"],
        git=release["git_sha"],
        config=release["config_sha256"],
        difference=release["parity"]["max_difference"],
        parity_count=release["parity"]["pictures"],
        metrics="\n".join(rows) if release["metrics"] else "Not evaluated.",
    )
