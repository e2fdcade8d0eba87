"""The one class that TorchServe loads. Nothing may escape from `handle`: an exception fails every neighbour."""

import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from handler import memory, tiff
from handler.budget import Exhausted, within
from handler.counting import WorkerCounts
from handler.counts import PROBE, traffic_of
from handler.explaining import explain_rows
from handler.explanation import is_asked_for, read_explanation
from handler.files import UserError, first_line
from handler.heartbeat import Heartbeat
from handler.open_image import MAX_PIXELS, count_pixels
from handler.payload import FEEDBACK, PROTOCOL, STARTED, Request, read_request
from handler.predictor import Predictor
from handler.preprocess import Pixels
from handler.problem import Problem
from handler.records import are_wanted
from handler.runtimes.choice import from_environment
from handler.runtimes.runtime import Logits
from handler.unsure import HEADER as UNSURE
from handler.unsure import NO_THRESHOLD, is_usual, read_unsure
from handler.verified import check_handed_on

logger = logging.getLogger(__name__)

# A batch that takes longer than responseTimeout, 10 s, costs TorchServe the worker and every row its answer. Once it
# has taken this long, only pictures as small as this are begun, of which seven take a second.
BUDGET_S = 2.0
SMALL_PIXELS = 4_000_000
# Small files too can want minutes. A row gets so much CPU time, and then half of what is left of the batch's time, in
# which a slow machine may give it that; but at least what a small picture takes.
ROW_S = 2.0
BATCH_S = 6.0
LEAST_S = 0.1
# Written to the log where a row fails by our fault, and sent to the client, so that one finds the other.
REQUEST_ID = "x-request-id"


class CatsDogsHandler:
    """initialize, preprocess, inference, postprocess, as TorchServe names them."""

    def __init__(self) -> None:
        self.initialized = False
        self.heartbeat = Heartbeat()
        # What the network takes for one picture of a batch, as last measured.
        self.picture_s = 0.0

    def initialize(self, context: Any) -> None:
        """Loads the verified model, checks its answers to known pictures and warms it up."""
        # TorchServe's worker logs two lines a request on standard output; ours go to standard error and are few.
        logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s", stream=sys.stderr, force=True)
        try:
            self._load(context)
        except UserError as error:
            logger.error("the model cannot be loaded: %s", error)
            self.heartbeat.failed(first_line(error))
            # Whatever else escapes, TorchServe logs with a traceback, which would tell the user nothing more.
            sys.exit(1)
        except Exception as error:
            logger.exception("the model cannot be loaded")
            self.heartbeat.failed(first_line(error))
            raise

    def _load(self, context: Any) -> None:
        tiff.silence()
        memory.tune()
        folder = Path(context.system_properties["model_dir"])
        check_handed_on(folder)
        self.batch_size = int(context.system_properties.get("batch_size") or 1)
        gpu = context.system_properties.get("gpu_id")
        runtime, precision = from_environment()
        gpu = None if gpu is None else int(gpu)
        self.predictor = Predictor(folder, runtime, precision, gpu=gpu, inner=are_wanted())
        self.unsure = is_usual()
        if self.unsure and self.predictor.threshold is None:
            raise UserError(NO_THRESHOLD)
        self.predictor.warm_up(self.batch_size)
        memory.trim()  # what loading took: 80 MiB with ONNX Runtime
        self.ceiling = memory.Ceiling(self.batch_size)
        self.counting = WorkerCounts(self.predictor, self.batch_size)
        self.initialized = True
        self.heartbeat.start(self.counting.snapshot)

    def handle(self, rows: Sequence[Mapping[str, object]], context: Any) -> list[bytes]:
        """Answers a batch row by row; a bad row gets its own status and harms no other."""
        with self.heartbeat.busy(len(rows)), self.counting.busy():
            headers = [
                {key.lower(): value for key, value in context.get_all_request_header(index).items()}
                for index in range(len(rows))
            ]
            self.counting.count_waits([sent.get(STARTED) for sent in headers])
            with self.counting.reading():
                requests, pixels, problems = self.preprocess(rows, headers)
            answers = self.inference(requests, pixels, problems)
            return self.postprocess(headers, answers, problems, context)

    def preprocess(
        self, rows: Sequence[Mapping[str, object]], headers: Sequence[Mapping[str, str]]
    ) -> tuple[dict[int, Request], list[Pixels], dict[int, Problem]]:
        """Return the requests by row, the pixels of all their pictures in order, and the problems by row."""
        requests: dict[int, Request] = {}
        pixels: list[Pixels] = []
        problems: dict[int, Problem] = {}
        started = time.monotonic()
        for index, row in enumerate(rows):
            try:
                taken = time.monotonic() - started + len(pixels) * self.picture_s
                cpu_s = min(ROW_S, max(LEAST_S, (BATCH_S - taken) / 2))
                read = partial(self._read, row, headers[index], taken > BUDGET_S)
                with self.ceiling, self.counting.decoding(STARTED in headers[index]):
                    requests[index], decoded = within(cpu_s, read)
                pixels += decoded
            except Problem as problem:
                # Anew: the traceback of the other holds its row's body.
                problems[index] = Problem(problem.status, problem.code, problem.detail)
            except Exhausted:
                problems[index] = _too_costly(cpu_s)
            except MemoryError:
                problems[index] = Problem(
                    413, "too_many_pixels", "The picture takes too much memory: send a smaller one."
                )
                memory.trim()
            except Exception:
                logger.exception("row %d could not be read", index)
                problems[index] = _our_fault()
        return requests, pixels, problems

    def _read(self, row: Mapping[str, object], headers: Mapping[str, str], late: bool) -> tuple[Request, list[Pixels]]:
        request = read_request(row, headers, self.predictor.release)
        request.traffic = traffic_of(headers.get(PROBE))
        request.unsure = read_unsure(headers.get(UNSURE, ""), self.unsure, self.predictor.threshold)
        if is_asked_for(headers):
            request.explain_by(read_explanation(headers, self.predictor.release.classes))
        request.digests = [] if headers.get(FEEDBACK) == "1" else None
        if late:
            _refuse_large(request.pictures)
        return request, self._decoded(request)

    def _decoded(self, request: Request) -> list[Pixels]:
        """Decodes one picture after the other, and lets go of each."""
        pictures = request.pictures
        decoded, left, count = [], MAX_PIXELS, len(pictures)
        for number in range(count):
            picture = pictures.pop(0)
            try:
                if count > 1:  # one request costs no more than the largest picture may
                    left -= count_pixels(picture, left)
                decoded.append(self.predictor.decode(picture))
                request.note(picture)
                request.features.append(self.counting.measured(request.traffic, picture, decoded[-1]))
            except Problem as problem:
                where = f"Instance {number}: " if count > 1 else ""
                raise Problem(problem.status, problem.code, f"{where}{problem.detail}") from problem
        return decoded

    def inference(
        self, requests: dict[int, Request], pixels: Sequence[Pixels], problems: dict[int, Problem]
    ) -> dict[int, Any]:
        """Return the documents that answer the requests, by row."""
        if not pixels:
            return {}
        try:
            started = time.monotonic()
            due = self.counting.due(requests.values())
            inner: dict[int, Logits] = {}
            starts = range(0, len(pixels), self.batch_size)
            probabilities = np.concatenate([self._compute(start, pixels, due, inner) for start in starts])
            self.picture_s = (time.monotonic() - started) / len(pixels)
            rows = iter(probabilities)
            answers = {
                index: request.answer(
                    [self.predictor.answer(next(rows), request.top_k, request.unsure) for _ in range(request.count)]
                )
                for index, request in requests.items()
            }
            self.counting.count_answers(requests.values(), probabilities, due, inner)
        except Exception:
            logger.exception("the model failed on a batch of %d", len(pixels))
            problems.update({index: _our_fault() for index in requests})
            return {}
        problems.update(explain_rows(self.predictor, requests, pixels, answers))
        return answers

    def _compute(self, start: int, pixels: Sequence[Pixels], due: set[int], inner: dict[int, Logits]) -> Logits:
        """Return the probabilities of the batch of pictures that begins at `start`.

        The network is asked for inner features, which are added to `inner`, only if a picture of the batch is due.
        """
        batch = pixels[start : start + self.batch_size]
        with self.counting.network(len(batch)):
            if due.isdisjoint(range(start, start + len(batch))):
                return self.predictor.probabilities(np.stack(batch))
            probabilities, features = self.predictor.probabilities_and_inner(np.stack(batch))
        if features is not None:
            inner.update(enumerate(features, start))
        return probabilities

    def postprocess(
        self,
        headers: Sequence[Mapping[str, str]],
        answers: dict[int, Any],
        problems: dict[int, Problem],
        context: Any,
    ) -> list[bytes]:
        """Ready-made JSON, or a PNG: TorchServe would indent JSON, at three times the cost."""
        bodies = []
        for index, sent in enumerate(headers):
            if "explain" not in sent:
                # Only REST rows carry this header. Without an end-of-stream mark, one gRPC StreamPredictions call
                # would kill the worker; on a REST row the mark would break the answer.
                context.set_response_header(index, "ts_stream_next", "false")
            problem = problems.get(index)
            if problem is None:
                is_png = isinstance(answers[index], bytes)
                context.set_response_content_type(index, "image/png" if is_png else "application/json")
                text = None if is_png else json.dumps(answers[index], separators=(",", ":"))
                bodies.append(answers[index] if text is None else text.encode())
                continue
            request_id = sent.get(REQUEST_ID)
            if problem.code == "internal":
                logger.error("request %r failed: %s", request_id, problem.code)
            context.set_response_status(problem.status, problem.code, index)
            if problem.status == 503:
                context.set_response_header(index, "Retry-After", "1")
            context.set_response_content_type(index, "application/problem+json")
            bodies.append(problem.document(request_id, kserve=sent.get(PROTOCOL) in ("v1", "v2")))
        return bodies


def _refuse_large(pictures: Sequence[bytes]) -> None:
    if len(pictures) > 1 or count_pixels(pictures[0]) > SMALL_PIXELS:
        raise Problem(503, "overloaded", "Too many large pictures came at once: try again in a second.")


def _too_costly(cpu_s: float) -> Problem:
    if cpu_s < ROW_S:
        return Problem(503, "overloaded", "Too many costly pictures came at once: try again in a second.")
    return Problem(413, "too_many_pixels", f"The picture takes more than {ROW_S:.0f} s to decode: send a smaller one.")


def _our_fault() -> Problem:
    return Problem(500, "internal", "The server failed on this picture; its log has the reason under the request id.")
