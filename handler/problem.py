"""Problems with one request, in the form in which the client is told (RFC 9457)."""

import json


class Problem(Exception):
    """One request that cannot be answered; its neighbours in the batch are not concerned.

    Args:
        status: HTTP status code.
        code: stable name for programs, as in the README's table of errors.
        detail: a sentence for people that says what to do.
    """

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail

    def document(self, request_id: str | None = None, kserve: bool = False) -> bytes:
        """The body of the answer, `application/problem+json`.

        Args:
            kserve: add the member `error`, without which KServe's and Triton's clients cannot read it.
        """
        body: dict[str, str | int] = {
            "type": "about:blank",
            "title": self.code.replace("_", " "),
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
        }
        if request_id:
            body["request_id"] = request_id
        if kserve:
            body["error"] = self.detail
        return json.dumps(body, separators=(",", ":")).encode()
