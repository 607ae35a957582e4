"""Small CIFAR files in the true layout, written byte for byte as Python 2 pickled the originals."""

import struct
from pathlib import Path

import numpy as np


def python2_pickle(value) -> bytes:
    """Pickle dictionaries, lists, integers, texts and byte arrays with the opcodes of Python 2's protocol 2."""
    return b"\x80\x02" + _dump(value) + b"."


def _dump(value) -> bytes:
    if isinstance(value, dict):
        return b"}" + b"".join(_dump(key) + _dump(item) + b"s" for key, item in value.items())
    if isinstance(value, list):
        return b"](" + b"".join(map(_dump, value)) + b"e"
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value)
    if isinstance(value, str):
        return _text(value.encode("latin1"))
    return _array(value)


def _text(data: bytes) -> bytes:
    return b"T" + struct.pack("<i", len(data)) + data


def _array(array: np.ndarray) -> bytes:
    empty = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00t" + _text(b"b") + b"tR"
    kind = (
        b"cnumpy\ndtype\n("
        + _text(b"u1")
        + b"K\x00K\x01tR(K\x03"
        + _text(b"|")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    shape = b"(" + b"".join(map(_dump, array.shape)) + b"t"
    return empty + b"(K\x01" + shape + kind + b"\x89" + _text(array.tobytes()) + b"tb"


def pixels(count: int, seed: int) -> np.ndarray:
    """Random rows of a CIFAR file: uint8 (count, 3072)."""
    return np.random.default_rng(seed).integers(0, 256, (count, 3072), dtype=np.uint8)


def write_cifar100(root: Path, classes: int = 4, per_class: int = 20) -> Path:
    """Write a small CIFAR-100; give its folder."""
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    for seed, (file, count) in enumerate([("train", classes * per_class), ("test", classes * 2)]):
        labels = [index % classes for index in range(count)]
        contents = {
            "filenames": [f"{index}.png" for index in range(count)],
            "batch_label": "training batch 1 of 1",
            "fine_labels": labels,
            "coarse_labels": [label // 2 for label in labels],
            "data": pixels(count, seed),
        }
        (folder / file).write_bytes(python2_pickle(contents))
    names = [f"thing{label}" for label in range(classes)]
    (folder / "meta").write_bytes(python2_pickle({"fine_label_names": names, "coarse_label_names": ["a", "b"]}))
    return folder


def write_cifar10(root: Path, classes: int = 3, per_file: int = 12) -> Path:
    """Write a small CIFAR-10; give its folder."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for seed, file in enumerate([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]):
        labels = [index % classes for index in range(per_file)]
        (folder / file).write_bytes(python2_pickle({"labels": labels, "data": pixels(per_file, seed)}))
    names = [f"thing{label}" for label in range(classes)]
    (folder / "batches.meta").write_bytes(python2_pickle({"label_names": names, "num_vis": 3072}))
    return folder
