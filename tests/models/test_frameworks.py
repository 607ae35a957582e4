"""What frameworks save around a network, moving averages beside its weights, and files that claim too much."""

import os
import zipfile
from collections import OrderedDict

import pytest
import torch
from torch.optim.swa_utils import AveragedModel

from normkd_explore.models import CheckpointError, create_model, load_checkpoint, read_state_dict
from tests.helpers.image_files import within


def network(seed=11):
    torch.manual_seed(seed)
    return create_model("resnet8", 7)


def prefixed(state, prefix):
    return OrderedDict((prefix + key, value) for key, value in state.items())


def assert_same(state, expected):
    assert list(state) == list(expected)
    assert all(torch.equal(state[key], expected[key]) for key in expected)


def lightning(model, **beside):
    return {
        "epoch": 3,
        "global_step": 100,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": {**prefixed(model.state_dict(), "model."), **beside},
        "loops": {"fit_loop": {"state_dict": {}}},
        "callbacks": {"ModelCheckpoint{'monitor': None}": {"best_model_path": "x", "best_model_score": torch.ones(())}},
        "optimizer_states": [{"state": {}, "param_groups": [{"lr": 0.1}]}],
        "hyper_parameters": {"lr": 0.1},
    }


FRAMEWORKS = {
    "AveragedModel": lambda model: AveragedModel(model).state_dict(),
    "AveragedModel of DataParallel": lambda model: AveragedModel(torch.nn.DataParallel(model)).state_dict(),
    "AveragedModel in a dict": lambda model: {"model": AveragedModel(model).state_dict(), "epoch": 3},
    "Lightning": lightning,
    "Lightning with class weights": lambda model: lightning(model, **{"criterion.weight": torch.ones(7)}),
    "Lightning with a loss and metrics": lambda model: lightning(
        model,
        **{"loss_fn.weight": torch.ones(7), "train_acc.tp": torch.ones(7), "val_metrics.confmat": torch.ones(7, 7)},
    ),
    "Lightning that is the network": lambda model: {
        "state_dict": {**model.state_dict(), "criterion.weight": torch.ones(7)}
    },
    "Lightning with an average inside": lambda model: lightning(AveragedModel(model)),
}


@pytest.mark.parametrize("kind", FRAMEWORKS)
def test_what_frameworks_save_around_a_network_is_taken_off(tmp_path, kind):
    model = network()
    torch.save(FRAMEWORKS[kind](model), tmp_path / "f.ckpt")
    assert_same(load_checkpoint("resnet8", tmp_path / "f.ckpt").state_dict(), model.state_dict())


def test_tensors_of_the_network_itself_are_never_taken_off(tmp_path):
    state = network().state_dict() | {"extra.weight": torch.ones(7)}
    torch.save(state, tmp_path / "f")
    with pytest.raises(CheckpointError, match=r"1 unknown to the network: extra\.weight"):
        load_checkpoint("resnet8", tmp_path / "f")


RAW, AVERAGE = network(1), network(2)
BOTH = {
    "timm": {"arch": "x", "state_dict": RAW.state_dict(), "state_dict_ema": AVERAGE.state_dict()},
    "torchvision": {"model": RAW.state_dict(), "model_ema": AveragedModel(AVERAGE).state_dict()},
    "nested": {"model": {"state_dict": RAW.state_dict(), "ema_state_dict": AVERAGE.state_dict()}},
    "Lightning": {
        "state_dict": prefixed(RAW.state_dict(), "model.")
        | prefixed(AVERAGE.state_dict(), "ema_model.module.")
        | {"ema_model.n_averaged": torch.tensor(5)}
    },
}


@pytest.mark.parametrize("kind", BOTH)
def test_of_weights_and_their_average_one_is_taken_and_it_is_said_which(tmp_path, kind):
    torch.save(BOTH[kind], tmp_path / "f.pth")
    with pytest.warns(UserWarning, match=r"f.pth holds weights .* and their moving average .*: the weights are taken"):
        assert_same(load_checkpoint("resnet8", tmp_path / "f.pth").state_dict(), RAW.state_dict())
    assert_same(load_checkpoint("resnet8", tmp_path / "f.pth", ema=False).state_dict(), RAW.state_dict())
    assert_same(load_checkpoint("resnet8", tmp_path / "f.pth", ema=True).state_dict(), AVERAGE.state_dict())


@pytest.mark.parametrize("content", [{"state_dict_ema": AVERAGE.state_dict()}, prefixed(AVERAGE.state_dict(), "ema.")])
def test_a_file_with_the_average_alone_is_read_and_it_is_said(tmp_path, content):
    torch.save(content, tmp_path / "f.pth")
    with pytest.warns(UserWarning, match=r"f.pth holds no weights but their moving average .* which is taken"):
        assert_same(load_checkpoint("resnet8", tmp_path / "f.pth").state_dict(), AVERAGE.state_dict())
    assert_same(load_checkpoint("resnet8", tmp_path / "f.pth", ema=True).state_dict(), AVERAGE.state_dict())
    with pytest.raises(CheckpointError, match=r"f.pth holds no weights but their moving average"):
        load_checkpoint("resnet8", tmp_path / "f.pth", ema=False)


def test_an_average_that_is_not_there_is_missed(tmp_path):
    torch.save({"state_dict": RAW.state_dict()}, tmp_path / "f.pth")
    with pytest.raises(CheckpointError, match=r"f.pth holds no moving average .*; wanted one"):
        load_checkpoint("resnet8", tmp_path / "f.pth", ema=True)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_pipe_is_refused_unopened(tmp_path, suffix):
    os.mkfifo(tmp_path / f"f{suffix}")
    with within(5), pytest.raises(CheckpointError, match=r"is a named pipe, wanted a regular file"):
        read_state_dict(tmp_path / f"f{suffix}")


def test_tensors_that_claim_more_than_the_file_holds_are_refused(tmp_path):
    torch.save({"a": torch.zeros(1, 1).expand(10**12, 10)}, tmp_path / "rows.pth")
    torch.save({f"a{i}": torch.zeros(1).expand(2**24) for i in range(2000)}, tmp_path / "many.pth")
    for name in ("rows.pth", "many.pth"):
        with within(5), pytest.raises(CheckpointError, match=rf"{name} has .* bytes and says that it holds"):
            read_state_dict(tmp_path / name)


def test_an_archive_that_inflates_a_thousand_times_is_refused_unopened(tmp_path, monkeypatch):
    monkeypatch.setattr("normkd_explore.files.regular.MODEST", 2**25)
    torch.save({"a": torch.zeros(2**24)}, tmp_path / "plain.pth")
    with (
        zipfile.ZipFile(tmp_path / "plain.pth") as plain,
        zipfile.ZipFile(tmp_path / "f.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for member in plain.infolist():
            packed.writestr(member.filename, plain.read(member))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(CheckpointError, match=r"f.pth has .* bytes and says that it holds"):
        read_state_dict(tmp_path / "f.pth")


@pytest.mark.parametrize("kind", ["complex", "meta"])
def test_tensors_that_would_lose_something_are_refused_by_name(tmp_path, kind):
    weight = torch.zeros(3, dtype=torch.complex64) if kind == "complex" else torch.empty(3, device="meta")
    torch.save({"a": torch.zeros(2), "b": weight}, tmp_path / "f")
    with pytest.raises(CheckpointError, match=r"'b' \(Tensor\)"):
        read_state_dict(tmp_path / "f")
