"""Whatever is sent, rightly or wrongly, the answer is one that openapi.json describes: hundreds of requests, made by
schemathesis from the document, the same ones each time."""

import json
from typing import Any

import httpx
import schemathesis
from hypothesis import strategies as st
from schemathesis import Case
from schemathesis.openapi import from_dict, media_type

from serving.gateway.openapi.document import document
from serving.gateway.openapi.parts import OCTETS
from serving.server.archive import read_archive
from serving.server.launch import Server
from tests import zoo

CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "unsupported_method",
    "allow_header_conformance",
]
SETTINGS = {
    "seed": 1,
    "generation": {"mode": "all", "max-examples": 20, "deterministic": True, "database": "none"},
    "phases": {"stateful": {"enabled": False}},
    "checks": {
        "enabled": False,
        **{name: {"enabled": True} for name in CHECKS},
        # A deadline of 0 ms has always passed.
        "not_a_server_error": {"enabled": True, "expected-statuses": ["2xx", "4xx", "504"]},
    },
}
# Pictures besides noise, so that not all is refused at its first byte. The bomb is tried elsewhere, once.
PICTURES = [*zoo.accepted().values(), *(body for name, (body, _, _) in zoo.refused().items() if name != "bomb")]

media_type(OCTETS, st.sampled_from(PICTURES) | st.binary(max_size=1000))

# As JSON, in which tuples are lists.
DOCUMENT = json.loads(json.dumps(document(read_archive(zoo.ROOT / "model-store" / "catsdogs.mar").facts())))
api = from_dict(DOCUMENT, config=schemathesis.Config.from_dict(SETTINGS))


def test_it_is_openapi_and_what_the_server_says_of_itself(client: httpx.Client) -> None:
    api.validate()
    assert client.get("/openapi.json").json() == DOCUMENT


@api.parametrize()
def test_every_answer_is_one_that_is_described(server: Server, case: Case[Any]) -> None:
    case.call_and_validate(base_url=server.options.url)
