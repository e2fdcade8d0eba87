"""The schemas of all bodies, each under a name of its own."""

from collections.abc import Mapping
from typing import Any

from serving.feedback.entry import NEITHER
from serving.gateway.openapi.explanations import explanation_schemas
from serving.gateway.openapi.images import image_schemas
from serving.gateway.openapi.parts import BASE64, BINARY, BOOLEAN, INTEGER, TEXT, array, obj, ref
from serving.gateway.openapi.problems import problem_schemas

FEEDBACK_TOKENS = {**TEXT, "description": "One feedback token per picture, in order, separated by spaces."}
UNSURE = {**BOOLEAN, "description": "Whether the probability is below the release's threshold."}
UNCALIBRATED = {
    "type": "array",
    "items": TEXT,
    "description": "The probability is not calibrated if the picture is one of these, for example blurred: on such "
    "test pictures the expected calibration error is above the release's limit.",
}
UNSURE_TEXT = {**TEXT, "description": "true or false for each picture, in order, with commas."}
UNCALIBRATED_TEXT = {**TEXT, "description": "What uncalibrated_if names in other answers, with commas."}
INSTANCES = {"minItems": 1, "maxItems": 32}


def schemas(
    classes: list[str],
    names: Mapping[str, str],
    feedback: bool = False,
    images: bool = False,
    example: dict[str, Any] | None = None,
    unsure: bool = False,
) -> dict[str, Any]:
    """Return the schemas of all bodies.

    Args:
        example: an answer of the model.
        unsure: whether the model has a threshold for unsure answers.
    """
    made = {
        **_prediction_schemas(classes, names),
        **explanation_schemas(),
        **_v1_schemas(),
        **_v2_schemas(),
        **_health_schemas(),
        **problem_schemas(feedback),
    }
    if example:
        made["Answer"]["examples"] = [example]
    if unsure:
        # Where it is asked for.
        made["Answer"]["properties"] |= {"unsure": UNSURE, "uncalibrated_if": UNCALIBRATED}
        said = {"unsure": UNSURE_TEXT, "uncalibrated_if": UNCALIBRATED_TEXT}
        made["V2Weights"] = obj({"sha256": TEXT, **said}, tuple(said))
    if images:
        made |= image_schemas()
    if feedback:
        made |= _feedback_schemas(classes)
        # Not in answers to probes.
        made["Answer"]["properties"]["feedback"] = ref("FeedbackToken")
        members = made["V2Weights"]["properties"] | {"feedback": FEEDBACK_TOKENS}
        made["V2AnswerParameters"] = obj(members, ("feedback", "unsure", "uncalibrated_if"))
        made["V2Answer"]["properties"]["parameters"] = ref("V2AnswerParameters")
        del made["V2Weights"]
    return made


def _feedback_schemas(classes: list[str]) -> dict[str, Any]:
    given = {"token": ref("FeedbackToken"), "label": ref("GivenLabel")}
    return {
        "FeedbackToken": {**TEXT, "description": "Token to give feedback on this prediction."},
        "GivenLabel": {**TEXT, "enum": list(dict.fromkeys((*classes, NEITHER)))},
        "Feedback": obj(given),
        "FeedbackForm": obj({**given, "picture": BINARY}, ("picture",)),
        "FeedbackTaken": obj({"id": TEXT, "label": ref("GivenLabel"), "picture": BOOLEAN}),
        "FeedbackTerms": obj({"labels": array(TEXT), "pictures": BOOLEAN, "max_age_seconds": INTEGER}),
    }


def _prediction_schemas(classes: list[str], names: Mapping[str, str]) -> dict[str, Any]:
    display_names = {"x-display-names": dict(names)} if names else {}  # what the page calls the classes
    probability = {"type": "number", "minimum": 0, "maximum": 1}
    probabilities = {"type": "object", "propertyNames": {"enum": classes}, "additionalProperties": probability}
    return {
        "Form": obj({"file": BINARY}),
        "Label": {**TEXT, "enum": classes, **display_names},
        "Probabilities": probabilities,
        "Model": obj(
            {"name": TEXT, "version": TEXT, "precision": TEXT, "sha256": TEXT, "run_id": TEXT}, optional=("run_id",)
        ),
        "Answer": obj(
            {
                "label": ref("Label"),
                "probability": probability,
                "probabilities": ref("Probabilities"),
                "model": ref("Model"),
            }
        ),
    }


def _v1_schemas() -> dict[str, Any]:
    picture = {"oneOf": [BASE64, ref("V1Picture")]}
    return {
        "V1Picture": obj({"b64": BASE64}),
        "V1Request": obj({"instances": array(picture, **INSTANCES)}),
        "V1Answer": obj({"predictions": array(ref("Answer"))}),
        "V1Models": obj({"models": array(TEXT)}),
        "ModelReady": obj({"name": TEXT, "ready": BOOLEAN}),
    }


def _v2_schemas() -> dict[str, Any]:
    tensor = {"name": TEXT, "datatype": TEXT, "shape": array(INTEGER)}
    picture = {
        "name": TEXT,
        "datatype": {"const": "BYTES"},
        "shape": array({**INTEGER, "minimum": 1, "maximum": 32}, maxItems=4),
        "data": array({"oneOf": [BASE64, array(BASE64)]}, **INSTANCES),
    }
    values = array({"oneOf": [TEXT, {"type": "number"}]})
    return {
        "V2Input": obj(picture),
        "V2Request": obj(
            {"id": {**TEXT, "maxLength": 256}, "inputs": array(ref("V2Input"), minItems=1, maxItems=1)}, ("id",)
        ),
        "V2Weights": obj({"sha256": TEXT}),
        "V2Classes": obj({"classes": TEXT}),
        "V2Output": obj({**tensor, "data": values, "parameters": ref("V2Classes")}, ("parameters",)),
        "V2Answer": obj(
            {
                "model_name": TEXT,
                "model_version": TEXT,
                "id": TEXT,
                "parameters": ref("V2Weights"),
                "outputs": array(ref("V2Output")),
            },
            ("id",),
        ),
        "V2Tensor": obj(tensor),
        "V2Parameters": obj({"classes": TEXT, "sha256": TEXT}),
        "V2Model": obj(
            {
                "name": TEXT,
                "versions": array(TEXT),
                "platform": TEXT,
                "inputs": array(ref("V2Tensor")),
                "outputs": array(ref("V2Tensor")),
                "parameters": ref("V2Parameters"),
            }
        ),
        "V2Server": obj({"name": TEXT, "version": TEXT, "extensions": array(TEXT)}),
    }


def _health_schemas() -> dict[str, Any]:
    no = {"type": "boolean", "const": False}
    worker = {"id": TEXT, "startTime": {**TEXT, "format": "date-time"}, "status": TEXT, "pid": INTEGER}
    settings = ("batchSize", "maxBatchDelay", "responseTimeout", "startupTimeout", "maxRetryTimeoutInSec")
    return {
        "Document": {"type": "object"},
        "Ready": obj({"ready": BOOLEAN}),
        "WorkersReady": obj({"ready": BOOLEAN, "workers": INTEGER}),
        "NotReady": obj({"ready": no, "name": TEXT, "workers": INTEGER, "reason": TEXT}, ("name", "workers", "reason")),
        "Live": obj({"live": BOOLEAN}),
        "NotLive": obj({"live": no, "reason": TEXT}, ("reason",)),
        "Ping": obj({"status": {**TEXT, "enum": ["Healthy", "Unhealthy"]}}),
        "TorchServeModelName": obj({"modelName": TEXT, "modelUrl": TEXT}),
        "TorchServeModels": obj({"models": array(ref("TorchServeModelName"))}),
        "TorchServeWorker": obj(worker, ("startTime",)),
        "TorchServeModel": obj(
            {
                **dict.fromkeys(("modelName", "modelVersion", "modelUrl", "runtime"), TEXT),
                **dict.fromkeys(("minWorkers", "maxWorkers", *settings), INTEGER),
                "loadedAtStartup": BOOLEAN,
                "workers": array(ref("TorchServeWorker")),
            },
            settings,
        ),
    }
