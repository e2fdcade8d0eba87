"""Memory of a real worker process: bombs in full batches, and requests of odd shapes."""

import base64
import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from handler.memory import MIB, Ceiling, trim, tune
from handler.runtimes.runtime import CPU_BATCH
from tests import zoo
from tests.bombs import BOMBS, ROOM, many
from tests.handler.worker import Worker
from tests.runtimes import INSTALLED

# Of anonymous memory, what a worker takes at the most: with MNN 360 MiB of it is the model, with ONNX Runtime 110.
WORKER_MIB = 768
BATCH = CPU_BATCH
GOOD = zoo.CAT.read_bytes()
V1, V2, FORM = {"x-catsdogs-protocol": "v1"}, {"x-catsdogs-protocol": "v2"}, {"x-catsdogs-boundary": "x"}


@pytest.fixture(scope="module", params=INSTALLED)
def worker(
    unpacked: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Worker]:
    folder = tmp_path_factory.mktemp("worker")
    with Worker(unpacked, folder, BATCH, CATSDOGS_RUNTIME=request.param) as running:
        yield running


def instances(*texts: str) -> bytes:
    return json.dumps({"instances": list(texts)}, ensure_ascii=False).encode()


def tensor(data: bytes) -> bytes:
    return b'{"inputs":[{"name":"image","datatype":"BYTES","shape":[1],"data":' + data + b"}]}"


SHAPES: dict[str, tuple[dict[str, str], bytes]] = {
    "one long text": (V1, instances("A" * ROOM)),
    "one long text of wide characters": (V1, instances("A" * (ROOM - 8) + "\U0001f63a")),
    "base64 of nothing": (V1, instances(base64.b64encode(bytes(3 * ROOM // 4)).decode())),
    "many objects": (V1, b'{"instances":[' + many(b"{},") + b"{}]}"),
    "many texts": (V1, b'{"instances":[' + many(b'"",') + b'""]}'),
    "deep lists": (V1, many(b"[")),
    "deep tensors": (V2, tensor(many(b"["))),
    "one long tensor": (V2, tensor(b'["' + many(b"A") + b'"]')),
    "a long shape": (V2, b'{"inputs":[{"name":"image","shape":[' + many(b"1,") + b"1]}]}"),
    "utf-32": (V1, instances("A" * (ROOM // 4)).decode().encode("utf-32")),
    "json where no protocol is named": ({}, instances("A" * ROOM)),
    "base64 where no protocol is named": ({}, base64.b64encode(bytes(3 * ROOM // 4))),
    "a form of many parts": (FORM, many(b"--x\r\n\r\n\r\n") + b"--x--"),
    "a form of one long part": (FORM, b"--x\r\n\r\n" + many(b"a") + b"\r\n--x--"),
    "a form of line breaks": (FORM, many(b"\r\n")),
    "text": ({}, many(b"hello ")),
    "spaces": ({}, many(b" ")),
    "zeros": ({}, bytes(ROOM)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_a_full_batch_of_bombs_stays_within_what_a_worker_may_take(worker: Worker, name: str) -> None:
    worker.forget_peak()
    answers = worker.ask([BOMBS[name]()] * BATCH)
    assert {status for status, _ in answers} <= {200, 413, 415, 422, 503}
    assert worker.peak() < WORKER_MIB * MIB
    ((status, document),) = worker.ask([GOOD])
    assert (status, document["label"] in ("cat", "dog")) == (200, True)


@pytest.mark.parametrize("name", SHAPES)
def test_a_full_batch_of_odd_requests_stays_within_what_a_worker_may_take(worker: Worker, name: str) -> None:
    headers, body = SHAPES[name]
    worker.forget_peak()
    answers = worker.ask([body] * BATCH, [headers] * BATCH)
    assert {status for status, _ in answers} <= {400, 415}
    assert worker.peak() < WORKER_MIB * MIB
    ((status, _),) = worker.ask([GOOD])
    assert status == 200


def test_a_webp_whose_tables_take_gigabytes_costs_one_answer(worker: Worker) -> None:
    """Nothing in its header says so: the kernel refuses what its decoder asks for."""
    bomb, good = worker.ask([BOMBS["webp of tables"](), GOOD])
    assert bomb[0] == 422
    assert good[0] == 200


SWEEP = """
    import sys
    from handler.memory import MIB, Ceiling
    from handler.preprocess import InputSpec, decode
    from handler.problem import Problem
    from tests.bombs import LARGE
    from tests import zoo
    good = zoo.CAT.read_bytes()
    right = decode(good, InputSpec(128)).tobytes()
    ceiling, data = Ceiling(0), LARGE[sys.argv[1]]()
    refused = 0
    for room in (0, 1, 2, 4, 8, 16, 32, 48, 64, 96, 128, 160, 192, 256):
        ceiling.limit = ceiling._taken() + room * MIB
        ceiling.least = 0
        try:
            with ceiling:
                decode(data, InputSpec(128))
        except (MemoryError, Problem):
            refused += 1
        assert decode(good, InputSpec(128)).tobytes() == right
    assert 0 < refused, refused
    print("survived", refused)
"""


@pytest.mark.parametrize("kind", ["jpeg", "progressive jpeg", "png", "interlaced png", "webp", "gif", "tiff", "bmp"])
def test_every_decoder_survives_that_it_is_given_no_memory_at_any_point(kind: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SWEEP), kind], capture_output=True, cwd=zoo.ROOT, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("survived")


def test_the_limit_is_in_force_inside_the_block_alone() -> None:
    code = """
        from handler.memory import MIB, Ceiling
        ceiling = Ceiling(0)
        def take():
            return len(bytearray(500 * MIB))
        with ceiling:
            try:
                take()
            except MemoryError:
                print("refused")
        print(take())
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, cwd=zoo.ROOT, text=True)
    assert done.stdout.split() == ["refused", str(500 * MIB)]


def test_an_ordinary_picture_has_room_whatever_else_has_grown() -> None:
    code = """
        from handler.memory import LEAST, MIB, ROW, Ceiling
        ceiling = Ceiling(0)
        grown = bytearray(ROW + 100 * MIB)
        with ceiling:
            print(len(bytearray(LEAST - 2 * MIB)))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, cwd=zoo.ROOT, text=True)
    assert done.returncode == 0, done.stderr


def test_tuning_and_trimming_harm_nothing() -> None:
    tune()
    trim()
    with Ceiling(1):
        assert len(bytearray(20 * MIB)) == 20 * MIB
