"""The cache gives back what was stored or says that it cannot; it never gives something else and never loses data."""

import errno
import os
from pathlib import Path

import pytest
import torch

from normkd_explore.data.cache import cache_folder, cached_tensors


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("NORMKD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Builder:
    """Counts how often it has to build."""

    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return {"images": torch.arange(256, dtype=torch.uint8).view(16, 16), "labels": torch.arange(16)}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_the_second_call_reads_what_the_first_stored():
    build = Builder()
    first = cached_tensors("set", {"seed": 0}, build)
    assert same(first, cached_tensors("set", {"seed": 0}, build))
    assert build.calls == 1


def test_every_setting_counts():
    build = Builder()
    for settings in ({"seed": 0}, {"seed": 1}, {"seed": 0, "size": 3}):
        cached_tensors("set", settings, build)
    assert build.calls == 3


def test_no_unfinished_file_stays_behind(folder):
    cached_tensors("set", {}, Builder())
    assert [path.suffix for path in folder.iterdir()] == [".safetensors"]


def damage_by_truncation(share):
    return lambda data: data[: int(len(data) * share)]


def flip_bit(position):
    def damage(data):
        changed = bytearray(data)
        changed[position] ^= 1
        return bytes(changed)

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        *(damage_by_truncation(share) for share in (0, 0.01, 0.3, 0.999)),
        *(flip_bit(position) for position in (0, 20, -1, -200)),
        lambda data: b"not a tensor file at all" * 20,
    ],
)
def test_a_damaged_file_is_reported_and_made_again(folder, damage):
    build = Builder()
    first = cached_tensors("set", {}, build)
    (file,) = folder.iterdir()
    file.write_bytes(damage(file.read_bytes()))
    with pytest.warns(UserWarning, match=r"cached file .*safetensors is damaged"):
        again = cached_tensors("set", {}, build)
    assert same(first, again)
    assert build.calls == 2
    assert same(first, cached_tensors("set", {}, build))
    assert build.calls == 2


@pytest.mark.parametrize("step", ["write_bytes", "fsync", "replace"])
def test_a_full_disk_costs_the_cache_and_not_the_data(folder, monkeypatch, step):
    def fail(*_args, **_options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path if step == "write_bytes" else os, step, fail)
    with pytest.warns(UserWarning, match=r"cannot keep data in .*No space left.*Set NORMKD_CACHE"):
        tensors = cached_tensors("set", {}, Builder())
    assert same(tensors, Builder()())
    assert list(folder.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_only_a_warning(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("NORMKD_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.warns(UserWarning, match="cannot keep data"):
        assert same(cached_tensors("set", {}, Builder()), Builder()())


def test_the_folder_is_the_first_that_the_environment_names(monkeypatch):
    monkeypatch.setenv("NORMKD_CACHE", "/one")
    monkeypatch.setenv("XDG_CACHE_HOME", "/two")
    assert cache_folder() == Path("/one")
    monkeypatch.delenv("NORMKD_CACHE")
    assert cache_folder() == Path("/two/normkd_explore")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "normkd_explore"
