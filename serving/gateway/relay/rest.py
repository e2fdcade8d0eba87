"""REST: a prediction's body is received in full, then TorchServe is asked, and its answer passed on."""

from aiohttp import web
from multidict import CIMultiDictProxy

from handler.counts import PROBE
from handler.problem import Problem
from serving.gateway.relay.body import receive
from serving.gateway.relay.budget import Ticket
from serving.gateway.relay.upstream import PASSED, PROBLEM, Answer, TorchServe


async def predict(request: web.BaseRequest, ticket: Ticket, torchserve: TorchServe) -> web.Response:
    """Answer one request that the gateway admitted: its path is /predictions/MODEL[/VERSION], without a query."""
    body = await receive(request, ticket)
    return response_of(await torchserve.predict(request.path, body, passed(request.headers)))


def response_of(answer: Answer) -> web.Response:
    """Return an answer of the handler as a response."""
    headers = {"Content-Type": answer.content_type}
    if answer.status == 503:
        headers["Retry-After"] = "1"
    return web.Response(status=answer.status, body=answer.body, headers=headers)


def passed(headers: CIMultiDictProxy[str]) -> dict[str, str]:
    """The headers of a request that TorchServe gets to see."""
    kept = {name: headers[name] for name in PASSED if headers.get(name)}
    if headers.get(PROBE) == "1":
        kept[PROBE] = "1"
    kept["X-Request-Id"] = headers.get("X-Request-Id", "")
    return kept


def problem_response(problem: Problem, request_id: str, kserve: bool) -> web.Response:
    """The relay's own problem document."""
    headers = {"Content-Type": PROBLEM}
    if problem.status == 503:
        headers["Retry-After"] = "1"
    return web.Response(status=problem.status, body=problem.document(request_id, kserve), headers=headers)
