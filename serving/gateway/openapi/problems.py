"""The answers to requests that are refused, and their problem documents."""

from collections.abc import Mapping
from typing import Any

from serving.gateway.openapi.parts import INTEGER, PROBLEM, TEXT, header_refs, json_content, obj, ref

MAX_MIB = 16
# What a status means, and the codes of its problem documents.
PROBLEMS = {
    400: (
        "No picture, more than one, JSON that is not KServe's, a parameter that is no number, or half a body.",
        ("no_image", "bad_json", "bad_request", "incomplete"),
    ),
    401: ("No key, or a wrong one, where keys are asked for.", ("unauthorized",)),
    404: ("No such path, model or version.", ("not_found",)),
    405: ("The path does not take this method.", ("method",)),
    413: (f"More than {MAX_MIB} MiB, or more than 50 megapixels.", ("too_many_bytes", "too_many_pixels")),
    415: (
        "Not a picture, or of a format that is not read, or a compressed body.",
        ("unsupported_image", "unsupported_encoding"),
    ),
    421: ("The server does not answer to the host that the request names.", ("wrong_host",)),
    422: ("A picture that is broken or cut off.", ("corrupt_image",)),
    500: ("An error in the server.", ("internal",)),
    503: ("The queue is full, or no worker can answer.", ("overloaded",)),
    504: ("No answer in time.", ("deadline",)),
}
# The same of explanations.
EXPLANATION_PROBLEMS = {
    **PROBLEMS,
    400: (
        "No picture, or more than one, a parameter that is unknown or wrong, a class that the model does not have, or "
        "half a body.",
        PROBLEMS[400][1],
    ),
    404: ("No such path, model or version, or a model that has no explanations.", ("not_found", "no_explanation")),
}
# The same of feedback, where the server takes it.
FEEDBACK_PROBLEMS = {
    400: (
        "No token, no label, an unknown label, or an incomplete body.",
        ("bad_feedback", "unknown_label", "incomplete"),
    ),
    401: PROBLEMS[401],
    403: (
        "A token that the server did not sign, an expired token, or a picture that the server does not accept.",
        ("bad_token", "expired_token", "picture_refused"),
    ),
    404: PROBLEMS[404],
    405: PROBLEMS[405],
    413: ("More than 16 KiB, or more than 16 MiB with a picture.", ("too_many_bytes",)),
    415: ("A compressed body.", ("unsupported_encoding",)),
    421: PROBLEMS[421],
    422: ("A picture that is not the one that was predicted.", ("other_picture",)),
    429: ("Too much feedback at once.", ("too_much_feedback",)),
    500: PROBLEMS[500],
    503: ("Feedback cannot be stored now, or the server is overloaded.", ("feedback_unavailable", "overloaded")),
    507: ("The feedback store is full.", ("feedback_full",)),
}
# The same of image operations, where the server has them.
IMAGE_PROBLEMS = {
    400: ("No picture, a parameter that is wrong, or half a body.", ("no_image", "bad_request", "incomplete")),
    401: PROBLEMS[401],
    404: ("No such operation.", ("not_found",)),
    405: PROBLEMS[405],
    413: (
        f"More than {MAX_MIB} MiB, sent or as the result, or too many pixels.",
        ("too_many_bytes", "too_many_pixels"),
    ),
    415: PROBLEMS[415],
    421: PROBLEMS[421],
    422: PROBLEMS[422],
    500: PROBLEMS[500],
    503: ("As many operations as may be are waiting.", ("overloaded",)),
    504: PROBLEMS[504],
}
# What comes with a status, besides X-Request-Id, which comes with all.
HEADERS = {401: "WWW-Authenticate", 405: "Allow", 429: "Retry-After", 503: "Retry-After", 504: "Retry-After"}


def responses(feedback: bool = False, images: bool = False) -> dict[str, Any]:
    optional = {
        f"{prefix}{status}": _problem(status, "Problem", table)
        for prefix, table, wanted in (("Feedback", FEEDBACK_PROBLEMS, feedback), ("Image", IMAGE_PROBLEMS, images))
        if wanted
        for status in table
    }
    explanation = {
        f"Explanation{status}": _problem(status, "Problem", EXPLANATION_PROBLEMS)
        for status, told in EXPLANATION_PROBLEMS.items()
        if told != PROBLEMS[status]
    }
    return (
        optional
        | explanation
        | {
            f"{prefix}{name}": response
            for prefix in ("", "KServe")
            for name, response in (
                *((str(status), _problem(status, f"{prefix}Problem")) for status in PROBLEMS),
                ("NotReady", _not_ready(f"{prefix}Problem")),
            )
        }
    )


def _problem(status: int, schema: str, table: Mapping[int, tuple[str, tuple[str, ...]]] = PROBLEMS) -> dict[str, Any]:
    text, codes = table[status]
    named = ", ".join(f"`{code}`" for code in codes)
    headers = ["X-Request-Id", *([HEADERS[status]] if status in HEADERS else [])]
    return {
        "description": f"{text} Code: {named}.",
        "headers": header_refs(*headers),
        "content": {PROBLEM: {"schema": ref(schema)}},
    }


def _not_ready(schema: str) -> dict[str, Any]:
    """Return the answer 503 of a health endpoint: in its protocol's own form, or as a problem.

    The gateway sends a problem where it stops or gets no answer. Some generators read only the first of two content
    types, so the problem is named there too.
    """
    problem = _problem(503, schema)
    no = {"anyOf": [ref("NotReady"), ref("NotLive"), ref(schema)]}
    return {**problem, "description": "No.", "content": {**json_content(no), **problem["content"]}}


def problem_refs(kserve: bool, *statuses: int) -> dict[str, Any]:
    return {str(status): {"$ref": f"#/components/responses/{'KServe' * kserve}{status}"} for status in statuses}


def explanation_refs() -> dict[str, Any]:
    return problem_refs(False, *PROBLEMS) | {
        str(status): {"$ref": f"#/components/responses/Explanation{status}"}
        for status, told in EXPLANATION_PROBLEMS.items()
        if told != PROBLEMS[status]
    }


def feedback_refs() -> dict[str, Any]:
    return {str(status): {"$ref": f"#/components/responses/Feedback{status}"} for status in FEEDBACK_PROBLEMS}


def image_refs() -> dict[str, Any]:
    return {str(status): {"$ref": f"#/components/responses/Image{status}"} for status in IMAGE_PROBLEMS}


def problem_schemas(feedback: bool = False) -> dict[str, Any]:
    tables = [PROBLEMS, EXPLANATION_PROBLEMS, *([FEEDBACK_PROBLEMS] if feedback else [])]
    codes = list(dict.fromkeys(code for table in tables for _, named in table.values() for code in named))
    members = {
        "type": TEXT,
        "title": TEXT,
        "status": INTEGER,
        "code": ref("Code"),
        "detail": {**TEXT, "description": "A sentence for people that says what to do."},
        "request_id": {**TEXT, "description": "As in the header X-Request-Id."},
    }
    error = {**TEXT, "description": "The same as `detail`, for KServe's clients."}
    return {
        "Code": {**TEXT, "description": "A stable name for programs.", "enum": codes},
        "Problem": obj(members, ("request_id",)),
        "KServeProblem": obj({**members, "error": error}, ("request_id",)),
    }
