"""A server of FastAPI, as a good engineer would write it: one thread per process, no queue.

RIVAL_FOLDER=FOLDER RIVAL_RUNTIME=openvino RIVAL_PRECISION=fp32 uvicorn --factory loadtest.rivals.fastapi_app:make
"""

from typing import Any

from fastapi import FastAPI, HTTPException, Request

from handler.problem import Problem
from loadtest.rivals.network import from_environment


def make() -> FastAPI:
    network, app = from_environment(), FastAPI()

    @app.post("/predictions/catsdogs")
    async def predict(request: Request) -> dict[str, Any]:
        """A picture as the body. It computes in the event loop: a thread of its own gains nothing on one core."""
        try:
            return network.predict(await request.body())
        except Problem as problem:
            raise HTTPException(problem.status, problem.detail) from problem

    return app
