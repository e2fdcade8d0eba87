"""The one class that TorchServe loads. Nothing may escape from `handle`: an exception fails every neighbour."""

import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from handler.heartbeat import Heartbeat
from handler.payload import Request, read_request
from handler.predictor import Predictor
from handler.preprocess import MAX_PIXELS, Pixels, count_pixels
from handler.problem import Problem

logger = logging.getLogger(__name__)

# Written to the log where a row fails by our fault, and sent to the client, so that one finds the other.
REQUEST_ID = "x-request-id"


class CatsDogsHandler:
    """initialize, preprocess, inference, postprocess, as TorchServe names them."""

    def __init__(self) -> None:
        self.initialized = False
        self.heartbeat = Heartbeat()

    def initialize(self, context: Any) -> None:
        """Loads the verified model, checks its answers to known pictures and warms up every batch size."""
        # TorchServe's worker logs two lines a request on standard output; ours go to standard error and are few.
        logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s", stream=sys.stderr, force=True)
        try:
            self._load(context)
        except Exception:
            logger.exception("the model cannot be loaded")
            raise

    def _load(self, context: Any) -> None:
        folder = Path(context.system_properties["model_dir"])
        self.batch_size = int(context.system_properties.get("batch_size") or 1)
        self.predictor = Predictor(folder)
        self.predictor.warm_up(self.batch_size)
        self.initialized = True
        self.heartbeat.start()

    def handle(self, rows: Sequence[Mapping[str, object]], context: Any) -> list[bytes]:
        """Answers a batch row by row; a bad row gets its own status and harms no other."""
        self.heartbeat.busy_since = time.time()
        try:
            headers = [
                {key.lower(): value for key, value in context.get_all_request_header(index).items()}
                for index in range(len(rows))
            ]
            requests, pixels, problems = self.preprocess(rows, headers)
            answers = self.inference(requests, pixels, problems)
            return self.postprocess(headers, answers, problems, context)
        finally:
            self.heartbeat.busy_since = None

    def preprocess(
        self, rows: Sequence[Mapping[str, object]], headers: Sequence[Mapping[str, str]]
    ) -> tuple[dict[int, Request], list[Pixels], dict[int, Problem]]:
        """Row number -> request, the pixels of all requests' pictures in order, and row number -> problem."""
        requests: dict[int, Request] = {}
        pixels: list[Pixels] = []
        problems: dict[int, Problem] = {}
        for index, row in enumerate(rows):
            try:
                request = read_request(row, headers[index], self.predictor.release)
                pixels += self._decoded(request.pictures)
                requests[index] = request
            except Problem as problem:
                problems[index] = problem
            except Exception:
                logger.exception("row %d could not be read", index)
                problems[index] = _our_fault()
        return requests, pixels, problems

    def _decoded(self, pictures: Sequence[bytes]) -> list[Pixels]:
        decoded, left = [], MAX_PIXELS
        for number, picture in enumerate(pictures):
            try:
                if len(pictures) > 1:  # one request costs no more than the largest picture may
                    left -= count_pixels(picture, left)
                decoded.append(self.predictor.decode(picture))
            except Problem as problem:
                where = f"Instance {number}: " if len(pictures) > 1 else ""
                raise Problem(problem.status, problem.code, f"{where}{problem.detail}") from problem
        return decoded

    def inference(
        self, requests: dict[int, Request], pixels: Sequence[Pixels], problems: dict[int, Problem]
    ) -> dict[int, dict[str, Any]]:
        """Row number -> the document that answers it."""
        if not pixels:
            return {}
        try:
            batches = [pixels[start : start + self.batch_size] for start in range(0, len(pixels), self.batch_size)]
            found = iter(np.concatenate([self.predictor.probabilities(np.stack(batch)) for batch in batches]))
            return {
                index: request.word([self.predictor.answer(next(found), request.top_k) for _ in request.pictures])
                for index, request in requests.items()
            }
        except Exception:
            logger.exception("the model failed on a batch of %d", len(pixels))
            problems.update({index: _our_fault() for index in requests})
            return {}

    def postprocess(
        self,
        headers: Sequence[Mapping[str, str]],
        answers: dict[int, dict[str, Any]],
        problems: dict[int, Problem],
        context: Any,
    ) -> list[bytes]:
        """Ready-made JSON: TorchServe would indent it, at three times the cost."""
        bodies = []
        for index, sent in enumerate(headers):
            if "explain" not in sent:
                # Only REST rows carry this header. Without an end-of-stream mark, one gRPC StreamPredictions call
                # would kill the worker; on a REST row the mark would break the answer.
                context.set_response_header(index, "ts_stream_next", "false")
            problem = problems.get(index)
            if problem is None:
                context.set_response_content_type(index, "application/json")
                bodies.append(json.dumps(answers[index], separators=(",", ":")).encode())
                continue
            request_id = sent.get(REQUEST_ID)
            if problem.code == "internal":
                logger.error("request %s failed: %s", request_id, problem.code)
            context.set_response_status(problem.status, problem.code, index)
            context.set_response_content_type(index, "application/problem+json")
            bodies.append(problem.document(request_id))
        return bodies


def _our_fault() -> Problem:
    return Problem(500, "internal", "The server failed on this picture; its log has the reason under the request id.")
