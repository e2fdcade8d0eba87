"""Pictures of every kind, made from a real photograph, and things that are not pictures."""

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

from serving.client.samples import SAMPLES as SAMPLES

ROOT = Path(__file__).parent.parent
CAT = SAMPLES / "cat" / "4055.jpg"
DOG = SAMPLES / "dog" / "13.jpg"
# The released model's name and version, as answers and the page give them.
RELEASE = json.loads((ROOT / "model-store" / "catsdogs" / "release.json").read_text())
MODEL = f"{RELEASE['name']} {RELEASE['version']}"


def encode(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def photo() -> Image.Image:
    return Image.open(CAT).convert("RGB")


def rotated_by_exif(orientation: int) -> bytes:
    """The photograph as a camera held so would store it: its pixels turned, and a tag that says how."""
    undo = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(photo().transpose(undo[orientation]), "JPEG", quality=95, exif=exif)


def accepted() -> dict[str, bytes]:
    """Every kind of picture that must be answered; all show the same cat."""
    rgb = photo()
    grey = rgb.convert("L")
    alpha = rgb.copy()
    alpha.putalpha(255)
    sixteen = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    return {
        "jpeg": CAT.read_bytes(),
        "jpeg cmyk": encode(rgb.convert("CMYK"), "JPEG", quality=95),
        "jpeg grey": encode(grey, "JPEG", quality=95),
        "jpeg progressive": encode(rgb, "JPEG", quality=95, progressive=True),
        "jpeg turned": rotated_by_exif(6),
        "png": encode(rgb, "PNG"),
        "png alpha": encode(alpha, "PNG"),
        "png 16 bit": encode(sixteen, "PNG"),
        "png palette": encode(rgb.quantize(256), "PNG"),
        "webp": encode(rgb, "WEBP", quality=95),
        "gif": encode(rgb.quantize(256), "GIF", save_all=True, append_images=[grey.quantize(2)]),
        "tiff": encode(rgb, "TIFF", save_all=True, append_images=[rgb.rotate(180)]),
        "bmp": encode(rgb, "BMP"),
    }


def bomb() -> bytes:
    """100 megapixels in a few kilobytes."""
    return encode(Image.new("1", (10_000, 10_000)), "PNG")


def refused() -> dict[str, tuple[bytes, int, str]]:
    """Name -> body, status, code."""
    jpeg = CAT.read_bytes()
    png = encode(photo(), "PNG")
    return {
        "empty": (b"", 400, "no_image"),
        "text": (b"hello, this is no picture", 415, "unsupported_image"),
        "pdf": (b"%PDF-1.7\n" + bytes(1000), 415, "unsupported_image"),
        "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', 415, "unsupported_image"),
        "jpeg header only": (jpeg[:3], 415, "unsupported_image"),
        "jpeg cut off": (jpeg[: len(jpeg) // 2], 422, "corrupt_image"),
        "png cut off": (png[: len(png) // 2], 422, "corrupt_image"),
        "png damaged": (png[:2000] + bytes(2000) + png[4000:], 422, "corrupt_image"),
        "bomb": (bomb(), 413, "too_many_pixels"),
    }
