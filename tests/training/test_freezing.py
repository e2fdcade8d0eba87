"""A run that leaves the first blocks of its network as they are."""

from pathlib import Path

import pytest
import torch

from handler.files import UserError
from tests.training.train_support import FEW_CORES, tiny
from training.data.manifest import Manifest
from training.learning.checkpoint import load_checkpoint
from training.learning.freezing import freeze_to
from training.learning.model import build
from training.learning.train import train

pytestmark = pytest.mark.filterwarnings(FEW_CORES)


def test_a_block_and_all_before_it_stay_as_they_are_and_the_rest_learns(few: Manifest, tmp_path: Path) -> None:
    torch.manual_seed(0)
    start = build("resnet18", 2)
    torch.save(start.backbone.state_dict(), tmp_path / "start.pt")
    shape = ("model.arch=resnet18", f"model.weights={tmp_path / 'start.pt'}", "train.epochs=1")
    train(tiny(*shape, "model.freeze_to=layer2"), few, tmp_path / "run")
    before, after = start.state_dict(), load_checkpoint(tmp_path / "run" / "last.pt").ema
    same = {name for name in before if torch.equal(before[name], after[name])}
    counters = {name for name in before if name.endswith("num_batches_tracked")}
    first = tuple(f"backbone.{name}." for name in ("conv1", "bn1", "layer1", "layer2"))
    assert same - counters == {name for name in before if name.startswith(first)} - counters


def test_a_block_inside_another_is_named_by_its_path() -> None:
    backbone = build("resnet18", 2).backbone
    frozen = freeze_to(backbone, "layer3.0")
    assert {backbone.get_submodule(name) for name in ("layer2", "layer3.0")} <= set(frozen)
    trained = [name for name, parameter in backbone.named_parameters() if parameter.requires_grad]
    assert trained[0] == "layer3.1.conv1.weight"


def test_an_unknown_block_is_answered_by_those_that_there_are() -> None:
    with pytest.raises(UserError) as error:
        freeze_to(build("resnet18", 2).backbone, "stage2")
    assert str(error.value) == (
        "The network has no block 'stage2' with weights to freeze; it has conv1, bn1, layer1, layer2, layer3, layer4, "
        "fc."
    )


@pytest.mark.parametrize("last", ["layer4", "fc"])
def test_freezing_all_but_the_last_layer_is_answered_by_the_setting_for_it(last: str) -> None:
    with pytest.raises(UserError, match=r"set model\.freeze_backbone, which is faster\.$"):
        freeze_to(build("resnet18", 2).backbone, last)
