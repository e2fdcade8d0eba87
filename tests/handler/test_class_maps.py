"""Class activation maps: exact, by each runtime that reads ONNX, and of nothing that has none."""

import base64
import json
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from handler import class_maps
from handler.catsdogs_handler import CatsDogsHandler
from handler.class_maps import ClassMaps, NoMaps, find_head
from handler.explanation import area_of
from handler.onnx_graph import Graph, Node
from handler.overlay import AGAINST, FOR, SIDE, overlay, shown
from handler.predictor import Predictor
from handler.preprocess import InputSpec
from handler.runtimes.choice import choose
from handler.runtimes.onnx_files import FP32_FILE, INT8_FILE
from tests import zoo
from tests.handler.test_catsdogs_handler import REST, Context, v1
from tests.runtimes import CHOICES

EXPLAIN = {**REST, "explain": "True"}
PNG = {**EXPLAIN, "X-Catsdogs-Form": "png"}
# Of the mean of a map from the logit less the bias. MNN rounds otherwise than what computes the maps of its network.
APART = {
    ("openvino", "fp32"): 1e-4,
    ("ort", "fp32"): 1e-4,
    ("mnn", "fp32"): 0.01,
    ("openvino", "int8"): 0.1,
    ("ort", "int8"): 0.1,
}


def pixels_of(predictor: Predictor) -> np.ndarray:
    return np.stack([predictor.decode(path.read_bytes()) for path in sorted(zoo.SAMPLES.glob("*/*.jpg"))])


def explained(ready: CatsDogsHandler, folder: Path, body: bytes, headers: dict[str, str]) -> tuple[int, bytes, str]:
    context = Context(folder, [headers])
    (answer,) = ready.handle([{"body": body}], context)
    return context.status[0], answer, context.response_headers[0]["content-type"]


@pytest.mark.parametrize(("name", "precision"), CHOICES)
def test_the_mean_of_a_map_is_the_logit_less_the_bias(unpacked: Path, name: str, precision: str) -> None:
    predictor = Predictor(unpacked, name, precision)
    pixels = pixels_of(predictor)
    logits = predictor.network.logits(pixels)
    maps = predictor.load_class_maps()
    for index in range(2):
        for made, row in zip(maps.of(pixels, [index] * len(pixels)), logits, strict=True):
            assert made.values.shape == (6, 6)
            assert made.logit == pytest.approx(made.values.mean() + made.bias, abs=1e-5)
            # The logit of int8 is limited to the range of its bytes.
            whole = np.clip(made.values.mean() + made.bias, *maps.head.logit_limits)
            assert whole == pytest.approx(row[index], abs=APART[name, precision])
            assert np.ptp(made.values) > 1, "it tells parts apart"


def test_each_picture_has_the_map_of_its_own_class(unpacked: Path) -> None:
    predictor = Predictor(unpacked)
    pixels = pixels_of(predictor)[:2]
    maps = predictor.load_class_maps()
    cat, dog = maps.of(pixels, [0, 1])
    np.testing.assert_allclose(cat.values, maps.of(pixels[:1], [0])[0].values, atol=0.05)
    np.testing.assert_allclose(dog.values, maps.of(pixels[1:], [1])[0].values, atol=0.05)
    assert np.abs(maps.of(pixels[:1], [1])[0].values - cat.values).max() > 1


@pytest.mark.parametrize("corner", [(0, 0), (1, 0), (0, 1), (1, 1)], ids=["tl", "tr", "bl", "br"])
def test_the_map_shows_the_corner_that_has_the_animal(unpacked: Path, corner: tuple[int, int]) -> None:
    predictor = Predictor(unpacked)
    size = predictor.release.input.size
    canvas = Image.new("RGB", (size, size), (128, 128, 128))
    cat = ImageOps.fit(Image.open(zoo.CAT).convert("RGB"), (size // 2, size // 2))
    canvas.paste(cat, (corner[0] * size // 2, corner[1] * size // 2))
    (made,) = predictor.load_class_maps().of(np.asarray(canvas)[None], [0])
    quarters = made.values.clip(0).reshape(2, 3, 2, 3).sum(axis=(1, 3))
    assert np.unravel_index(quarters.argmax(), (2, 2)) == (corner[1], corner[0])


def test_a_network_that_is_not_what_it_looks_like_has_no_maps(unpacked: Path) -> None:
    maps = Predictor(unpacked, precision="fp32").load_class_maps()
    maps.head = replace(maps.head, weights=maps.head.weights * 1.1)
    pixels = np.stack([np.asarray(ImageOps.fit(Image.open(zoo.CAT).convert("RGB"), (176, 176)))])
    with pytest.raises(NoMaps, match="do not add up to its logits"):
        maps.of(pixels, [0])


def test_a_runtime_that_reads_no_onnx_leaves_the_maps_to_another(unpacked: Path, tmp_path: Path) -> None:
    chosen = choose(unpacked, "fp32", "mnn")
    assert ClassMaps(unpacked, chosen, 1).precision == "fp32"
    (tmp_path / "model.mnn").symlink_to(unpacked / "model.mnn")
    with pytest.raises(NoMaps, match="MNN does not compute them, and nothing else here can"):
        ClassMaps(tmp_path, chosen, 1)


@pytest.mark.parametrize("file", [FP32_FILE, INT8_FILE])
def test_the_end_of_the_network_is_found_in_its_file(unpacked: Path, file: str) -> None:
    head = find_head(Graph(unpacked / file))
    assert head.tensor.startswith("relu_16")
    assert head.weights.shape == (2, 512)
    assert head.bias.shape == (2,)
    assert not head.channels_last
    limited = file == INT8_FILE
    assert bool(np.isfinite([*head.pooled_limits, *head.logit_limits]).all()) is limited


def graph_of(*nodes: Node, **constants: np.ndarray) -> Graph:
    """A graph of these nodes, without a file."""
    made = Graph.__new__(Graph)
    made.makers = {output: node for node in nodes for output in node.outputs}
    made.constant = constants.__getitem__  # type: ignore[method-assign,assignment]
    return made


def node(op: str, inputs: list[str], output: str, **numbers: int) -> Node:
    return Node(op, inputs, [output], numbers, None)


WEIGHTS, BIAS = np.ones((3, 4), np.float32), np.zeros(3, np.float32)


def test_a_product_and_a_sum_are_a_linear_layer_and_the_channels_may_come_last() -> None:
    graph = graph_of(
        node("ReduceMean", ["maps", "axes"], "mean"),
        node("Flatten", ["mean"], "flat"),
        node("MatMul", ["flat", "w"], "product"),
        node("Add", ["b", "product"], "logits"),
        w=WEIGHTS.T, b=BIAS, axes=np.array([-3, -2]),
    )  # fmt: skip
    head = find_head(graph)
    assert (head.tensor, head.channels_last, head.weights.shape) == ("maps", True, (3, 4))


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Gemm", ["hidden", "w", "b"], "logits", transB=1), node("Relu", ["mean"], "hidden")],
        [node("Gemm", ["image", "w", "b"], "logits", transB=1)],
        [node("Conv", ["mean", "w"], "logits")],
        [],
    ],
    ids=["a layer between", "no pool", "no linear layer", "nothing"],
)
def test_another_end_is_refused_in_a_sentence(nodes: list[Node]) -> None:
    with pytest.raises(NoMaps, match=r"^its network does not end in global average pooling and a linear layer$"):
        find_head(graph_of(*nodes, node("GlobalAveragePool", ["maps"], "mean"), w=WEIGHTS, b=BIAS))


def test_an_explanation_has_the_prediction_and_the_map_of_its_class(ready: CatsDogsHandler, unpacked: Path) -> None:
    body = zoo.CAT.read_bytes()
    prediction = json.loads(ready.handle([{"body": body}], Context(unpacked, [REST]))[0])
    status, answer, kind = explained(ready, unpacked, body, EXPLAIN)
    document = json.loads(answer)
    assert (status, kind) == (200, "application/json")
    assert document["class"] == "cat"
    assert document["prediction"] == prediction
    assert document["picture"] == {"width": 360, "height": 180}
    assert document["area"] == {"left": 0, "top": 0, "width": 360, "height": 180}
    assert np.mean(document["map"]) == pytest.approx(document["logit"] - document["bias"], abs=1e-4)
    _, dog, _ = explained(ready, unpacked, body, {**EXPLAIN, "X-Catsdogs-Class": "dog"})
    assert json.loads(dog)["class"] == "dog"
    assert json.loads(dog)["logit"] < document["logit"]


def test_a_batch_mixes_explanations_with_predictions_and_bad_rows(ready: CatsDogsHandler, unpacked: Path) -> None:
    cat, dog = zoo.CAT.read_bytes(), zoo.DOG.read_bytes()
    rows = [{"body": body} for body in (cat, dog, b"no picture", cat, b"no picture")] + [v1(dog, cat), v1(dog)]
    headers = [REST, EXPLAIN, EXPLAIN, PNG, REST, EXPLAIN, EXPLAIN]
    context = Context(unpacked, headers)
    answers = ready.handle(rows, context)
    assert list(context.status.values()) == [200, 200, 415, 200, 415, 400, 200]
    assert json.loads(answers[0])["label"] == "cat"
    assert json.loads(answers[1])["class"] == json.loads(answers[6])["class"] == "dog"
    assert json.loads(answers[5])["detail"] == "An explanation is of one picture: send one instance."
    assert Image.open(BytesIO(answers[3])).format == "PNG"
    (alone,) = ready.handle([rows[0]], Context(unpacked, [REST]))
    assert json.loads(answers[0])["probability"] == pytest.approx(json.loads(alone)["probability"], abs=2e-3)
    single = json.loads(explained(ready, unpacked, dog, EXPLAIN)[1])
    # Kernels for another batch size round otherwise.
    np.testing.assert_allclose(json.loads(answers[1])["map"], single["map"], atol=0.1)


@pytest.mark.parametrize(
    ("headers", "detail"),
    [
        ({"X-Catsdogs-Class": "horse"}, "class must be one of the model's: cat, dog."),
        ({"X-Catsdogs-Class": "%E2%98%83"}, "class must be one of the model's: cat, dog."),
        ({"X-Catsdogs-Form": "gif"}, "format must be json or png."),
    ],
)
def test_a_wrong_parameter_is_refused_in_a_sentence(
    ready: CatsDogsHandler, unpacked: Path, headers: dict[str, str], detail: str
) -> None:
    status, answer, kind = explained(ready, unpacked, zoo.CAT.read_bytes(), {**EXPLAIN, **headers})
    assert (status, kind) == (400, "application/problem+json")
    assert json.loads(answer)["detail"] == detail


def test_a_model_without_explanations_says_so_and_predicts_as_ever(
    ready: CatsDogsHandler, unpacked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(class_maps, "POOLS", ())
    rows: list[dict[str, object]] = [{"body": zoo.CAT.read_bytes()}, {"body": zoo.CAT.read_bytes()}]
    context = Context(unpacked, [EXPLAIN, REST])
    refused, answered = map(json.loads, ready.handle(rows, context))
    assert list(context.status.values()) == [404, 200]
    assert refused["code"] == "no_explanation"
    assert refused["detail"] == (
        "This model has no explanations: its network does not end in global average pooling and a linear layer."
    )
    assert answered["label"] == "cat"


def test_an_explanation_that_fails_harms_no_neighbour(
    ready: CatsDogsHandler, unpacked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object) -> None:
        raise RuntimeError("no memory for it")

    monkeypatch.setattr(ready.predictor, "load_class_maps", broken)
    rows: list[dict[str, object]] = [{"body": zoo.DOG.read_bytes()}, {"body": zoo.CAT.read_bytes()}]
    context = Context(unpacked, [EXPLAIN, REST])
    failed, answered = map(json.loads, ready.handle(rows, context))
    assert list(context.status.values()) == [500, 200]
    assert failed["code"] == "internal"
    assert answered["label"] == "cat"


def test_predictions_load_and_ask_for_nothing_more(
    ready: CatsDogsHandler, unpacked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network that predicts is the same object before and after an explanation, and the only one that is kept."""
    loaded: list[ClassMaps] = []
    load, network = ready.predictor.load_class_maps, ready.predictor.network

    def counted() -> ClassMaps:
        loaded.append(load())
        return loaded[-1]

    monkeypatch.setattr(ready.predictor, "load_class_maps", counted)
    for headers in (REST, EXPLAIN, REST):
        explained(ready, unpacked, zoo.CAT.read_bytes(), headers)
    assert len(loaded) == 1
    assert ready.predictor.network is network
    assert not any(isinstance(value, ClassMaps) for value in vars(ready.predictor).values())


def test_explanations_are_counted_apart_and_measured_for_nothing(ready: CatsDogsHandler, unpacked: Path) -> None:
    counts = ready.counting.counts
    before = json.loads(json.dumps(counts.document()))
    explained(ready, unpacked, zoo.CAT.read_bytes(), EXPLAIN)
    after = counts.document()
    assert after["predictions"]["explanation"]["cat"] == before["predictions"]["explanation"].get("cat", 0) + 1
    for key in ("bins", "uncertainty"):
        assert after[key] == before[key]
    assert after["predictions"]["user"] == before["predictions"]["user"]


@pytest.mark.parametrize("name", zoo.accepted())
def test_every_kind_of_picture_is_shown_upright(ready: CatsDogsHandler, unpacked: Path, name: str) -> None:
    status, answer, kind = explained(ready, unpacked, zoo.accepted()[name], PNG)
    assert (status, kind) == (200, "image/png")
    picture = Image.open(BytesIO(answer))
    assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (SIDE, SIDE // 2))


def test_the_largest_picture_of_noise_fits_into_an_answer() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))
    assert len(overlay(noise, np.ones((6, 6), np.float32), InputSpec(176))) < 2**20


def test_colours_say_for_and_against_and_what_was_not_seen_is_dark() -> None:
    grey = Image.new("RGB", (400, 200), (100, 100, 100))
    values = np.array([[5, 5, -5, -5]] * 4, np.float32)
    seen = np.asarray(Image.open(BytesIO(overlay(grey, values, InputSpec(176, "crop"))))).astype(int)
    assert seen[100, 10].tolist() == [50, 50, 50]
    assert seen[100, 390].tolist() == [50, 50, 50]
    for column, colour in ((110, FOR), (290, AGAINST)):
        assert seen[100, column] == pytest.approx([100 * 0.35 + 0.65 * part for part in colour], abs=6)


def test_a_map_of_nothing_leaves_the_picture() -> None:
    grey = Image.new("RGB", (40, 20), (100, 100, 100))
    seen = np.asarray(Image.open(BytesIO(overlay(grey, np.zeros((6, 6), np.float32), InputSpec(176)))))
    assert (seen == 100).all()


@pytest.mark.parametrize(
    ("resize", "area"),
    [("squeeze", (0, 0, 300, 200)), ("crop", (50, 0, 200, 200))],
)
def test_the_area_is_what_the_network_sees(resize: str, area: tuple[int, int, int, int]) -> None:
    spec = InputSpec(176, resize)  # type: ignore[arg-type]
    assert area_of(300, 200, spec) == dict(zip(("left", "top", "width", "height"), area, strict=True))


def test_a_picture_of_one_row_is_shown() -> None:
    line = zoo.encode(Image.new("RGB", (3000, 1)), "PNG")
    assert shown(line, 3000, 1).size == (SIDE, 1)


def test_base64_is_explained_too(ready: CatsDogsHandler, unpacked: Path) -> None:
    status, answer, _ = explained(ready, unpacked, base64.b64encode(zoo.DOG.read_bytes()), EXPLAIN)
    assert (status, json.loads(answer)["class"]) == (200, "dog")
