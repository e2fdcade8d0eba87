"""The cost of a request in the worker, stage by stage, and what other ways to decode JPEG pictures would gain.

    python -m tests.benchmarks.decode PHOTOS                          # JPEG files, as they are
    python -m tests.benchmarks.decode PHOTOS --width 4032 --limit 10  # enlarged to a phone's 12 megapixels

The rows of simplejpeg need `pip install simplejpeg`, which this project does not require.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import click
import numpy as np
from PIL import Image

from handler.catsdogs_handler import CatsDogsHandler
from handler.counts import PROBE
from handler.features import measure, upright_size
from handler.load_image import load
from handler.open_image import open_image
from handler.predictor import Predictor
from handler.preprocess import shrink
from tests.benchmarks.decoders import Decode, decoders
from tests.benchmarks.timing import Prepare, Times, interleaved, mean_interval, photographs, unpacked
from tests.handler.test_catsdogs_handler import REST, Context
from tests.zoo import ROOT

REQUEST = "whole request"
STAGES = ("open and check", "decompress", "scale", "network")


@click.command()
@click.argument("photos", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--archive", default=ROOT / "model-store" / "catsdogs.mar", type=click.Path(exists=True, path_type=Path))
@click.option("--limit", default=125, show_default=True, type=click.IntRange(2), help="Maximum number of photographs.")
@click.option("--rounds", default=8, show_default=True, type=click.IntRange(1), help="Measurements of each photograph.")
@click.option("--width", type=click.IntRange(1), help="Enlarge the photographs to this width in pixels.")
def main(photos: Path, archive: Path, limit: int, rounds: int, width: int | None) -> None:
    """Measure CPU times of one thread, in ms per picture: means over PHOTOS with 95 % intervals."""
    pictures = photographs(photos, limit)
    if len(pictures) < 2:
        raise click.UsageError(f"{photos} holds fewer than two JPEG files.")
    if width:
        pictures = [enlarged(picture, width) for picture in pictures]
    with unpacked(archive) as folder:
        handler = CatsDogsHandler()
        handler.initialize(Context(folder, []))
        predictor = handler.predictor
        ways = decoders(predictor.release.input)
        rivals = {name: partial(_prepare, way) for name, way in ways.items()}
        times = interleaved(stages(handler, folder) | rivals, pictures, rounds)
    size = round(sum(map(len, pictures)) / len(pictures) / 1e3)
    network = f"{predictor.runtime.name} {getattr(predictor.network, 'precision', 'fp32')}"
    click.echo(f"{len(pictures)} pictures of {size} kB, {network}\n")
    print_stages(times)
    click.echo()
    print_rivals(times, ways, pictures, predictor)


def enlarged(picture: bytes, width: int) -> bytes:
    """Return a JPEG of this width, with noise, so that it has about as many bytes as a photograph of its size."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    image = image.resize((width, round(width * image.height / image.width)), Image.Resampling.LANCZOS)
    noise = np.random.default_rng(7).normal(0, 4, (image.height, image.width, 1))
    buffer = io.BytesIO()
    Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def stages(handler: CatsDogsHandler, folder: Path) -> dict[str, Prepare]:
    """Return the stages of a request for one picture, in order, and the whole request."""
    predictor = handler.predictor
    spec = predictor.release.input
    twice = (2 * spec.size, 2 * spec.size)

    def decompress(data: bytes) -> Callable[[], object]:
        return partial(load, open_image(data, side=spec.size), twice)

    def scale(data: bytes) -> Callable[[], object]:
        image, look = load(open_image(data, side=spec.size), twice)
        return lambda: np.asarray(shrink(image, spec, look))

    def network(data: bytes) -> Callable[[], object]:
        return partial(predictor.probabilities, predictor.decode(data)[None])

    def features(data: bytes) -> Callable[[], object]:
        pixels = predictor.decode(data)
        return lambda: measure(pixels, *upright_size(data))

    def request(data: bytes) -> Callable[[], object]:
        # Features of a probe's picture are not measured; those of users' pictures are, five times a second at most.
        return partial(handler.handle, [{"body": data}], Context(folder, [{**REST, PROBE: "1"}]))

    return {
        "open and check": lambda data: partial(open_image, data, side=spec.size),
        "decompress": decompress,
        "scale": scale,
        "network": network,
        REQUEST: request,
        "features": features,
    }


def _prepare(way: Decode, data: bytes) -> Callable[[], object]:
    return partial(way, data)


def print_stages(times: Mapping[str, Times]) -> None:
    total = times[REQUEST]
    rows = {name: times[name] for name in STAGES}
    rows |= {"all else": total - sum(rows.values()), REQUEST: total, "features, besides": times["features"]}
    click.echo(f"{'stage':28} {'ms':>8} {'+-':>6} {'share':>7}")
    for name, values in rows.items():
        mean, half = mean_interval(values)
        click.echo(f"{name:28} {mean:8.3f} {half:6.3f} {mean / total.mean():7.1%}")


def print_rivals(
    times: Mapping[str, Times], ways: Mapping[str, Decode], pictures: Sequence[bytes], predictor: Predictor
) -> None:
    today = np.stack([ways["today"](picture) for picture in pictures])
    labels = np.concatenate([predictor.probabilities(pixels[None]) for pixels in today]).argmax(axis=1)
    request = times[REQUEST].mean()
    click.echo(f"{'decoder':28} {'ms':>8} {'gain':>8} {'+-':>6} {'of a request':>12} {'levels':>7} {'labels':>7}")
    for name, way in ways.items():
        gain, half = mean_interval(times["today"] - times[name])
        pixels = np.stack([way(picture) for picture in pictures])
        levels = int(np.abs(pixels.astype(int) - today).max())
        changed = np.concatenate([predictor.probabilities(square[None]) for square in pixels]).argmax(axis=1) != labels
        click.echo(
            f"{name:28} {times[name].mean():8.3f} {gain:8.3f} {half:6.3f} {gain / request:12.1%} "
            f"{levels:7} {int(changed.sum()):7}"
        )


if __name__ == "__main__":
    main()
