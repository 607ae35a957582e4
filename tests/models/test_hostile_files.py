"""Files that are no weights: hostile ones do nothing, damaged and mistaken ones are named."""

import argparse
import os
import pickle
import tarfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from normkd_explore.models import CheckpointError, load_checkpoint, read_state_dict


class Reduces:
    """Pickles as a call of any function: what an attacker writes."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def hostile(marker):
    touch = f"open({str(marker)!r}, 'w').close()"
    return {
        "posix.system|nt.system": Reduces(os.system, f"echo x > {marker}"),
        "eval": Reduces(eval, touch),
        "exec": Reduces(exec, touch),
        "open": Reduces(open, str(marker), "w"),
        "posix.mkdir|nt.mkdir": Reduces(os.mkdir, str(marker)),
        "Linear": torch.nn.Linear(2, 2),
        "PosixPath|WindowsPath": marker,
        "scalar": np.float64(1.0),
    }


@pytest.mark.parametrize("kind", hostile("x"))
@pytest.mark.parametrize("where", ["beside", "in the namespace", "as the model", "raw pickle"])
def test_hostile_files_are_refused_by_name_and_do_nothing(tmp_path, kind, where):
    marker, path = tmp_path / "executed", tmp_path / "model.pth"
    payload = hostile(marker)[kind]
    good = {"a": torch.zeros(2)}
    if where == "raw pickle":
        path.write_bytes(pickle.dumps({"model": good, "opt": payload}, protocol=2))
    else:
        content = {
            "beside": {"model": good, "opt": payload},
            "in the namespace": {"model": good, "opt": argparse.Namespace(a=[payload])},
            "as the model": {"model": payload},
        }[where]
        torch.save(content, path)
    with pytest.raises(CheckpointError) as refusal:
        read_state_dict(path)
    assert not marker.exists()
    assert str(path) in str(refusal.value)
    if where != "raw pickle":
        assert refusal.match(kind)
        assert refusal.match("Nothing of it was executed")
        assert refusal.match("weights_only=False")


def test_a_namespace_cannot_be_called_with_anything(tmp_path):
    for arguments in [(1,), ([],)]:
        torch.save({"model": {"a": torch.zeros(1)}, "opt": Reduces(argparse.Namespace, *arguments)}, tmp_path / "f")
        with pytest.raises(CheckpointError, match="no readable weight file"):
            read_state_dict(tmp_path / "f")


def test_the_allowance_for_namespaces_ends_with_the_call(tmp_path, model):
    torch.save({"model": model.state_dict(), "opt": argparse.Namespace(a=1)}, tmp_path / "f")
    load_checkpoint("resnet8", tmp_path / "f")
    assert argparse.Namespace not in torch.serialization.get_safe_globals()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@given(fraction=st.floats(0, 1, exclude_max=True))
@settings(deadline=None, max_examples=15)
def test_truncated_files_are_named(tmp_path_factory, suffix, fraction):
    folder = tmp_path_factory.mktemp("truncated")
    state = {"a": torch.arange(500.0), "b": torch.zeros(3, 3)}
    whole, part = folder / f"whole{suffix}", folder / f"part{suffix}"
    (torch.save if suffix == ".pth" else save_file)(state, whole)
    content = whole.read_bytes()
    part.write_bytes(content[: int(len(content) * fraction)])
    with pytest.raises(CheckpointError) as error:
        read_state_dict(part)
    assert str(part) in str(error.value)
    assert error.match("etch")


@given(content=st.binary(max_size=200))
@settings(deadline=None, max_examples=100)
def test_garbage_is_never_more_than_a_checkpoint_error(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("garbage") / "file.pth"
    for start in (b"", b"\x80\x02", b"PK\x03\x04", b"\x10" + 7 * b"\0" + b"{"):
        path.write_bytes(start + content)
        with pytest.raises(CheckpointError):
            read_state_dict(path)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>404</html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer"),
        (b"\x1f\x8b\x08\x00", "a gzip archive"),
    ],
)
def test_what_people_pass_by_mistake_is_recognised(tmp_path, content, told):
    (tmp_path / "weights.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=f"weights.pth is.*{told}|weights.pth {told}"):
        read_state_dict(tmp_path / "weights.pth")


def test_the_teachers_archive_is_to_be_unpacked_first(tmp_path, model):
    torch.save({"model": model.state_dict()}, tmp_path / "ckpt_epoch_240.pth")
    with tarfile.open(tmp_path / "cifar_teachers.tar", "w") as archive:
        archive.add(tmp_path / "ckpt_epoch_240.pth", "cifar_teachers/resnet56_vanilla/ckpt_epoch_240.pth")
    with pytest.raises(CheckpointError, match=r"tar -xf.*resnet56_vanilla/ckpt_epoch_240.pth"):
        read_state_dict(tmp_path / "cifar_teachers.tar")


def test_missing_files_and_folders_are_named(tmp_path):
    (tmp_path / "there.pth").write_bytes(b"x")
    with pytest.raises(FileNotFoundError, match=r"no weight file .*gone.pth. In that folder: there.pth"):
        read_state_dict(tmp_path / "gone.pth")
    with pytest.raises(FileNotFoundError, match=r"folder .*nowhere does not exist"):
        read_state_dict(tmp_path / "nowhere" / "gone.pth")
    with pytest.raises(IsADirectoryError, match=r"is a folder, wanted a weight file. It contains: there.pth"):
        read_state_dict(tmp_path)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"epoch": 3, "best_acc": torch.tensor(1.0)}, r"no state dict.*'epoch' \(int\)"),
        ({}, "nothing at all"),
        ([1, 2], "holds a list"),
        ({"model": {"a": torch.eye(2).to_sparse()}}, r"'a' \(Tensor\)"),
        ({1: torch.zeros(2)}, r"1 \(Tensor\)"),
    ],
)
def test_files_without_a_state_dict_say_what_they_hold(tmp_path, content, told):
    torch.save(content, tmp_path / "f")
    with pytest.raises(CheckpointError, match=told):
        read_state_dict(tmp_path / "f")


def test_diverged_weights_are_refused(tmp_path, model):
    state = model.state_dict()
    state["bn1.running_var"][3] = float("nan")
    torch.save(state, tmp_path / "f")
    with pytest.raises(CheckpointError, match=r"NaN or infinity in bn1.running_var"):
        load_checkpoint("resnet8", tmp_path / "f")
