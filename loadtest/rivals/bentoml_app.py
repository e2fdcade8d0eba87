"""A service of BentoML: a process for each core, pictures as forms.

RIVAL_FOLDER=FOLDER RIVAL_RUNTIME=openvino RIVAL_PRECISION=fp32 bentoml serve loadtest.rivals.bentoml_app:CatsDogs
"""

import os
from pathlib import Path
from typing import Any

import bentoml  # type: ignore[import-not-found]

from loadtest.rivals.network import from_environment


@bentoml.service(workers=int(os.environ.get("RIVAL_WORKERS", "2")))
class CatsDogs:
    def __init__(self) -> None:
        self.network = from_environment()

    @bentoml.api(route="/predictions/catsdogs")  # type: ignore[untyped-decorator]
    def predict(self, image: Path) -> dict[str, Any]:
        return self.network.predict(image.read_bytes())
