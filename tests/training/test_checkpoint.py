import errno
import pickle
import resource
import signal
from pathlib import Path

import pytest
import torch

from handler.files import UserError
from tests.training.train_support import Escape, equal, tiny
from training.learning import checkpoint as checkpoints
from training.learning.checkpoint import Checkpoint
from training.learning.model import build


@pytest.fixture
def checkpoint() -> Checkpoint:
    return Checkpoint(
        model={"a": torch.arange(6.0).view(2, 3)},
        ema={"a": torch.ones(2, 3), "count": torch.tensor(7)},
        optimizer={"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]},
        epoch=3,
        config=tiny().model_dump(mode="json"),
        classes=["cat", "dog"],
        manifest_sha256="0" * 64,
        git_sha="1" * 40,
        versions={"torch": "2"},
        scaler={"scale": 2.0},
        teacher={"name": "timm:some", "views": 3},
    )


def test_a_checkpoint_comes_back_whole(tmp_path: Path, checkpoint: Checkpoint) -> None:
    checkpoints.save_checkpoint(checkpoint, tmp_path / "last.pt")
    loaded = checkpoints.load_checkpoint(tmp_path / "last.pt")
    assert equal(loaded.model, checkpoint.model)
    assert equal(loaded.ema, checkpoint.ema)
    momentum = loaded.optimizer["state"][0]["momentum_buffer"]
    assert torch.equal(momentum, checkpoint.optimizer["state"][0]["momentum_buffer"])
    assert loaded.optimizer["param_groups"] == checkpoint.optimizer["param_groups"]
    for field in ("epoch", "config", "classes", "manifest_sha256", "git_sha", "versions", "scaler", "teacher"):
        assert getattr(loaded, field) == getattr(checkpoint, field)


def test_a_checkpoint_needs_no_code_of_ours_to_load(tmp_path: Path, checkpoint: Checkpoint) -> None:
    checkpoints.save_checkpoint(checkpoint, tmp_path / "last.pt")
    assert torch.load(tmp_path / "last.pt", weights_only=True)["epoch"] == 3


def test_saving_replaces_the_old_checkpoint_and_leaves_nothing_beside(tmp_path: Path, checkpoint: Checkpoint) -> None:
    path = tmp_path / "last.pt"
    checkpoints.save_checkpoint(checkpoint, path)
    checkpoint.epoch = 4
    checkpoints.save_checkpoint(checkpoint, path)
    assert checkpoints.load_checkpoint(path).epoch == 4
    assert [entry.name for entry in tmp_path.iterdir()] == ["last.pt"]


def test_a_missing_checkpoint_is_answered_by_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no checkpoint .*best\.pt\. Make one by: catsdogs train"):
        checkpoints.load_checkpoint(tmp_path / "best.pt")


@pytest.mark.parametrize("content", [b"", b"garbage", pickle.dumps([1, 2, 3])])
def test_a_file_of_garbage_is_no_checkpoint(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "best.pt").write_bytes(content)
    with pytest.raises(UserError, match=r"best\.pt is not a checkpoint of catsdogs") as error:
        checkpoints.load_checkpoint(tmp_path / "best.pt")
    assert len(str(error.value).splitlines()) == 1


def test_a_cut_off_checkpoint_is_refused(tmp_path: Path, checkpoint: Checkpoint) -> None:
    path = tmp_path / "best.pt"
    checkpoints.save_checkpoint(checkpoint, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match="is not a checkpoint of catsdogs"):
        checkpoints.load_checkpoint(path)


def test_a_state_dict_is_no_checkpoint(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(3)}, tmp_path / "best.pt")
    with pytest.raises(UserError, match="is not a checkpoint of catsdogs"):
        checkpoints.load_checkpoint(tmp_path / "best.pt")


def test_no_code_of_a_checkpoint_is_run(tmp_path: Path) -> None:
    torch.save({"model": Escape(tmp_path / "escaped")}, tmp_path / "best.pt")
    with pytest.raises(UserError, match="is not a checkpoint of catsdogs"):
        checkpoints.load_checkpoint(tmp_path / "best.pt")
    assert not (tmp_path / "escaped").exists()


def test_a_full_disk_leaves_the_old_checkpoint_whole_and_nothing_beside_it(
    tmp_path: Path, checkpoint: Checkpoint
) -> None:
    path = tmp_path / "last.pt"
    checkpoints.save_checkpoint(checkpoint, path)
    before = path.read_bytes()
    checkpoint.epoch = 4
    # RLIMIT_FSIZE stands in for the full disk: the kernel takes so many bytes of a file and no more.
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handled = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises((OSError, UserError)) as error:
            checkpoints.save_checkpoint(checkpoint, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handled)
    assert isinstance(error.value, UserError) or (isinstance(error.value, OSError) and error.value.errno == errno.EFBIG)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["last.pt"]


@pytest.fixture
def trained() -> Checkpoint:
    """Return the checkpoint of a baseline whose averaged weights are not the trained ones."""
    values = tiny().model_dump(mode="json")
    torch.manual_seed(0)
    model, averaged = (build("baseline", 3).state_dict() for _ in range(2))
    return Checkpoint(model, averaged, {}, 1, values, ["cat", "dog", "fox"], "", "", {})


def test_a_trained_network_answers_by_its_averaged_weights(trained: Checkpoint) -> None:
    network = checkpoints.load_trained(trained)
    assert not network.training
    assert equal(network.state_dict(), trained.ema)
    assert not equal(trained.model, trained.ema)


@pytest.mark.parametrize("change", ["arch", "classes"])
def test_weights_of_another_network_than_the_config_names_are_refused(trained: Checkpoint, change: str) -> None:
    if change == "arch":
        trained.config["model"]["arch"] = "mobilenet_v2"
    else:
        trained.classes.append("gnu")
    arch = trained.config["model"]["arch"]
    with pytest.raises(UserError, match=rf"^The checkpoint's weights are not those of a {arch}\.$"):
        checkpoints.load_trained(trained)
