"""Reading the CIFAR pickles without letting a file run code.

A pickle is a program: it may name any importable function and call it. Here it may name four things, each replaced by
one that can only make an array of bytes; whatever else it names is refused before it is looked up.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np


class UnsafePickleError(pickle.UnpicklingError):
    """A pickle names something that a file of numbers and strings does not need."""


def _array_to_fill(_kind: None, _shape: object, _code: object) -> np.ndarray:
    return np.empty(0, dtype=np.uint8)


def _byte_type(code: str, *_flags: object) -> np.dtype:
    if code != "u1":
        raise UnsafePickleError(f"it holds an array of type {code!r}, where images are bytes ('u1')")
    return np.dtype(np.uint8, copy=True)


def _text_to_bytes(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise UnsafePickleError(f"it asks for the codec {encoding!r}")
    return text.encode("latin1")


# ndarray is only ever an argument of _reconstruct, so it need not be anything callable.
STAND_INS: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _array_to_fill,
    ("numpy._core.multiarray", "_reconstruct"): _array_to_fill,
    ("numpy", "dtype"): _byte_type,
    ("numpy", "ndarray"): None,
    ("_codecs", "encode"): _text_to_bytes,
}


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in STAND_INS:
            raise UnsafePickleError(f"it asks to run {module}.{name}")
        return STAND_INS[module, name]


def read_pickle(path: Path) -> Any:
    """Read containers, numbers, strings and byte arrays from a pickle.

    Raises:
        UnsafePickleError: when it names anything else; nothing of it has been run.
        pickle.UnpicklingError, EOFError, ...: when it is damaged.
    """
    with open(path, "rb") as file:
        return _ArrayUnpickler(file, encoding="latin1").load()
