"""Measuring of pictures by the shipped release, with the components of the network's inner features."""

from collections.abc import Iterable

from handler.components import FILE, read_components
from handler.preprocess import InputSpec
from tests.monitoring.replay import RELEASE, shipped
from training.release.inner_features import InnerFeatures
from training.release.reference import Measured, measure_pictures

CLASSES = ["cat", "dog"]
SPEC = InputSpec(176)


def measured(pictures: Iterable[bytes]) -> list[Measured]:
    tensor = shipped().tensor
    assert tensor is not None
    network = InnerFeatures(RELEASE / "model.onnx", tensor)
    pictures_measured = measure_pictures(pictures, SPEC, network.logits, CLASSES)
    components = read_components(RELEASE / FILE).project(network.collected())
    for picture, values in zip(pictures_measured, components, strict=True):
        picture.features.update(values)
    return pictures_measured
