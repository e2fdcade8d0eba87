"""The frame of an animation that stands for it: the first that shows something."""

from PIL import Image

from handler.problem import Problem

# Beyond these an animation that begins with nothing is not looked through: frames, their pixels together, and those of
# one, of which Pillow keeps up to four copies.
MAX_FRAMES, MAX_PIXELS, MAX_FRAME_PIXELS = 100, 50_000_000, 12_500_000
# Of 256, and of its pixels, what must be opaque for a frame to show something.
OPAQUE, SHARE = 128, 0.01


def first_shown(image: Image.Image) -> Image.Image:
    """The decoded image at its first frame that shows something; at its first one where none does.

    Raises:
        Problem: 413, it is too large to look for one.
    """
    if image.format not in ("GIF", "PNG", "WEBP") or not _may_be_animated(image) or shows(image):
        return image
    if not getattr(image, "is_animated", False):
        image.load()  # Pillow has looked whether there is another one
        return image
    pixels = image.width * image.height
    if pixels > MAX_FRAME_PIXELS:
        raise Problem(
            413, "too_many_pixels", "The animation's first frame shows nothing, and it is too large to seek on."
        )
    for number in range(1, min(MAX_FRAMES, 1 + MAX_PIXELS // pixels)):
        try:
            image.seek(number)
        except EOFError:
            break
        image.load()
        if shows(image):
            return image
    image.seek(0)
    image.load()
    return image


def _may_be_animated(image: Image.Image) -> bool:
    # To ask a GIF costs a seek, and its first frame.
    return image.format == "GIF" or bool(getattr(image, "is_animated", False))


def shows(image: Image.Image) -> bool:
    """Whether enough of a decoded frame is opaque to be seen."""
    if not image.has_transparency_data:
        return True
    if image.mode == "P" and "transparency" in image.info:
        transparency = image.info["transparency"]
        counts = image.histogram()
        if isinstance(transparency, int):
            seen = sum(counts) - counts[transparency]
        else:
            seen = sum(count for index, count in enumerate(counts) if (*transparency, *[255] * 256)[index] >= OPAQUE)
    elif image.mode in ("RGBA", "LA", "PA"):
        seen = sum(image.getchannel("A").histogram()[OPAQUE:])
    else:
        return True
    return seen >= max(1, SHARE * image.width * image.height)
