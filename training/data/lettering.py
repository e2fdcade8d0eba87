"""A font of this machine for what Pillow writes: names of files and classes are in any of the world's scripts."""

import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts", "/System/Library/Fonts")
NO_CHARACTER = "\U0010fffe"


def font_for(text: str, size: int) -> Font | None:
    """A font that has a glyph for every character, or None where this machine has no such font."""
    return _font_with(frozenset(text), size)


@cache
def _font_with(characters: frozenset[str], size: int) -> Font | None:
    default = ImageFont.load_default(size)
    if all(_has(default, character) for character in characters):
        return default
    for path in _installed():
        try:
            font = ImageFont.truetype(path, size)
            if all(_has(font, character) for character in characters):
                return font
        except OSError:
            continue  # a font of bitmaps, or no font
    return None


def _has(font: Font, character: str) -> bool:
    """Whether a font draws a character otherwise than one that it cannot have."""
    if isinstance(font, ImageFont.ImageFont):
        return character.isascii()
    mask, missing = font.getmask(character), font.getmask(NO_CHARACTER)
    return character.isspace() or (mask.size, bytes(mask)) != (missing.size, bytes(missing))


@cache
def _installed() -> tuple[str, ...]:
    return tuple(sorted(_font_files()))


def _font_files() -> Iterator[str]:
    for folder in FOLDERS if sys.platform != "win32" else (Path(os.environ["WINDIR"], "Fonts"),):
        for path in Path(folder).expanduser().rglob("*"):
            if path.suffix.lower() in {".ttf", ".otf", ".ttc"}:
                yield str(path)
