"""Explanations: asked for as predictions are, on TorchServe's own path for them. The query says what is wanted."""

from urllib.parse import quote

from aiohttp import web

from handler.explanation import CLASS, FORM, JSON, PNG
from handler.problem import Problem
from serving.gateway.relay import problems
from serving.gateway.relay.body import receive
from serving.gateway.relay.budget import Ticket
from serving.gateway.relay.rest import passed, response_of
from serving.gateway.relay.upstream import Answer, TorchServe

PATH = "/explanations"
# The last two are for the prediction that an explanation has in it; the gateway makes headers of them.
TAKEN = ("class", "format", "top_k", "unsure")
# Of a class's name, encoded: TorchServe takes 8 KiB of headers.
MAX_NAME = 2048

# A worker's batch. An explanation takes ten times as long as a prediction: a queue full of them would let predictions
# wait for seconds, and refuse most.
MAX_AT_ONCE = 4


class Explanations:
    """Explanations, of which few are computed at once, so that predictions find room beside them."""

    def __init__(self) -> None:
        self.asked = 0
        """Those that TorchServe was asked for and has not answered."""

    async def explain(self, request: web.BaseRequest, ticket: Ticket, torchserve: TorchServe) -> web.Response:
        """Answer one request that the gateway admitted: its path is /explanations/MODEL[/VERSION]."""
        wanted = wanted_by(request)
        body = await receive(request, ticket)
        if self.asked >= MAX_AT_ONCE:
            raise problems.too_many_explanations()
        self.asked += 1
        try:
            answer = await torchserve.predict(request.path, body, {**passed(request.headers), **wanted})
        finally:
            self.asked -= 1
        check_explains(answer)
        response = response_of(answer)
        response.headers["Vary"] = "Accept"
        return response


def check_explains(answer: Answer) -> None:
    """Refuse a prediction: the handler of an older archive answers with one, whatever it is asked.

    Raises:
        Problem: 404.
    """
    if answer.status == 200 and answer.content_type != "image/png" and not answer.body.startswith(b'{"class":'):
        detail = "This archive was packed before there were explanations: pack it anew by catsdogs package."
        raise Problem(404, "no_explanation", detail)


def wanted_by(request: web.BaseRequest) -> dict[str, str]:
    """Return the headers by which the handler is told what a request wants.

    Raises:
        Problem: 400, a parameter is unknown or wrong.
    """
    if unknown := sorted(set(request.query) - set(TAKEN)):
        detail = f"There is no parameter {unknown[0][:100]!a}: an explanation takes {', '.join(TAKEN)}."
        raise Problem(400, "bad_request", detail)
    name = quote(request.query.get("class", ""), safe="", errors="replace")
    if len(name) > MAX_NAME:
        raise Problem(400, "bad_request", "class must be one of the model's, and none has so long a name.")
    form = request.query.get("format", "")
    if form not in ("", JSON, PNG):
        raise Problem(400, "bad_request", f"format must be {JSON} or {PNG}.")
    form = form or (PNG if prefers_png(request.headers.get("Accept", "")) else JSON)
    return {FORM: form, **({CLASS: name} if name else {})}


def prefers_png(accept: str) -> bool:
    """Return whether an Accept header wants a picture rather than JSON, which is the usual answer."""
    weights = {"image/png": 0.0, "application/json": 0.0}
    for part in accept.lower().split(",")[:100]:
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        weight = next((weight_of(piece[2:]) for piece in parameters if piece.startswith("q=")), 1.0)
        for name in weights:
            if kind in (name, f"{name.partition('/')[0]}/*", "*/*"):
                weights[name] = max(weights[name], weight)
    return weights["image/png"] > weights["application/json"]


def weight_of(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0
