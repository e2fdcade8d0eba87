"""A server of LitServe: a worker for each core, and one process that parses requests for all of them.

RIVAL_FOLDER=FOLDER RIVAL_RUNTIME=openvino RIVAL_PRECISION=fp32 python -m loadtest.rivals.litserve_app PORT WORKERS

It takes JSON or a form as a request, and nothing else, so pictures come as forms.
"""

import sys
from typing import Any

import litserve  # type: ignore[import-not-found]

from loadtest.rivals.network import from_environment


class CatsDogs(litserve.LitAPI):  # type: ignore[misc]
    def setup(self, device: str) -> None:
        self.network = from_environment()

    # By this type LitServe knows that it shall parse the body; what comes here is the form.
    def decode_request(self, request: litserve.server.Request) -> bytes:
        return bytes(request["image"].file.read())

    def predict(self, data: bytes) -> dict[str, Any]:
        return self.network.predict(data)

    def encode_response(self, answer: dict[str, Any]) -> dict[str, Any]:
        return answer


def main() -> None:
    port, workers = int(sys.argv[1]), int(sys.argv[2])
    api = CatsDogs(api_path="/predictions/catsdogs")
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=workers)
    server.run(host="127.0.0.1", port=port, num_api_servers=1, log_level="warning", generate_client_file=False)


if __name__ == "__main__":
    main()
