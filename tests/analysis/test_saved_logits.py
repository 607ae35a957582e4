"""Saved logits are read without running code, and a bad file is explained."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from normkd_explore.analysis.logit_files import load_logits
from tests.helpers.drawn_logits import draw


@pytest.fixture
def saved(tmp_path) -> Path:
    """The same logits and labels in every format."""
    logits, labels = (torch.from_numpy(values) for values in draw(samples=6, classes=4))
    torch.save(logits, tmp_path / "alone.pt")
    torch.save({"logits": logits, "labels": labels, "epoch": 3}, tmp_path / "both.pth")
    save_file({"logits": logits, "labels": labels}, tmp_path / "both.safetensors")
    np.save(tmp_path / "alone.npy", logits.numpy().astype(">f8"))  # as a big-endian machine writes it
    np.savez(tmp_path / "both.npz", logits=logits.numpy(), y=labels.numpy())
    np.save(tmp_path / "labels.npy", labels.numpy())
    rows = [",".join(map(repr, row)) for row in logits.tolist()]
    (tmp_path / "alone.csv").write_text("\n".join(rows) + "\n")
    with_labels = [f"{label},{row}" for label, row in zip(labels.tolist(), rows, strict=True)]
    (tmp_path / "both.csv").write_text("\n".join(["label,a,b,c,d", *with_labels]))
    return tmp_path


@pytest.mark.parametrize("name", ["both.pth", "both.safetensors", "both.npz", "both.csv"])
def test_files_with_labels_are_read(saved, name):
    logits, labels = draw(samples=6, classes=4)
    found = load_logits(saved / name)
    np.testing.assert_array_equal(found.logits_NC, logits)
    np.testing.assert_array_equal(found.labels_N, labels)
    assert found.logits_NC.dtype == torch.float64 and found.labels_N.dtype == torch.int64


@pytest.mark.parametrize("name", ["alone.pt", "alone.npy", "alone.csv"])
def test_labels_may_come_from_a_second_file(saved, name):
    assert load_logits(saved / name).labels_N is None
    logits, labels = draw(samples=6, classes=4)
    found = load_logits(saved / name, saved / "labels.npy")
    np.testing.assert_array_equal(found.logits_NC, logits)
    np.testing.assert_array_equal(found.labels_N, labels)


class Harmful:
    """Unpickling it would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_no_file_runs_code(tmp_path):
    trace = tmp_path / "trace"
    torch.save({"logits": Harmful(trace)}, tmp_path / "a.pt")
    np.save(tmp_path / "b.npy", np.array([Harmful(trace)], dtype=object), allow_pickle=True)
    (tmp_path / "c.npy").write_bytes(pickle.dumps(Harmful(trace)))
    np.savez(tmp_path / "d.npz", logits=np.array([Harmful(trace)], dtype=object))
    for name in ("a.pt", "b.npy", "c.npy", "d.npz"):
        with pytest.raises(ValueError, match="can run any program"):
            load_logits(tmp_path / name)
    assert not trace.exists()


@pytest.mark.parametrize(
    "name, content, text",
    [
        ("x.txt", "1,2", "ends in '.txt'"),
        ("x.csv", "1,2,3\n4,5\n", r"rows of \[2, 3\] values"),
        ("x.csv", "a,b\n", "no rows of numbers"),
        ("x.csv", "1,2\n3,four\n", "'four' in data row 2"),
        ("x.csv", "1\n2\n", "Labels belong in --labels"),
        ("x.csv", "label,a,b\n0.5,1,2\n", "fractions or NaN"),
        ("x.pt", "not a pickle", "truncated or corrupt|can run any program"),
        ("x.npz", "PK not a zip", "truncated or corrupt|plain numeric"),
        ("x.safetensors", "short", "truncated or corrupt"),
    ],
)
def test_bad_files_are_explained(tmp_path, name, content, text):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=text):
        load_logits(tmp_path / name)


def test_wrong_names_shapes_and_places_are_explained(saved):
    with pytest.raises(FileNotFoundError, match=r"both\.npz"):
        load_logits(saved / "missing.npz")
    np.savez(saved / "odd.npz", first=np.zeros((2, 3)), second=np.zeros(2))
    with pytest.raises(ValueError, match=r"first \(2, 3\), second \(2,\), wanted an array called 'logits'"):
        load_logits(saved / "odd.npz")
    np.save(saved / "five.npy", np.zeros(5))
    with pytest.raises(ValueError, match=r"\(5,\), wanted \(6,\)"):
        load_logits(saved / "alone.npy", saved / "five.npy")
    np.save(saved / "words.npy", np.array([["a", "b"]]))
    with pytest.raises(ValueError, match="plain numbers"):
        load_logits(saved / "words.npy")


def test_missing_values_are_read_as_they_are(tmp_path):
    (tmp_path / "x.csv").write_text("1,nan,3\n4,5,inf\n")
    assert torch.isfinite(load_logits(tmp_path / "x.csv").logits_NC).tolist() == [
        [True, False, True],
        [True, True, False],
    ]
