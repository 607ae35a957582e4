"""Tensor files: equal contents are equal files, and whatever is changed in one is noticed."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from normkd_explore.files.tensors import CHECKSUM, ChecksumError, read_metadata, read_tensors, write_tensors

TENSORS = {
    "w": torch.arange(6.0).view(2, 3),
    "half": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
    "count": torch.tensor(7),
    "mask": torch.tensor([True, False]),
    "none": torch.zeros(0, 3),
}
TEXTS = {"model": "resnet8", "classes": "ä\nö", "dataset": "glyphs", "method": "normkd", "num_classes": "100"}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def test_what_was_written_is_read_and_safetensors_reads_it_too(tmp_path):
    digest = write_tensors(tmp_path / "a", TENSORS, TEXTS)
    tensors, texts = read_tensors(tmp_path / "a")
    assert same(tensors, TENSORS) and list(tensors) == sorted(TENSORS)
    assert texts == {**TEXTS, CHECKSUM: digest} == read_metadata(tmp_path / "a")
    assert same(load_file(tmp_path / "a"), TENSORS)


def test_the_digest_is_that_of_names_types_shapes_values_and_texts(tmp_path):
    """Computed by hand, so that files of today are known tomorrow."""
    expected = hashlib.sha256(b"w torch.float32 (2,)\n" + bytes.fromhex("0000803f00000040"))
    assert write_tensors(tmp_path / "a", {"w": torch.tensor([1.0, 2.0])}) == expected.hexdigest()
    expected.update(b'{"model": "x"}')
    assert write_tensors(tmp_path / "a", {"w": torch.tensor([1.0, 2.0])}, {"model": "x"}) == expected.hexdigest()


WRITER = """
import sys, torch
from pathlib import Path
from normkd_explore.files.tensors import write_tensors
turn = slice(None, None, int(sys.argv[2]))
tensors = {"w": torch.arange(6.0).view(2, 3), "count": torch.tensor(7), "half": torch.ones(2, dtype=torch.bfloat16)}
texts = {"model": "resnet8", "classes": "a b", "dataset": "glyphs", "method": "normkd", "num_classes": "100"}
write_tensors(Path(sys.argv[1]), dict(list(tensors.items())[turn]), dict(list(texts.items())[turn]))
"""


def test_equal_contents_are_equal_files_in_every_process_and_order(tmp_path):
    """safetensors itself writes texts in an order of its own in each process."""
    digests = set()
    for number, turn in enumerate((1, -1, 1)):
        subprocess.run([sys.executable, "-c", WRITER, str(tmp_path / str(number)), str(turn)], check=True)
        digests.add(hashlib.sha256((tmp_path / str(number)).read_bytes()).hexdigest())
    assert len(digests) == 1


@settings(max_examples=150, deadline=None)
@given(place=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_any_flipped_bit_is_noticed_or_changes_nothing(tmp_path_factory, place, bit):
    path = tmp_path_factory.mktemp("flip") / "a"
    write_tensors(path, TENSORS, TEXTS)
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 1 << bit
    path.write_bytes(content)
    try:
        tensors, texts = read_tensors(path)
    except (ChecksumError, SafetensorError):
        return
    # What is left: white space, or the name of the checksum, without which a file is one from elsewhere.
    assert same(tensors, TENSORS)
    assert CHECKSUM not in texts or {**texts, CHECKSUM: ""} == {**TEXTS, CHECKSUM: ""}


@pytest.mark.parametrize("size", [0, 1, 7, 8, 100, -1])
def test_truncated(tmp_path, size):
    write_tensors(tmp_path / "a", TENSORS, TEXTS)
    (tmp_path / "a").write_bytes((tmp_path / "a").read_bytes()[:size])
    with pytest.raises(SafetensorError):
        read_tensors(tmp_path / "a")


def test_files_from_elsewhere_are_taken_as_they_are(tmp_path):
    save_file(TENSORS, tmp_path / "a", {"format": "pt"})
    assert same(read_tensors(tmp_path / "a")[0], TENSORS)


@pytest.mark.skipif(os.name == "nt", reason="no permissions there")
def test_everyone_may_read_it_who_may_read_other_files(tmp_path):
    (tmp_path / "other").write_text("")
    write_tensors(tmp_path / "a", TENSORS)
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "other").stat().st_mode
