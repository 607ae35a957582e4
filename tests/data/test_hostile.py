"""No data file runs code or writes outside its folder."""

import io
import os
import pickle
import tarfile

import pytest

from normkd_explore.data import load_dataset
from normkd_explore.data.safe_pickle import UnsafePickleError, read_pickle
from tests.helpers.fake_cifar import write_cifar100

OFFLINE = {"download": False, "check_md5": False}


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def hostile_pickles(trace):
    touch = f"open({str(trace)!r}, 'w').close()"
    as_global = b"cos\nsystem\n(S'touch " + str(trace).encode() + b"'\ntR."
    return {
        "os.system": pickle.dumps({"data": Call(os.system, f"touch {trace}")}, protocol=2),
        "eval": pickle.dumps({"data": Call(eval, touch)}, protocol=2),
        "exec": pickle.dumps(Call(exec, touch), protocol=4),
        "open": pickle.dumps(Call(open, str(trace), "w"), protocol=5),
        "getattr": pickle.dumps(Call(getattr, "text", "upper"), protocol=2),
        "text opcodes": as_global,
    }


@pytest.mark.parametrize("trick", hostile_pickles("x"))
def test_a_pickle_that_names_a_function_is_refused_before_it_runs(tmp_path, trick):
    trace = tmp_path / "trace"
    folder = write_cifar100(tmp_path)
    (folder / "train").write_bytes(hostile_pickles(trace)[trick])
    with pytest.raises(ValueError, match=r"train is damaged.*asks to run .*nothing of it was run"):
        load_dataset("cifar100", tmp_path, **OFFLINE)
    assert not trace.exists()


def test_the_trick_would_work_on_an_ordinary_reader(tmp_path):
    trace = tmp_path / "trace"
    pickle.loads(hostile_pickles(trace)["os.system"])
    assert trace.exists()


def test_arrays_of_objects_and_other_codecs_are_refused(tmp_path):
    file = tmp_path / "file"
    for text in (b"cnumpy\ndtype\n(S'O8'\ntR.", b"c_codecs\nencode\n(S'x'\nS'rot13'\ntR."):
        file.write_bytes(text)
        with pytest.raises(UnsafePickleError):
            read_pickle(file)


def archive_with(tmp_path, member, data=b"x", **fields):
    info = tarfile.TarInfo(member)
    info.size = len(data)
    for name, value in fields.items():
        setattr(info, name, value)
    (tmp_path / "data").mkdir()
    with tarfile.open(tmp_path / "data" / "cifar-100-python.tar.gz", "w:gz") as tar:
        tar.addfile(info, io.BytesIO(data))
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("member", "fields"),
    [
        ("../escaped", {}),
        ("/escaped", {}),
        ("cifar-100-python/../../escaped", {}),
        ("cifar-100-python/train", {"type": tarfile.SYMTYPE, "linkname": "/etc/hostname", "size": 0}),
        ("cifar-100-python/train", {"type": tarfile.LNKTYPE, "linkname": "../../escaped", "size": 0}),
        ("cifar-100-python/train", {"type": tarfile.CHRTYPE, "size": 0}),
        ("cifar-100-python/train", {"type": tarfile.DIRTYPE, "size": 0}),
    ],
)
def test_archives_cannot_write_elsewhere_or_make_links(tmp_path, member, fields):
    root = archive_with(tmp_path, member, **fields)
    with pytest.raises(ValueError, match=r"cannot take .* out of"):
        load_dataset("cifar100", root, **OFFLINE)
    assert list((root / "cifar-100-python").iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_a_member_that_claims_to_be_huge_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr("normkd_explore.data.cifar.LARGEST_FILE", 1000)
    root = archive_with(tmp_path, "cifar-100-python/train", bytes(1001))
    with pytest.raises(ValueError, match="not a plain file of at most 1,000 bytes"):
        load_dataset("cifar100", root, **OFFLINE)
