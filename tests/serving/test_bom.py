"""The bill of materials in an archive: what it says, by the official schema, and with the same bytes each time."""

import copy
import json
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

from handler.files import UserError
from tests.signing import PYTHON
from tests.zoo import ROOT
from training.release.bom import FILE, bill_of_materials, check_license
from training.release.package import package

Release = dict[str, Any]
VALIDATE = """
import json, sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
validator = JsonStrictValidator(SchemaVersion.V1_6)
for text in json.loads(sys.stdin.read()):
    error = validator.validate_str(text)
    print(json.dumps(error and str(error.data.message)))
"""
PACKED = ["model.mnn", "model.int8.onnx", "reference.csv"]


def complaints(*bills: bytes) -> list[str | None]:
    """Return the first error of the official schema in each, or None."""
    texts = json.dumps([bill.decode() for bill in bills])
    done = subprocess.run([PYTHON, "-c", VALIDATE], input=texts, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def release(archive: Path) -> Release:
    with zipfile.ZipFile(archive) as packed:
        values: Release = json.loads(packed.read("release.json"))
    return values


@pytest.fixture(scope="module")
def bill(archive: Path) -> Any:
    with zipfile.ZipFile(archive) as packed:
        return json.loads(packed.read(FILE))


def part(bill: Any, ref: str) -> Any:
    (found,) = [component for component in bill["components"] if component["bom-ref"] == ref]
    return found


def test_the_schema_takes_that_of_any_release_and_finds_what_is_wrong(release: Release, archive: Path) -> None:
    with zipfile.ZipFile(archive) as packed:
        own = packed.read(FILE)
    full = {
        **release,
        "run_id": "0123",
        "license": "(Apache-2.0 OR MIT) AND CC-BY-4.0",
        "evaluated_manifest_sha256": "ab" * 32,
        "start": {"sha256": "cd" * 32, "version": "0.1.0"},
    }
    needed = ("name", "version", "classes", "files", "config", "input")
    least = {name: release[name] for name in needed}
    odd = {**least, "config": 7, "start": [1], "teacher": "x", "metrics": [2], "versions": "y", "git_sha": 5}
    wrong = own.replace(b'"alg": "SHA-256"', b'"alg": "SHA-255"')
    bills = [bill_of_materials(full, PACKED), bill_of_materials(least, []), bill_of_materials(odd, [])]
    *right, last = complaints(own, *bills, wrong)
    assert right == [None] * 4
    assert last is not None


def test_it_names_weights_data_code_and_licences(bill: Any, release: Release) -> None:
    model = part(bill, "model")
    assert model["hashes"] == [{"alg": "SHA-256", "content": release["files"]["model.safetensors"]}]
    assert model["licenses"] == [{"expression": "Apache-2.0"}]
    for key in ("manifest_sha256", "evaluated_manifest_sha256"):
        assert part(bill, f"data:{key}")["hashes"][0]["content"] == release[key]
    assert part(bill, "start")["hashes"][0]["content"] == release["start"]["sha256"]
    assert part(bill, "teacher")["hashes"][0]["content"] == release["teacher"]["weights_sha256"]
    code = part(bill, "code")
    assert code["pedigree"]["commits"] == [{"uid": release["git_sha"]}]
    assert code["licenses"] == [{"expression": "Apache-2.0"}]
    depends = {entry["ref"]: entry["dependsOn"] for entry in bill["dependencies"]}
    assert depends["archive"] == ["model", "code"]
    assert set(depends["model"]) == {
        "data:manifest_sha256",
        "data:evaluated_manifest_sha256",
        "start",
        "teacher",
        "code",
    }


def test_each_of_several_teachers_is_a_part(release: Release) -> None:
    members = [{"name": f"timm:{letter}", "source": f"{letter} 1.0", "weights_sha256": letter * 64} for letter in "ab"]
    bill = json.loads(bill_of_materials({**release, "teacher": {"members": members, "size": 260}}, []))
    for number, letter in enumerate("ab"):
        assert part(bill, f"teacher:{number}")["hashes"][0]["content"] == letter * 64
        assert part(bill, f"teacher:{number}")["name"] == f"teacher timm:{letter}"
    broken = json.loads(bill_of_materials({**release, "teacher": {"members": [3, {"weights_sha256": "x"}]}}, []))
    assert not [each for each in broken["components"] if each["bom-ref"].startswith("teacher")]


def test_its_files_are_those_of_the_archive(bill: Any, archive: Path, release: Release) -> None:
    with zipfile.ZipFile(archive) as packed:
        names = {name for name in packed.namelist() if name in release["files"]}
    files = {item["name"]: item["hashes"][0]["content"] for item in part(bill, "model")["components"]}
    assert files == {name: release["files"][name] for name in names}
    assert "model.int8.onnx" in files


def test_its_model_card_has_the_accuracy_with_its_interval(bill: Any, release: Release) -> None:
    card = part(bill, "model")["modelCard"]
    assert card["modelParameters"]["modelArchitecture"] == "resnet18"
    measured = {entry["slice"]: entry for entry in card["quantitativeAnalysis"]["performanceMetrics"]}
    facts = release["metrics"]["petimages"]
    assert measured["petimages"]["value"] == f"{facts['accuracy']:.4f}"
    assert measured["petimages"]["confidenceInterval"]["lowerBound"] == f"{facts['low']:.4f}"


def test_the_run_is_named_where_the_release_names_it(release: Release) -> None:
    for changes, wanted in (({"run_id": "8f3a"}, ["8f3a"]), ({}, [])):
        bill = json.loads(bill_of_materials({**release, **changes}, PACKED))
        properties = part(bill, "model")["properties"]
        assert [item["value"] for item in properties if item["name"] == "catsdogs:run_id"] == wanted


def test_its_number_is_that_of_its_content(release: Release) -> None:
    first = bill_of_materials(release, PACKED)
    assert bill_of_materials(copy.deepcopy(release), reversed(PACKED)) == first
    other = bill_of_materials({**release, "version": "9.9.9"}, PACKED)
    assert json.loads(other)["serialNumber"] != json.loads(first)["serialNumber"]
    assert json.loads(first)["serialNumber"].startswith("urn:uuid:")


@pytest.mark.parametrize("text", ["Apache-2.0", "LicenseRef-Ours", "GPL-2.0-only WITH Classpath-exception-2.0"])
def test_an_spdx_expression_is_a_licence(text: str) -> None:
    assert check_license(text) == text


@pytest.mark.parametrize("text", ["", "our own", "MIT OR", "(MIT", "MIT\n", "<b>", 7, ["MIT"]])
def test_what_is_none_is_refused(text: object) -> None:
    with pytest.raises(UserError, match="is not an SPDX expression for a licence"):
        check_license(text)


def test_a_release_with_a_licence_that_is_none_is_not_packed(tmp_path: Path) -> None:
    source, release = ROOT / "model-store" / "catsdogs", tmp_path / "release"
    release.mkdir()
    for path in source.iterdir():
        (release / path.name).symlink_to(path)
    values = json.loads((source / "release.json").read_bytes())
    (release / "release.json").unlink()
    (release / "release.json").write_text(json.dumps({**values, "license": "do what you like!"}))
    with pytest.raises(UserError, match="is not an SPDX expression"):
        package(release, tmp_path / "x.mar")
    assert not (tmp_path / "x.mar").exists()
