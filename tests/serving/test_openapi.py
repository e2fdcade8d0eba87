"""The document by itself; that the server does as it says is shown in tests/e2e/test_openapi.py, and that clients can
be made from it in tests/e2e/test_openapi_clients.py."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from handler.kserve import MAX_ID, MAX_INSTANCES, MAX_RANK
from handler.open_image import MAX_BYTES
from serving.gateway.caddy import GATEWAY
from serving.gateway.openapi.document import document, documents
from serving.gateway.openapi.problems import EXPLANATION_PROBLEMS, FEEDBACK_PROBLEMS, IMAGE_PROBLEMS, MAX_MIB, PROBLEMS
from serving.images.operations import OPERATIONS
from serving.server.archive import read_archive
from serving.telemetry.feedback import REFUSALS
from serving.telemetry.images import REFUSALS as IMAGE_REFUSALS
from tests.zoo import ROOT

METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}


@pytest.fixture(scope="module")
def api(archive: Path) -> dict[str, Any]:
    """The API's description, as a client reads it."""
    read: dict[str, Any] = json.loads(json.dumps(document(read_archive(archive).facts())))
    return read


def operations(api: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in api["paths"].items():
        for method, operation in item.items():
            if method in METHODS:
                yield path, method, operation


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from nodes(child)


def test_it_has_what_openapi_demands(api: dict[str, Any]) -> None:
    assert api["openapi"].startswith("3.1.")
    assert {"title", "version"} <= set(api["info"])
    assert set(api) <= {"openapi", "info", "servers", "security", "tags", "paths", "components"}
    assert all(set(item) <= METHODS | {"parameters"} for item in api["paths"].values())
    for path, _, operation in operations(api):
        assert path.startswith("/")
        assert operation["responses"]
        assert all(re.fullmatch(r"[1-5]\d\d", status) for status in operation["responses"])
        if "requestBody" in operation:
            assert operation["requestBody"]["content"]


def of_many(archive: Path, count: int = 37) -> dict[str, Any]:
    """The description of a model of many classes."""
    classes = [f"breed_{number}" for number in range(count)]
    rows = [{"label": classes[3], "probability": 0.6, "probabilities": dict.fromkeys(classes[3:8], 0.1)}] * 4
    return document({**read_archive(archive).facts(), "classes": classes, "golden": {"fp32": rows}})


def test_a_model_of_37_classes_is_described_by_its_own(archive: Path) -> None:
    api = of_many(archive)
    schemas = api["components"]["schemas"]
    assert schemas["Label"]["enum"] == [f"breed_{number}" for number in range(37)]
    assert schemas["Probabilities"]["propertyNames"]["enum"] == schemas["Label"]["enum"]
    assert api["info"]["summary"] == "Tells breed_0, breed_1, breed_2, breed_3, breed_4 and 32 more apart."
    (example,) = schemas["Answer"]["examples"]
    assert example["label"] == "breed_3"
    (top_k,) = [p for p in api["paths"]["/predictions"]["post"]["parameters"] if p["name"] == "top_k"]
    assert "the model's 37 classes" in top_k["description"]
    assert "By default 5." in top_k["description"]


def test_the_example_is_an_answer_of_the_model_and_the_golden_answers_are_its_releases(
    api: dict[str, Any], archive: Path
) -> None:
    (example,) = api["components"]["schemas"]["Answer"]["examples"]
    facts = read_archive(archive).facts()
    assert set(example["probabilities"]) == set(facts["classes"])
    assert example["model"]["sha256"] == api["info"]["x-golden-answers"]["sha256"] == facts["sha256"]
    recorded = api["info"]["x-golden-answers"]["answers"]
    assert set(recorded) == set(facts["golden"])
    assert all(len(rows) == 4 for rows in recorded.values())
    assert recorded["fp32"][0] == {key: example[key] for key in ("label", "probability")}


def test_every_reference_leads_somewhere(api: dict[str, Any]) -> None:
    references = [node["$ref"] for node in nodes(api) if "$ref" in node]
    assert references
    for reference in references:
        target: Any = api
        assert reference.startswith("#/")
        for key in reference[2:].split("/"):
            target = target[key]
        assert target


def test_nothing_in_it_is_for_nobody(api: dict[str, Any]) -> None:
    used = {node["$ref"] for node in nodes(api) if "$ref" in node}
    kinds = ("headers", "responses", "schemas")
    offered = {f"#/components/{kind}/{name}" for kind in kinds for name in api["components"][kind]}
    assert used == offered


def test_every_operation_has_its_own_name(api: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in operations(api)]
    assert len(names) == len(set(names)) == 37


def test_every_operation_is_in_a_group_that_is_described(api: dict[str, Any]) -> None:
    groups = [operation["tags"] for _, _, operation in operations(api)]
    assert {len(tags) for tags in groups} == {1}
    assert {tag for tags in groups for tag in tags} == {tag["name"] for tag in api["tags"]}


def test_every_object_has_a_name_of_its_own_for_generators_to_use(api: dict[str, Any]) -> None:
    """Else they make one of where it stands, or drop the answer that it is part of."""
    named = api["components"]["schemas"].values()
    for node in nodes(api):
        if node.get("type") == "object":
            assert any(node is schema for schema in named), node


def test_every_list_says_what_it_holds(api: dict[str, Any]) -> None:
    lists = [node for node in nodes(api) if node.get("type") == "array"]
    assert lists
    assert all(node["items"] for node in lists)


def test_a_body_is_of_a_type_that_generators_can_send(api: dict[str, Any]) -> None:
    kinds = {
        kind for _, _, operation in operations(api) for kind in operation.get("requestBody", {}).get("content", ())
    }
    assert kinds == {"application/octet-stream", "multipart/form-data", "application/json"}


def test_the_parameters_of_a_path_are_described_and_no_others(api: dict[str, Any]) -> None:
    for path, item in api["paths"].items():
        described = [p["name"] for p in item.get("parameters", []) if p["in"] == "path"]
        assert described == re.findall(r"{(\w+)}", path)
        assert all(p["required"] for p in item.get("parameters", []))


def test_security_names_a_scheme_that_is_there_and_is_not_asked_for_where_all_may_look(api: dict[str, Any]) -> None:
    schemes = set(api["components"]["securitySchemes"])
    assert {name for need in api["security"] for name in need} == schemes
    for _, method, operation in operations(api):
        assert (operation.get("security") == []) is (method == "get")


def test_schemas_are_json_schemas(api: dict[str, Any]) -> None:
    types = {"object", "array", "string", "integer", "number", "boolean", "null"}
    for schema in nodes(api["components"]["schemas"]):
        if isinstance(schema.get("type"), str):
            assert schema["type"] in types
        if isinstance(schema.get("required"), list):
            assert set(schema["required"]) <= set(schema["properties"])
        if "pattern" in schema:
            re.compile(schema["pattern"])


def errors() -> str:
    """Return the reference's table of errors, which is the contract."""
    (table,) = re.findall(
        r"\| what is wrong \| status.*?\n\n", (ROOT / "docs" / "reference" / "rest.md").read_text(), re.DOTALL
    )
    return str(table)


def test_every_status_of_the_references_table_is_in_it(api: dict[str, Any]) -> None:
    table = errors()
    statuses = set(re.findall(r"\b([45]\d\d) `", table))
    assert len(statuses) >= 8
    for _, method, operation in operations(api):
        if method in ("post", "put"):
            assert statuses <= set(operation["responses"])


def test_every_code_of_the_references_table_is_in_it_and_no_other(api: dict[str, Any]) -> None:
    assert set(re.findall(r"\b[45]\d\d `(\w+)`", errors())) == {
        code for _, codes in (*PROBLEMS.values(), *EXPLANATION_PROBLEMS.values()) for code in codes
    }


def test_every_code_that_is_said_somewhere_is_in_it() -> None:
    gateway = (GATEWAY / "Caddyfile").read_text()
    maps = re.findall(r"map {err.status_code} {status} {code} .*?{\n(.*?)\n\t\t}", gateway, re.DOTALL)
    rows = re.findall(r"^\s+\w+ (\d+) (\w+) ", "\n".join(maps), re.MULTILINE)
    pairs = {(int(status), code) for status, code in rows}
    for source in (ROOT / "handler").glob("*.py"):
        pairs |= {(int(status), code) for status, code in re.findall(r'Problem\(\s*(\d+), "(\w+)"', source.read_text())}
    tables = (*PROBLEMS.items(), *EXPLANATION_PROBLEMS.items())
    assert pairs == {(status, code) for status, (_, codes) in tables for code in codes}


def test_its_numbers_are_the_handlers(api: dict[str, Any]) -> None:
    schemas = api["components"]["schemas"]
    assert MAX_MIB * 2**20 == MAX_BYTES
    assert schemas["V1Request"]["properties"]["instances"]["maxItems"] == MAX_INSTANCES
    picture = schemas["V2Input"]["properties"]
    assert picture["data"]["maxItems"] == MAX_INSTANCES
    assert picture["shape"]["maxItems"] == MAX_RANK
    assert schemas["V2Request"]["properties"]["id"]["maxLength"] == MAX_ID


def test_every_problem_is_described_with_its_codes_for_kserve_and_for_the_others(api: dict[str, Any]) -> None:
    responses = api["components"]["responses"]
    explained = {f"Explanation{status}" for status, told in EXPLANATION_PROBLEMS.items() if told != PROBLEMS[status]}
    usual = {f"{kserve}{name}" for kserve in ("", "KServe") for name in (*PROBLEMS, "NotReady")}
    assert set(responses) == usual | explained
    for name in explained:
        text, codes = EXPLANATION_PROBLEMS[int(name.removeprefix("Explanation"))]
        assert responses[name]["description"] == f"{text} Code: {', '.join(f'`{code}`' for code in codes)}."
    for status, (text, codes) in PROBLEMS.items():
        for kserve in ("", "KServe"):
            described = responses[f"{kserve}{status}"]
            assert described["description"] == f"{text} Code: {', '.join(f'`{code}`' for code in codes)}."
            schema = described["content"]["application/problem+json"]["schema"]
            assert schema == {"$ref": f"#/components/schemas/{kserve}Problem"}


def test_problems_on_kserves_paths_and_on_no_others_have_the_member_that_its_clients_read(api: dict[str, Any]) -> None:
    schemas = api["components"]["schemas"]
    assert "error" not in schemas["Problem"]["properties"]
    assert "error" in schemas["KServeProblem"]["required"]
    for path, _, operation in operations(api):
        kserve = path.startswith(("/v1/", "/v2/")) or path == "/v2"
        for status, response in operation["responses"].items():
            if "$ref" in response:
                assert response["$ref"].startswith("#/components/responses/KServe") is kserve, (path, status)


def test_it_is_of_the_model_that_is_served() -> None:
    facts = {"name": "pets", "version": "3.0.0", "classes": ["owl", "newt"], "size": 96, "sha256": "0", "server": "9.9"}
    made = document(facts)
    assert "/predictions/pets" in made["paths"]
    assert not [path for path in made["paths"] if "catsdogs" in path]
    assert made["components"]["schemas"]["Label"]["enum"] == ["owl", "newt"]
    assert (made["info"]["title"], made["info"]["version"]) == ("pets", "9.9")
    assert "version 3.0.0 of the model pets" in made["info"]["description"]


def test_display_names_stand_beside_the_labels_that_they_are_for(archive: Path) -> None:
    facts = {**read_archive(archive).facts(), "names": {"cat": "Felis catus"}}
    label = document(facts)["components"]["schemas"]["Label"]
    assert label == {"type": "string", "enum": ["cat", "dog"], "x-display-names": {"cat": "Felis catus"}}


CHECKS = (
    test_it_has_what_openapi_demands,
    test_every_reference_leads_somewhere,
    test_nothing_in_it_is_for_nobody,
    test_every_operation_is_in_a_group_that_is_described,
    test_every_object_has_a_name_of_its_own_for_generators_to_use,
    test_every_list_says_what_it_holds,
    test_a_body_is_of_a_type_that_generators_can_send,
    test_security_names_a_scheme_that_is_there_and_is_not_asked_for_where_all_may_look,
    test_schemas_are_json_schemas,
)


def test_feedback_is_described_only_where_it_is_taken(archive: Path, api: dict[str, Any]) -> None:
    facts = read_archive(archive).facts()
    made = json.loads(json.dumps(document(facts, feedback=True)))
    assert "feedback" not in json.dumps(api).lower()
    assert set(made["paths"]) == {*api["paths"], "/feedback"}
    for check in CHECKS:
        check(made)


def test_image_operations_are_described_only_where_they_are_on(archive: Path, api: dict[str, Any]) -> None:
    made = json.loads(json.dumps(document(read_archive(archive).facts(), images=True)))
    assert "/images" not in json.dumps(api)
    assert set(made["paths"]) == {*api["paths"], *(f"/images/{operation}" for operation in OPERATIONS)}
    for check in CHECKS:
        check(made)


def test_metrics_are_described_only_where_the_port_of_rest_has_them(archive: Path, api: dict[str, Any]) -> None:
    made = json.loads(json.dumps(document(read_archive(archive).facts(), metrics=True)))
    assert set(made["paths"]) == {*api["paths"], "/metrics"}
    open_to_all = test_security_names_a_scheme_that_is_there_and_is_not_asked_for_where_all_may_look
    for check in CHECKS:
        if check is not open_to_all:
            check(made)
    # Unlike questions, they need a key where keys are asked for.
    assert "security" not in made["paths"]["/metrics"]["get"]


def test_every_set_of_options_has_a_description_of_its_own(archive: Path) -> None:
    made = documents(read_archive(archive).facts())
    assert list(made) == [
        f"openapi{feedback}{images}{metrics}.json"
        for feedback in ("", "-feedback")
        for images in ("", "-images")
        for metrics in ("", "-metrics")
    ]
    for name, described in made.items():
        assert ("/metrics" in described["paths"]) == ("metrics" in name)
        assert ("/feedback" in described["paths"]) == ("feedback" in name)
        assert ("/images/crop" in described["paths"]) == ("images" in name)


def test_refusals_of_image_operations_that_are_counted_are_those_that_are_described() -> None:
    described = {code for _, codes in IMAGE_PROBLEMS.values() for code in codes}
    # An unknown host is refused before its path is known.
    assert set(IMAGE_REFUSALS) == described - {"wrong_host", "deadline"}


def test_the_references_table_of_feedbacks_errors_is_what_the_server_says() -> None:
    (table,) = re.findall(
        r"\| what is wrong with feedback \| status.*?\n\n",
        (ROOT / "docs" / "reference" / "rest.md").read_text(),
        re.DOTALL,
    )
    pairs = {(int(status), code) for status, code in re.findall(r"\b([45]\d\d) `(\w+)`", table)}
    assert pairs == {(status, code) for status, (_, codes) in FEEDBACK_PROBLEMS.items() for code in codes}
    sources = [GATEWAY / "relay" / "feedback.py", *(ROOT / "serving" / "feedback").glob("*.py")]
    said = {
        (int(status), code)
        for source in sources
        for status, code in re.findall(r'Problem\(\s*(\d+), "(\w+)"', source.read_text())
    }
    assert said <= pairs
    assert {code for _, code in pairs} <= {*REFUSALS, "not_found", "wrong_host"}
