"""The conditions in which a release's probability is not calibrated, read from release.json."""

from typing import Any

import pytest

from handler.calibration import parse_uncalibrated, uncalibrated_in


def measured(**conditions: float) -> dict[str, Any]:
    return {"trusted_ece": 0.03, "precisions": {"fp32": {"photos": {k: {"ece": v} for k, v in conditions.items()}}}}


def test_a_condition_above_the_limit_in_one_source_is_named() -> None:
    value = measured(dark=0.02, blurred=0.05, small=0.03)
    value["precisions"]["fp32"]["drawings"] = {"dark": {"ece": 0.031}, "blurred": {"ece": 0.01}}
    assert parse_uncalibrated(value) == {"fp32": ("blurred", "dark")}


def test_a_release_that_was_not_measured_names_none() -> None:
    assert parse_uncalibrated(None) == {}
    assert uncalibrated_in({}, "int8") == ()


def test_a_precision_that_was_not_measured_has_the_conditions_of_the_reference() -> None:
    conditions = {"fp32": ("blurred",), "int8": ("small",)}
    assert uncalibrated_in(conditions, "int8") == ("small",)
    assert uncalibrated_in(conditions, "fp16") == ("blurred",)


@pytest.mark.parametrize(
    "value",
    [
        [], {}, {"trusted_ece": "0.03", "precisions": {}}, {"trusted_ece": True, "precisions": {}},
        {"trusted_ece": 0.03}, {"trusted_ece": 0.03, "precisions": {"int4": {}}},
        {"trusted_ece": 0.03, "precisions": {"fp32": []}},
        {"trusted_ece": 0.03, "precisions": {"fp32": {"photos": []}}},
        {"trusted_ece": 0.03, "precisions": {"fp32": {"photos": {"dark": {}}}}},
        measured(dark=1.5), measured(dark=float("nan")), measured(**{"a\nb": 0.1}),
    ],
)  # fmt: skip
def test_a_malformed_key_is_refused_by_one_sentence(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^robustness\..* must "):
        parse_uncalibrated(value)
