"""The bill of materials of an archive (ML-BOM), in CycloneDX: the same release gives the same bytes."""

import importlib.metadata
import json
import re
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from handler.files import UserError

FILE = "bom.cdx.json"
SPEC = "1.6"
NAMESPACE = uuid.UUID("5f2b2f4e-6a6c-5d0e-9f52-2a4b6d3a7c11")
# An SPDX expression: identifiers, joined by AND, OR and WITH, in parentheses where needed.
LICENSE = re.compile(r"[(]*[A-Za-z0-9.+-]+[)]*( (AND|OR|WITH) [(]*[A-Za-z0-9.+-]+[)]*)*")
SHA256 = re.compile(r"[0-9a-f]{64}")

Component = dict[str, Any]


def check_license(value: object) -> str:
    """Return an SPDX expression as it is.

    Raises:
        UserError: it is none.
    """
    if not isinstance(value, str) or not LICENSE.fullmatch(value) or value.count("(") != value.count(")"):
        raise UserError(f"{value!r} is not an SPDX expression for a licence, such as Apache-2.0 or LicenseRef-Ours.")
    return value


def bill_of_materials(release: Mapping[str, Any], packed: Iterable[str]) -> bytes:
    """Return the content of FILE.

    Args:
        release: values of the archive's release.json.
        packed: names of the files of the release that the archive holds.
    """
    code, data = _code(release), _data(release)
    origins = [*_start(release), *_teachers(release)]
    model = _model(release, sorted(packed), [part["bom-ref"] for part in data])
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": SPEC,
        "serialNumber": "",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": "archive",
                "name": f"{release['name']}.mar",
                "version": release["version"],
            }
        },
        "components": [model, *data, *origins, code],
        "dependencies": [
            {"ref": "archive", "dependsOn": ["model", "code"]},
            {"ref": "model", "dependsOn": [part["bom-ref"] for part in (*data, *origins, code)]},
        ],
    }
    # Two bills of the same content have the same number, and no others.
    document["serialNumber"] = uuid.uuid5(NAMESPACE, json.dumps(document, sort_keys=True)).urn
    return json.dumps(document, indent=2).encode() + b"\n"


def _model(release: Mapping[str, Any], packed: list[str], data: list[str]) -> Component:
    architecture = _members(_members(release.get("config")).get("model")).get("arch")
    parameters: Component = {
        "approach": {"type": "supervised"},
        "task": "image-classification",
        "inputs": [{"format": "image"}],
        "outputs": [{"format": "probability of each class"}],
    }
    if isinstance(architecture, str):
        parameters["modelArchitecture"] = architecture
    if data:
        parameters["datasets"] = [{"ref": ref} for ref in data]
    card: Component = {"modelParameters": parameters}
    if metrics := _metrics(_members(release.get("metrics"))):
        card["quantitativeAnalysis"] = {"performanceMetrics": metrics}
    model: Component = {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": release["name"],
        "version": release["version"],
        **_hashes(release["files"]["model.safetensors"]),
        **_licenses(release.get("license")),
        "modelCard": card,
        "components": [
            {"type": "file", "bom-ref": f"file:{name}", "name": name, **_hashes(release["files"][name])}
            for name in packed
        ],
    }
    facts = {
        "run_id": release.get("run_id"),
        "checkpoint_sha256": release.get("checkpoint_sha256"),
        "config_sha256": release.get("config_sha256"),
        "classes": ", ".join(release["classes"]) if len(release["classes"]) <= 10 else len(release["classes"]),
    }
    model["properties"] = _properties(facts)
    return model


def _metrics(metrics: Mapping[str, Any]) -> list[Component]:
    """Return the accuracy of each slice that has one, with its interval."""
    return [
        {
            "type": "accuracy",
            "value": f"{facts['accuracy']:.4f}",
            "slice": name,
            "confidenceInterval": {"lowerBound": f"{facts['low']:.4f}", "upperBound": f"{facts['high']:.4f}"},
        }
        for name, facts in metrics.items()
        if isinstance(facts, dict) and all(isinstance(facts.get(key), float) for key in ("accuracy", "low", "high"))
    ]


def _data(release: Mapping[str, Any]) -> list[Component]:
    """Return the manifests of the pictures, each of which names every picture by its sha256."""
    names = {"manifest_sha256": "pictures of training", "evaluated_manifest_sha256": "pictures of evaluation"}
    return [
        {
            "type": "data",
            "bom-ref": f"data:{key}",
            "name": name,
            **_hashes(release[key]),
            "data": [{"type": "dataset", "name": "manifest.csv"}],
        }
        for key, name in names.items()
        if SHA256.fullmatch(str(release.get(key)))
    ]


def _start(release: Mapping[str, Any]) -> list[Component]:
    start = _members(release.get("start"))
    if not SHA256.fullmatch(str(start.get("sha256"))):
        return []
    version = {"version": start["version"]} if isinstance(start.get("version"), str) else {}
    name = "weights that training started from"
    return [{"type": "machine-learning-model", "bom-ref": "start", "name": name, **version, **_hashes(start["sha256"])}]


def _teachers(release: Mapping[str, Any]) -> list[Component]:
    teacher = _members(release.get("teacher"))
    several = teacher.get("members")
    members = [_members(member) for member in several] if isinstance(several, list) else [teacher]
    return [
        {
            "type": "machine-learning-model",
            "bom-ref": "teacher" if len(members) == 1 else f"teacher:{number}",
            "name": f"teacher {member.get('name', '')}".strip(),
            **_hashes(member["weights_sha256"]),
            "properties": _properties({"source": member.get("source")}),
        }
        for number, member in enumerate(members)
        if SHA256.fullmatch(str(member.get("weights_sha256")))
    ]


def _code(release: Mapping[str, Any]) -> Component:
    """Return the code that trained the model and is packed with it."""
    try:
        package = importlib.metadata.metadata("catsdogs")
        version = package["Version"]
        licence = next(iter(package.get_all("License-Expression") or []), None)
    except importlib.metadata.PackageNotFoundError:
        version, licence = "0", None
    code: Component = {
        "type": "application",
        "bom-ref": "code",
        "name": "catsdogs",
        "version": version,
        **_licenses(licence),
    }
    if isinstance(release.get("git_sha"), str):
        code["pedigree"] = {"commits": [{"uid": release["git_sha"]}]}
    libraries = _members(release.get("versions"))
    code["properties"] = _properties({f"trained_with:{name}": libraries[name] for name in sorted(libraries)})
    return code


def _members(value: object) -> dict[str, Any]:
    """Return a JSON object as it is, and an empty one for anything else: no server reads these members."""
    return value if isinstance(value, dict) else {}


def _hashes(sha256: str) -> Component:
    return {"hashes": [{"alg": "SHA-256", "content": sha256}]}


def _licenses(expression: str | None) -> Component:
    return {"licenses": [{"expression": check_license(expression)}]} if expression else {}


def _properties(values: Mapping[str, object]) -> list[Component]:
    return [{"name": f"catsdogs:{name}", "value": str(value)} for name, value in values.items() if value is not None]
