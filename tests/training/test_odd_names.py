"""Classes, folders and files named by people: signs that are markup elsewhere, and scripts that a font may lack."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from handler.files import UserError
from tests.training.train_support import TINY, settings
from training.console import plain_console, progress_bar
from training.data import contact
from training.data.lettering import font_for
from training.data.manifest import Picture
from training.evaluation import evaluate as evaluation
from training.evaluation.lettering import NUMBERED, class_names, lettered, plain, title_of
from training.evaluation.markdown import escaped
from training.evaluation.report import draw_confusion, draw_precision_recall

ODD = ["$", "$$", "_^{", "[copy]", "[/b]", ":cat:", "a|b`c`*d*", "\\$x$", "x" * 200, "größe", "猫", "\U0001f984"]


def drawn(monkeypatch: pytest.MonkeyPatch, draw: Callable[[], None]) -> list[str]:
    """The texts of the figure that is drawn, as matplotlib shows them."""
    texts: list[str] = []
    savefig = Figure.savefig

    def watched(figure: Figure, *arguments: object, **options: object) -> None:
        savefig(figure, *arguments, **options)  # type: ignore[arg-type]
        for text in figure.findobj(Text):
            line, is_math = text._preprocess_math(text.get_text())  # type: ignore[attr-defined]
            assert not is_math, line
            texts.append(line)

    monkeypatch.setattr(Figure, "savefig", watched)
    draw()
    return texts


def test_odd_classes_stand_on_a_figure_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = np.eye(len(ODD), dtype=int).tolist()
    with lettered(ODD) as drawable:
        known = [label for label in ODD if drawable(label)]
    texts = drawn(monkeypatch, lambda: draw_confusion(counts, ODD, "$a$: 50 %", tmp_path / "confusion.png"))
    assert {"$", "$$", " _^{", "[copy]", "[/b]", ":cat:", "a|b`c`*d*", "\\$x$", "größe"} <= set(texts)
    assert len(known) >= 10
    assert [f"#{ODD.index(label) + 1}" in texts for label in ODD] == [label not in known for label in ODD]
    assert ("$a$: 50 %" if len(known) == len(ODD) else f"$a$: 50 %\n{NUMBERED}") in texts
    assert (tmp_path / "confusion.png").stat().st_size > 1000


def test_odd_classes_all_have_a_line_in_a_legend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.arange(len(ODD))
    scores = {label: {"average_precision": 1.0} for label in ODD}
    texts = drawn(
        monkeypatch,
        lambda: draw_precision_recall(labels, np.eye(len(ODD)), scores, "title", tmp_path / "pr.png"),
    )
    assert sum("(AP 1.0000)" in text for text in texts) == len(ODD)


def test_a_class_that_no_font_can_write_has_its_number() -> None:
    assert class_names(["cat", "猫", "dog"], str.isascii) == ["cat", "#2", "dog"]
    assert title_of("猫, test", ["cat"], str.isascii) == "?, test"
    assert title_of("test", ["猫"], str.isascii) == f"test\n{NUMBERED}"
    assert len(plain("x" * 300)) == 40
    assert plain("two\nlines") == "two lines"


def test_a_font_is_found_for_the_characters_that_it_has() -> None:
    assert font_for("cat größe", 10) is not None
    assert font_for("\u0378", 10) is None  # no script has it


def test_a_caption_that_no_font_can_write_is_the_pictures_sha256(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contact, "font_for", lambda text, size: font_for(text, size) if text.isascii() else None)
    captions = [
        contact.sheet([(Picture(f"cat/{name}", "cat", "train", "0123456789abcdef", "0", 8, 8), None)])
        for name in ("猫.png", "sha256 0123456789ab", "cat.png")
    ]
    assert captions[0] == captions[1] != captions[2]


def test_a_terminal_shows_names_as_they_are() -> None:
    console = plain_console()
    console.file = io.StringIO()
    for label in ODD:
        console.print(label, soft_wrap=True)
    assert console.file.getvalue().splitlines() == ODD
    progress_bar(console).add_task("[/b]", rate="[copy]")


@pytest.mark.parametrize(
    ("name", "markdown"),
    [
        ("a|b", "a\\|b"),
        ("`x`", "\\`x\\`"),
        ("*d*", "\\*d\\*"),
        ("[a](b)", "\\[a\\](b)"),
        ("<b>", "\\<b\\>"),
        ("a\nb", "a b"),
    ],
)
def test_a_name_is_no_markup_in_the_card(name: str, markdown: str) -> None:
    assert escaped(name) == markdown


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory, invoke: Callable[..., str]) -> Path:
    """A run on classes with odd names."""
    folder = tmp_path_factory.mktemp("odd")
    labels = ["$", "$$", "_^{", "[copy]", "[b]", "猫", "a|b"]
    for number, label in enumerate(labels):
        (folder / "pictures" / label).mkdir(parents=True)
        for seed in range(12):
            noise = np.random.default_rng([number, seed]).integers(0, 255, (6, 6, 3), dtype=np.uint8)
            picture = Image.fromarray(noise).resize((40, 36), Image.Resampling.BICUBIC)
            picture.save(folder / "pictures" / label / f"{seed} [c] $.png")
    invoke("prepare", folder / "pictures", "--out", folder / "data", "--split", "60/20/20")
    invoke("train", "--data", folder / "data", "--run", folder / "run", *settings(TINY))
    return folder


def test_odd_classes_go_through_every_verb(odd: Path, invoke: Callable[..., str]) -> None:
    output = invoke("evaluate", "--data", odd / "data", "--run", odd / "run")
    assert "report.json" in output
    report = json.loads((odd / "run" / "evaluation" / "report.json").read_text())
    assert set(report["classes"]) >= {"$", "[copy]", "猫"}
    for name in report["pictures"]:
        assert (odd / "run" / "evaluation" / name).stat().st_size > 1000


def test_the_figures_are_written_before_anything_is_drawn(
    odd: Path, invoke: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise UserError("It cannot be drawn.")

    monkeypatch.setattr(evaluation, "draw_confusion", fail)
    with pytest.raises(UserError, match="It cannot be drawn"):
        invoke("evaluate", "--data", odd / "data", "--run", odd / "run", "--out", odd / "other")
    assert json.loads((odd / "other" / "report.json").read_text())["split"] == "test"
    assert (odd / "other" / "predictions.csv").exists()
