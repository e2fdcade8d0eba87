"""A server of FastAPI and ONNX Runtime, as a good engineer would write it: one thread per process, no queue.

It decodes by our own `handler.preprocess`, which is faster than torchvision's, so what differs is the server, and the
runtime where ours is MNN.

CATSDOGS_RELEASE=FOLDER uvicorn loadtest.rivals.fastapi_app:app --workers 2
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from fastapi import FastAPI, HTTPException, Request

from handler.preprocess import decode
from handler.problem import Problem
from handler.release import read_release

FOLDER = Path(os.environ["CATSDOGS_RELEASE"])
RELEASE = read_release(FOLDER)

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(FOLDER / "model.onnx", options, providers=["CPUExecutionProvider"])
app = FastAPI()


@app.post("/predictions/catsdogs")
async def predict(request: Request) -> dict[str, Any]:
    """A picture as the body. It computes in the event loop: a thread of its own gains nothing on one core."""
    try:
        pixels = decode(await request.body(), RELEASE.input)
    except Problem as problem:
        raise HTTPException(problem.status, problem.detail) from problem
    logits = session.run(None, {"image": pixels[np.newaxis]})[0][0]
    shares = np.exp(logits - logits.max())
    shares /= shares.sum()
    best = int(shares.argmax())
    return {
        "label": RELEASE.classes[best],
        "probability": float(shares[best]),
        "probabilities": {name: float(share) for name, share in zip(RELEASE.classes, shares, strict=True)},
    }
