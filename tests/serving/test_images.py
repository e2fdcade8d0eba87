"""Operations on pictures: what they return, what they refuse, and that a hostile picture costs no more than it may."""

import http.client
import io
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from handler.preprocess import InputSpec
from handler.problem import Problem
from serving.images.bounds import CPU_S, MEMORY_MIB
from serving.images.operations import OPERATIONS, apply
from serving.images.parameters import TAKEN, read_parameters
from serving.images.process import ImageProcess
from serving.images.wire import SOCKET
from serving.server.settings import IMAGES_MIB
from tests import zoo
from tests.bombs import BOMBS
from tests.e2e.support import wait_for

CAT = zoo.CAT.read_bytes()
SPEC = InputSpec(160, "crop")
# Each wants more time or memory than others of its format; the others are asked by `make test-slow`.
FEW = ("jpeg of small scans", "webp of tables", "tiff with a large tile")


def carried_out(operation: str, data: bytes = CAT, **parameters: str) -> Any:
    result = apply(operation, data, read_parameters(operation, parameters.items()), SPEC)
    if result.content_type == "image/png":
        return Image.open(io.BytesIO(result.data))
    return json.loads(result.data) if result.content_type == "application/json" else np.load(io.BytesIO(result.data))


def refused(operation: str, data: bytes = CAT, **parameters: str) -> Problem:
    with pytest.raises(Problem) as caught:
        carried_out(operation, data, **parameters)
    return caught.value


@pytest.mark.parametrize(
    ("parameters", "size"),
    [({"width": "50"}, (50, 75)), ({"height": "50"}, (33, 50)), ({"width": "70", "height": "10"}, (70, 10))],
)
def test_resizing_keeps_the_aspect_unless_both_sides_are_given(
    parameters: dict[str, str], size: tuple[int, int]
) -> None:
    picture = zoo.encode(Image.new("RGB", (400, 600)), "JPEG")
    assert carried_out("resize", picture, **parameters).size == size


def test_a_turned_picture_is_resized_and_cropped_upright() -> None:
    upright = Image.fromarray(np.arange(400 * 200 * 3, dtype=np.uint32).astype(np.uint8).reshape(200, 400, 3))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    turned = zoo.encode(upright.transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif)
    assert carried_out("resize", turned, width="100").size == (100, 50)
    cut = carried_out("crop", turned, left="30", top="40", width="50", height="60")
    np.testing.assert_array_equal(np.asarray(cut), np.asarray(upright)[40:100, 30:80])


def test_a_large_jpeg_is_resized_as_by_pillow() -> None:
    large = Image.open(io.BytesIO(CAT)).resize((3000, 2000))
    small = carried_out("resize", zoo.encode(large, "JPEG", quality=95), width="300")
    wanted = large.resize((300, 200), Image.Resampling.BILINEAR)
    difference = np.abs(np.asarray(small, dtype=np.int16) - np.asarray(wanted, dtype=np.int16))
    assert difference.mean() < 2


def test_a_crop_is_the_largest_centred_square_by_default() -> None:
    pixels = np.arange(30 * 50 * 3, dtype=np.uint16).astype(np.uint8).reshape(30, 50, 3)
    square = carried_out("crop", zoo.encode(Image.fromarray(pixels), "PNG"))
    np.testing.assert_array_equal(np.asarray(square), pixels[:, 10:40])


def test_grayscale_is_luma() -> None:
    colours = Image.new("RGB", (3, 1))
    colours.putdata([(255, 0, 0), (0, 255, 0), (0, 0, 255)])
    gray = carried_out("grayscale", zoo.encode(colours, "PNG"))
    assert gray.mode == "L"
    assert np.asarray(gray).tolist() == [[76, 150, 29]]


def test_normalized_numbers_are_the_same_as_json_and_as_npy() -> None:
    array, document = carried_out("normalize", format="npy"), carried_out("normalize")
    assert (array.dtype, array.shape) == (np.float32, (3, 160, 160))
    assert (document["dtype"], document["shape"]) == ("float32", [3, 160, 160])
    np.testing.assert_allclose(np.array(document["data"]), array, rtol=1e-5, atol=1e-7)
    pixels = np.asarray(carried_out("show-input")).transpose(2, 0, 1)
    own = carried_out("normalize", mean="0,0.5,1", std="1,0.5,2", format="npy")
    np.testing.assert_allclose(own[1], (pixels[1] / 255 - 0.5) / 0.5, atol=1e-6)
    np.testing.assert_allclose(own[2], (pixels[2] / 255 - 1) / 2, atol=1e-6)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_result_has_no_metadata_of_its_picture(operation: str) -> None:
    exif = Image.Exif()
    exif[0x010F] = "secret camera"
    picture = zoo.encode(Image.new("RGB", (64, 64)), "JPEG", exif=exif, comment=b"secret place")
    parameters = {"width": "32"} if operation == "resize" else {}
    result = apply(operation, picture, read_parameters(operation, parameters.items()), SPEC)
    assert b"secret" not in result.data


def test_there_are_parameters_for_every_operation() -> None:
    assert list(TAKEN) == list(OPERATIONS)


@pytest.mark.parametrize(
    ("operation", "parameters", "words"),
    [
        ("resize", {}, "needs width or height"),
        ("resize", {"width": "0"}, "width must be a whole number from 1"),
        ("resize", {"width": "-3"}, "width must be a whole number"),
        ("resize", {"width": "\u0663"}, "width must be a whole number"),
        ("resize", {"width": "9" * 5000}, "width must be a whole number"),
        ("resize", {"width": "4097"}, "4097 x"),
        ("resize", {"size": "3"}, "resize takes width and height, and not 'size'"),
        ("crop", {"width": "65535"}, "is not within the picture, which has"),
        ("crop", {"left": "60000"}, "is not within the picture"),
        ("crop", {"depth": "1"}, "crop takes width, height, left and top, and not 'depth'"),
        ("grayscale", {"width": "3"}, "grayscale takes no parameters"),
        ("normalize", {"mean": "1,2"}, "mean must be three numbers"),
        ("normalize", {"mean": "nan,0,0"}, "mean must be three numbers"),
        ("normalize", {"std": "0,1,1"}, "std must be three numbers"),
        ("normalize", {"format": "png"}, "format must be json or npy"),
        ("show-input", {"format": "json"}, "format must be png or npy"),
    ],
)
def test_a_wrong_parameter_is_refused_in_words(operation: str, parameters: dict[str, str], words: str) -> None:
    problem = refused(operation, CAT, **parameters)
    assert (problem.status, problem.code) == (400, "bad_request")
    assert words in problem.detail


def test_a_parameter_that_is_given_twice_is_refused() -> None:
    with pytest.raises(Problem, match="width is given more than once"):
        read_parameters("resize", [("width", "3"), ("width", "4")])


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    ("picture", "status", "code"),
    [
        (b"", 400, "no_image"),
        (b"no picture", 415, "unsupported_image"),
        (CAT[:3000], 422, "corrupt_image"),
        (zoo.bomb(), 413, "too_many_pixels"),
        (bytes(16 * 2**20 + 1), 413, "too_many_bytes"),
    ],
    ids=["empty", "text", "cut", "bomb", "large"],
)
def test_what_a_prediction_refuses_an_operation_refuses(operation: str, picture: bytes, status: int, code: str) -> None:
    parameters = {"width": "32"} if operation == "resize" else {}
    problem = refused(operation, picture, **parameters)
    assert (problem.status, problem.code) == (status, code)


class Worker:
    """The server's process of image operations, asked as the relay asks it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said: list[str] = []
        self.process = ImageProcess(folder, SPEC, self.said.append)
        self.wait()

    def wait(self) -> None:
        wait_for(self.answers, 20, "the process answers")

    def answers(self) -> bool:
        try:
            return self.ask("grayscale", CAT)[0] == 200
        except OSError:
            return False

    def ask(self, operation: str, body: bytes, **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("worker", timeout=60)
        connection.sock = socket.socket(socket.AF_UNIX)
        try:
            connection.sock.connect(str(self.folder / SOCKET))
            connection.request("POST", f"/images/{operation}", body, headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    @property
    def system(self) -> psutil.Process:
        assert self.process.child is not None
        return psutil.Process(self.process.child.pid)


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    made = Worker(tmp_path_factory.mktemp("images"))
    yield made
    made.process.stop()
    assert not (made.folder / SOCKET).exists()


def bomb_goes_off(worker: Worker, name: str) -> None:
    process = worker.system
    Path(f"/proc/{process.pid}/clear_refs").write_text("5")
    before = sum(process.cpu_times()[:2])
    status, body = worker.ask("grayscale", BOMBS[name]())
    cpu_s = sum(process.cpu_times()[:2]) - before
    (most_kib,) = [
        int(line.split()[1])
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines()
        if line.startswith("VmHWM")
    ]
    print(f"{name}: {status}, {cpu_s:.1f} s, {most_kib >> 10} MiB")
    assert status in (200, 413, 415, 422), body
    # What cannot be interrupted at once, one call into a decoder, is small.
    assert cpu_s < CPU_S + 1.5
    assert most_kib >> 10 < MEMORY_MIB
    assert worker.system.pid == process.pid
    assert worker.ask("grayscale", CAT)[0] == 200


@pytest.mark.parametrize("name", FEW)
def test_a_bomb_goes_off_without_harm(worker: Worker, name: str) -> None:
    bomb_goes_off(worker, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(BOMBS) - set(FEW)))
def test_every_bomb_goes_off_without_harm(worker: Worker, name: str) -> None:
    bomb_goes_off(worker, name)


def test_the_containers_memory_is_reckoned_with_what_it_may_take() -> None:
    assert MEMORY_MIB <= IMAGES_MIB


def test_a_result_that_is_too_large_to_pass_on_is_refused(worker: Worker) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (2600, 2600, 3), dtype=np.uint8)
    picture = zoo.encode(Image.fromarray(noise), "JPEG", quality=90)
    status, body = worker.ask("crop", picture)
    assert (status, json.loads(body)["code"]) == (413, "too_many_bytes")
    assert worker.ask("resize?width=500", picture)[0] == 200


def test_it_yields_to_the_workers_and_goes_first_when_memory_is_short(worker: Worker) -> None:
    assert worker.system.nice() >= 10
    assert Path(f"/proc/{worker.system.pid}/oom_score_adj").read_text().strip() == "1000"


def test_one_that_is_killed_is_started_again(worker: Worker) -> None:
    before = worker.process.child
    assert before is not None
    os.kill(before.pid, signal.SIGKILL)
    wait_for(lambda: worker.process.child is not before, 20, "there is another process")
    worker.wait()
    assert worker.said == ["The process of image operations ended by signal 9 (SIGKILL): starting it again."]


def test_half_a_request_holds_it_no_longer_than_it_waits_for_the_relay(worker: Worker) -> None:
    half = socket.socket(socket.AF_UNIX)
    half.connect(str(worker.folder / SOCKET))
    half.sendall(b"POST /images/grayscale HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf")
    started = time.monotonic()
    half.shutdown(socket.SHUT_WR)
    assert worker.ask("grayscale", CAT)[0] == 200
    assert time.monotonic() - started < 8
    half.close()
