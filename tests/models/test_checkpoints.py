"""Weight files: every container that people have, hostile and damaged files, and errors that teach."""

import argparse
import os
import pickle
import tarfile
from collections import OrderedDict
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from normkd_explore.models import (
    CheckpointError,
    create_model,
    guess_model,
    list_models,
    load_checkpoint,
    pretrained_imagenet,
    read_state_dict,
    save_weights,
)


@pytest.fixture
def model():
    torch.manual_seed(11)
    network = create_model("resnet8", 7)
    network.train()(torch.randn(4, 3, 32, 32))
    return network


def prefixed(state, prefix):
    return OrderedDict((prefix + key, value) for key, value in state.items())


def assert_same(state, expected):
    assert list(state) == list(expected)
    assert all(torch.equal(state[key], expected[key]) for key in expected)


def optimizer_state(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    model(torch.randn(2, 3, 32, 32)).sum().backward()
    optimizer.step()
    return optimizer.state_dict()


CONTAINERS = {
    "plain state dict": lambda state, model: state,
    "state_dict": lambda state, model: {"state_dict": state, "epoch": 3},
    "net": lambda state, model: {"net": state, "acc": 71.0},
    "data parallel": lambda state, model: prefixed(state, "module."),
    "compiled": lambda state, model: prefixed(state, "_orig_mod."),
    "compiled data parallel": lambda state, model: prefixed(state, "module._orig_mod."),
    "data parallel of compiled": lambda state, model: {"model": prefixed(state, "_orig_mod.module.")},
    "framework": lambda state, model: {"state_dict": prefixed(state, "model.")},
    "RepDistiller epoch, mdistiller teacher": lambda state, model: {
        "epoch": 240,
        "model": state,
        "accuracy": torch.tensor(72.0),
        "optimizer": optimizer_state(model),
    },
    "RepDistiller best": lambda state, model: {"epoch": 9, "model": state, "best_acc": 72.0},
    "RepDistiller last": lambda state, model: {
        "opt": argparse.Namespace(lr=0.05, betas=[0.1, 0.2], trial="0", nested=argparse.Namespace(gamma=1)),
        "model": state,
        "optimizer": optimizer_state(model),
    },
    "mdistiller student_best": lambda state, model: {"model": state},
    "mdistiller best": lambda state, model: {
        "model": prefixed(state, "module.student.") | prefixed(create_model("vgg8", 7).state_dict(), "module.teacher."),
        "optimizer": optimizer_state(model),
        "epoch": 240,
        "best_acc": torch.tensor(72.0),
    },
    "two networks side by side": lambda state, model: {"teacher": prefixed(state, "x."), "student": state},
    "without batch counters": lambda state, model: {k: v for k, v in state.items() if "num_batches" not in k},
}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("kind", CONTAINERS)
def test_every_container_loads(tmp_path, model, kind, zipped):
    state = OrderedDict((key, value.clone()) for key, value in model.state_dict().items())
    path = tmp_path / "student_best"
    torch.save(CONTAINERS[kind](state, model), path, _use_new_zipfile_serialization=zipped)
    loaded = load_checkpoint("resnet8", path)
    if kind == "without batch counters":
        assert loaded.state_dict()["bn1.num_batches_tracked"] == 0
        state = OrderedDict((key, value * 0 if "num_batches" in key else value) for key, value in state.items())
    assert_same(loaded.state_dict(), state)


def test_a_distillers_file_holds_both_networks(tmp_path, model):
    teacher = create_model("wrn_16_1", 7)
    other = {"module.connector.weight": torch.zeros(3, 3)}
    both = prefixed(model.state_dict(), "module.student.") | prefixed(teacher.state_dict(), "module.teacher.") | other
    torch.save({"model": both}, tmp_path / "best")
    assert_same(load_checkpoint("wrn_16_1", tmp_path / "best", part="teacher").state_dict(), teacher.state_dict())
    assert_same(load_checkpoint("resnet8", tmp_path / "best", part="student").state_dict(), model.state_dict())
    with pytest.raises(ValueError, match="part must be 'student' or 'teacher', not 'both'"):
        load_checkpoint("resnet8", tmp_path / "best", part="both")
    torch.save({"model": prefixed(model.state_dict(), "module.student.")}, tmp_path / "half")
    with pytest.raises(CheckpointError, match="with a student only, wanted part='teacher'"):
        load_checkpoint("resnet8", tmp_path / "half", part="teacher")


def test_part_is_without_meaning_for_one_network(tmp_path, model):
    torch.save({"model": model.state_dict()}, tmp_path / "ckpt_epoch_240.pth")
    assert_same(
        load_checkpoint("resnet8", tmp_path / "ckpt_epoch_240.pth", part="teacher").state_dict(), model.state_dict()
    )


@pytest.mark.parametrize("name", ["mobilenetv1", "ShuffleV2", "MobileNetV2", "vgg8", "ResNet18"])
def test_prefixes_are_told_from_names(tmp_path, name):
    model = create_model(name, 4)
    torch.save({"model": prefixed(model.state_dict(), "module.")}, tmp_path / "file")
    assert_same(load_checkpoint(name, tmp_path / "file").state_dict(), model.state_dict())


def test_half_precision_files_fill_float_networks(tmp_path, model):
    torch.save({key: value.half() for key, value in model.state_dict().items()}, tmp_path / "half.pth")
    loaded = load_checkpoint("resnet8", tmp_path / "half.pth")
    assert loaded.conv1.weight.dtype == torch.float32
    assert torch.equal(loaded.conv1.weight, model.conv1.weight.half().float())


def test_wrapped_networks_are_filled(tmp_path, model):
    save_weights(model, tmp_path / "weights.safetensors")
    bare = create_model("resnet8", 7)
    wrapped = torch.compile(torch.nn.DataParallel(bare))
    assert load_checkpoint(wrapped, tmp_path / "weights.safetensors") is wrapped
    assert_same(bare.state_dict(), model.state_dict())


def test_loading_draws_no_random_numbers(tmp_path, model):
    save_weights(model, tmp_path / "weights.safetensors")
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_checkpoint("resnet8", tmp_path / "weights.safetensors")
    assert torch.equal(torch.rand(3), expected)


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


def test_the_number_of_classes_comes_from_the_file(tmp_path):
    for name in ("vgg8", "MobileNetV2", "resnet8"):
        save_weights(create_model(name, 13), tmp_path / "f.safetensors")
        weight = list(load_checkpoint(name, tmp_path / "f.safetensors").parameters())[-2]
        assert len(weight) == 13
        with pytest.raises(CheckpointError, match=r"looks like a 13-class classifier.*num_classes=13"):
            load_checkpoint(name, tmp_path / "f.safetensors", num_classes=10)
    with pytest.raises(ValueError, match="num_classes goes with a model name"):
        load_checkpoint(create_model("resnet8", 13), tmp_path / "f.safetensors", num_classes=13)


def test_a_file_of_another_network_is_recognised(tmp_path, model):
    save_weights(model, tmp_path / "f.safetensors")
    target = create_model("wrn_16_1", 7)
    before = {key: value.clone() for key, value in target.state_dict().items()}
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(target, tmp_path / "f.safetensors")
    assert error.match("do not fit WideResNet")
    missing = [key for key in before.keys() - model.state_dict().keys() if "num_batches" not in key]
    unknown = model.state_dict().keys() - before.keys()
    assert error.match(
        rf"{len(missing)} missing from the file: block1\.layer\.0\.bn1\.weight, .* and {len(missing) - 5}"
    )
    assert error.match(rf"{len(unknown)} unknown to the network: layer1\.0\..* and {len(unknown) - 5} more")
    assert error.match("These tensors are those of 'resnet8' with num_classes=7")
    assert_same(target.state_dict(), before)


def test_single_differences_are_listed(tmp_path, model):
    state = model.state_dict()
    state["extra"] = torch.zeros(1)
    state["layer1.0.conv1.weight"] = torch.zeros(16, 16, 5, 5)
    del state["bn1.weight"]
    torch.save(state, tmp_path / "f")
    with pytest.raises(CheckpointError) as error:
        load_checkpoint("resnet8", tmp_path / "f")
    assert error.match(r"1 of another shape: layer1.0.conv1.weight \(16, 16, 5, 5\) in the file, \(16, 16, 3, 3\)")
    assert error.match("1 missing from the file: bn1.weight")
    assert error.match("1 unknown to the network: extra")
    assert error.match("closest network of the zoo is 'resnet8'")


def test_an_architecture_outside_the_zoo_is_called_so(tmp_path):
    torch.save({"encoder.weight": torch.zeros(4, 4)}, tmp_path / "f")
    with pytest.raises(CheckpointError, match="belongs to another architecture"):
        load_checkpoint("resnet8", tmp_path / "f")


def test_every_network_of_the_zoo_is_recognised_by_its_tensors():
    with torch.device("meta"):
        for name in list_models():
            state = create_model(name, 17).state_dict()
            assert guess_model(state) == (name, 17)
            state.popitem()
            assert guess_model(state) is None


def test_saved_weights_come_back_with_their_metadata(tmp_path, model):
    path = tmp_path / "new" / "folder" / "student.safetensors"
    wrapped = torch.nn.DataParallel(torch.compile(model.to(memory_format=torch.channels_last)))
    save_weights(wrapped, path, {"model": "resnet8", "num_classes": "7"})
    assert_same(load_checkpoint("resnet8", path).state_dict(), model.state_dict())
    assert set(load_file(path)) == set(model.state_dict())
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"model": "resnet8", "num_classes": "7"}
    assert [entry.name for entry in path.parent.iterdir()] == ["student.safetensors"]


def test_tensors_that_share_memory_are_saved(tmp_path):
    tied = torch.nn.ModuleDict({"a": torch.nn.Linear(3, 3), "b": torch.nn.Linear(3, 3)})
    tied["b"].weight = tied["a"].weight
    save_weights(tied, tmp_path / "tied.safetensors")
    assert torch.equal(read_state_dict(tmp_path / "tied.safetensors")["b.weight"], tied["a"].weight)


def test_metadata_must_be_text(tmp_path, model):
    with pytest.raises(TypeError, match=r"metadata must map text to text.*\['epoch'\]"):
        save_weights(model, tmp_path / "f.safetensors", {"model": "resnet8", "epoch": 3})
    assert not (tmp_path / "f.safetensors").exists()


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_an_interrupted_save_leaves_the_old_file(tmp_path, model, monkeypatch, step):
    path = tmp_path / "student.safetensors"
    save_weights(model, path)
    before = path.read_bytes()

    def full_disk(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, full_disk)
    with pytest.raises(OSError, match="No space left"):
        save_weights(create_model("resnet8", 7), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_torch_file_under_a_safetensors_name_is_explained(tmp_path, model):
    torch.save(model.state_dict(), tmp_path / "f.safetensors")
    with pytest.raises(CheckpointError, match=r"no safetensors header.*true suffix"):
        read_state_dict(tmp_path / "f.safetensors")


DOWNLOAD = "torchvision.models._api.load_state_dict_from_url"


def test_pretrained_weights_are_torchvisions(monkeypatch):
    torch.manual_seed(0)
    theirs = torchvision.models.resnet18()
    asked = {}

    def download(url, **options):
        asked.update(options, url=url)
        return theirs.state_dict()

    monkeypatch.setattr(DOWNLOAD, download)
    ours = pretrained_imagenet("resnet18")
    assert_same(ours.state_dict(), theirs.state_dict())
    assert asked["weights_only"] is asked["check_hash"] is True
    assert asked["url"].endswith("resnet18-f37072fd.pth")


def test_no_network_names_the_way_out(monkeypatch):
    def download(url, **options):
        raise URLError("Name or service not known")

    monkeypatch.setattr(DOWNLOAD, download)
    with pytest.raises(ConnectionError, match=r"--teacher-weights FILE.*resnet50-0676ba61\.pth"):
        pretrained_imagenet("resnet50")


def test_a_damaged_download_is_to_be_deleted(monkeypatch):
    def download(url, **options):
        raise RuntimeError("invalid hash value")

    monkeypatch.setattr(DOWNLOAD, download)
    with pytest.raises(CheckpointError, match=r"invalid hash value.*Delete that file"):
        pretrained_imagenet("resnet34")


@pytest.mark.parametrize("name", ["mobilenetv1", "ResNet50", "resnet20", "timm:resnet18"])
def test_names_without_imagenet_weights_are_explained(name):
    with pytest.raises(ValueError, match=r"weights for resnet18, resnet34, resnet50.*--teacher-weights FILE"):
        pretrained_imagenet(name)
