import numpy as np
import pytest
from PIL import Image, ImageFile

from handler.load_image import to_rgb
from handler.open_image import MAX_BYTES, open_image
from handler.preprocess import InputSpec, Resize, decode
from handler.problem import Problem
from tests import zoo
from tests.bombs import BOMBS

SPEC = InputSpec(128)


@pytest.mark.parametrize("kind", zoo.accepted())
def test_every_accepted_kind_shows_the_same_picture(kind: str) -> None:
    reference = decode(zoo.encode(zoo.photo(), "PNG"), SPEC).astype(int)
    pixels = decode(zoo.accepted()[kind], SPEC)
    assert pixels.shape == (128, 128, 3)
    assert pixels.dtype == np.uint8
    if "grey" in kind or "16" in kind:
        reference = np.asarray(Image.fromarray(reference.astype(np.uint8)).convert("L"))[..., None].astype(int)
    # Compression and palettes move a pixel by some levels; another orientation or frame would move most by far more.
    assert np.abs(pixels.astype(int) - reference).mean() < 4


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_camera_held_otherwise_gives_an_upright_picture(orientation: int) -> None:
    upright = decode(zoo.encode(zoo.photo(), "PNG"), SPEC).astype(int)
    assert np.abs(decode(zoo.rotated_by_exif(orientation), SPEC).astype(int) - upright).mean() < 4


def test_transparency_lies_on_white() -> None:
    pixels = decode(zoo.encode(Image.new("RGBA", (50, 50), (255, 0, 0, 0)), "PNG"), SPEC)
    assert (pixels == 255).all()


@pytest.mark.parametrize("kind", zoo.refused())
def test_what_cannot_be_read_says_why(kind: str) -> None:
    body, status, code = zoo.refused()[kind]
    with pytest.raises(Problem) as raised:
        decode(body, SPEC)
    assert (raised.value.status, raised.value.code) == (status, code)
    assert raised.value.detail.endswith(".")


def test_a_bomb_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = zoo.bomb()
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("the bomb was decoded"))
    with pytest.raises(Problem, match="10000 x 10000"):
        decode(bomb, SPEC)


def test_the_byte_limit_is_inclusive() -> None:
    padded = zoo.CAT.read_bytes().ljust(MAX_BYTES, b"\0")
    assert decode(padded, SPEC).shape == (128, 128, 3)
    with pytest.raises(Problem) as raised:
        decode(padded + b"\0", SPEC)
    assert raised.value.code == "too_many_bytes"


def test_one_pixel_is_a_picture() -> None:
    pixels = decode(zoo.encode(Image.new("RGB", (1, 1), (10, 20, 30)), "PNG"), SPEC)
    assert (pixels == (10, 20, 30)).all()


def test_crop_takes_the_centre_and_squeeze_takes_all() -> None:
    image = Image.new("RGB", (300, 100), "black")
    image.paste("white", (100, 0, 200, 100))
    data = zoo.encode(image, "PNG")
    # At the crop's rim the resampling sees a black neighbour.
    assert (decode(data, InputSpec(64, "crop"))[1:-1, 1:-1] == 255).all()
    assert 0.3 < (decode(data, InputSpec(64, "squeeze")) == 255).mean() < 0.36


def test_a_large_photo_is_decoded_smaller_and_looks_the_same() -> None:
    large = zoo.photo().resize((4000, 3000), Image.Resampling.LANCZOS)
    data = zoo.encode(large, "JPEG", quality=95)
    exact = large.resize((128, 128), Image.Resampling.BILINEAR)
    assert np.abs(decode(data, SPEC).astype(int) - np.asarray(exact).astype(int)).mean() < 2


def test_a_photo_at_hand_is_decoded_in_full() -> None:
    exact = to_rgb(open_image(zoo.CAT.read_bytes())).resize((128, 128), Image.Resampling.BILINEAR)
    assert np.array_equal(decode(zoo.CAT.read_bytes(), SPEC), np.asarray(exact))


def test_a_picture_in_rgb_is_not_copied() -> None:
    image = open_image(zoo.CAT.read_bytes())
    assert to_rgb(image) is image
    assert image.getextrema() == zoo.photo().getextrema()


def test_broken_exif_does_not_harm_a_good_picture() -> None:
    good = decode(zoo.CAT.read_bytes(), SPEC)
    jpeg = zoo.CAT.read_bytes()
    exif = b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(20)
    broken = jpeg[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + jpeg[2:]
    assert np.array_equal(decode(broken, SPEC), good)


def test_a_phone_held_upright_gives_an_upright_picture_where_it_takes_two_at_once() -> None:
    """Two lenses, or a picture and its depth: an MPO, which begins as a JPEG does."""
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = zoo.photo().transpose(Image.Transpose.ROTATE_90)
    mpo = zoo.encode(turned, "MPO", quality=95, exif=exif, save_all=True, append_images=[turned.copy()])
    upright = decode(zoo.encode(zoo.photo(), "PNG"), SPEC).astype(int)
    assert np.abs(decode(mpo, SPEC).astype(int) - upright).mean() < 4


@pytest.mark.parametrize("kind", zoo.accepted())
@pytest.mark.parametrize("rule", ["squeeze", "crop"])
def test_a_large_picture_is_scaled_by_parts_as_it_is_whole(
    kind: str, rule: Resize, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = decode(zoo.accepted()[kind], InputSpec(128, rule))
    monkeypatch.setattr("handler.strips.STRIP_PIXELS", 7 * zoo.photo().width)
    parts = decode(zoo.accepted()[kind], InputSpec(128, rule))
    # Of a picture that is higher than wide Pillow takes the columns first.
    assert np.abs(parts.astype(int) - whole).max() <= ("turned" in kind)


@pytest.mark.parametrize(
    "name", ["png of one column", "webp with a large canvas", "webp with a larger canvas", "progressive cmyk"]
)
def test_what_would_take_too_much_memory_is_refused_by_its_header(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("it was decoded"))
    with pytest.raises(Problem) as raised:
        decode(BOMBS[name](), SPEC)
    assert (raised.value.status, raised.value.code) == (413, "too_many_pixels")
    assert raised.value.detail.endswith(".")
