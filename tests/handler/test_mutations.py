"""Some hundred broken pictures, in batches with a good one each; ten thousand go through the server in tests/e2e."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from handler.catsdogs_handler import CatsDogsHandler
from tests import zoo
from tests.handler.test_catsdogs_handler import REST, Context
from tests.mutations import mutants, pictures


def ask(ready: CatsDogsHandler, folder: Path, bodies: list[bytes]) -> list[tuple[int, dict[str, Any]]]:
    context = Context(folder, [REST] * len(bodies))
    answers = ready.handle([{"body": bytearray(body)} for body in bodies], context)
    return list(zip(context.status.values(), map(json.loads, answers), strict=True))


def test_what_is_mutated_was_answered_before(ready: CatsDogsHandler, unpacked: Path) -> None:
    assert {status for status, _ in ask(ready, unpacked, pictures())} == {200}


def test_mutants_are_the_same_each_time() -> None:
    first = list(mutants(1, 50))
    time.sleep(1.1)  # the clock's second has no part in them
    assert first == list(mutants(1, 50))


def test_a_mutated_picture_gets_an_answer_or_a_problem_and_its_neighbour_the_right_answer(
    ready: CatsDogsHandler, unpacked: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    good = zoo.CAT.read_bytes()
    ((_, reference),) = ask(ready, unpacked, [good])
    statuses, bodies = set(), list(mutants(1, 420))
    for start in range(0, len(bodies), 7):
        spent = time.process_time()
        answers = ask(ready, unpacked, [*bodies[start : start + 7], good])
        assert time.process_time() - spent < 2, f"the batch from {start} on"
        for number, (status, answer) in enumerate(answers[:-1], start):
            assert status in (200, 413, 415, 422), f"mutant {number}: {answer}"
            assert answer.get("status", 200) == status
            assert ("label" in answer) is (status == 200)
            statuses.add(status)
        status, answer = answers[-1]
        assert (status, answer["label"]) == (200, reference["label"])
        # Kernels for another batch size round otherwise.
        assert answer["probability"] == pytest.approx(reference["probability"], abs=2e-3)
    assert statuses == {200, 413, 415, 422}
    assert "".join(capfd.readouterr()) == "", "a client writes into our log"
