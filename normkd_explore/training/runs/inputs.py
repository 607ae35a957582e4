"""What a run learns from, as digests: the contents behind the places that `Where` names.

A path may lead to other weights or other images tomorrow. So inputs.json in the run folder keeps a digest of the
teacher's weights and one of the data set; a run goes on only with the same ones, and reports pool only equal ones.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from normkd_explore.data import ArraySplit, Dataset
from normkd_explore.files.records import read_json
from normkd_explore.files.writing import write_json
from normkd_explore.training.teacher.frozen import Teacher

FILE = "inputs.json"
LENGTH = 16  # hexadecimal digits that are kept of a SHA-256
SIZES = 10_000  # files of a split whose size is asked for; on a network disk each question costs a round trip
Inputs = dict[str, str | None]


class InputsRecord(TypedDict):
    """What is asked of inputs.json."""

    data: str
    teacher: str | None


def describe_inputs(dataset: Dataset, teacher: Teacher | None) -> Inputs:
    """{"data": digest, "teacher": digest of its weights and buffers, or None}."""
    return {"data": data_digest(dataset), "teacher": teacher.fingerprint()[:LENGTH] if teacher else None}


def data_digest(dataset: Dataset) -> str:
    """A digest of everything that training and evaluation see, wherever it lies.

    Images in memory count with every pixel, image files with their names below the split's folder and the sizes of up
    to 10,000 of them, evenly spaced: what is inside files of equal size and name is not read. Labels, class names,
    normalisation and views count too.
    """
    digest = hashlib.sha256()
    views = dataset.views
    _add(digest, dataset.class_names, dataset.mean, dataset.std, dataset.image_size)
    _add(digest, views.pad, views.flip, views.countable)
    for name in ("train", "val", "test"):
        split = getattr(dataset, name)
        _add(digest, name, 0 if split is None else len(split))
        if split is None:
            continue
        digest.update(split.labels_N.cpu().contiguous().numpy().data)
        if isinstance(split, ArraySplit):
            digest.update(split.images_NHWC.cpu().contiguous().numpy().data)
        else:
            _add(digest, *split.names_N.tolist())
            asked = np.unique(np.linspace(0, len(split) - 1, min(SIZES, len(split))).astype(int))
            _add(digest, *(_size(split.path(position)) for position in asked.tolist()))
    return digest.hexdigest()[:LENGTH]


def _add(digest: Any, *values: Any) -> None:
    for value in values:
        digest.update(repr(value).encode() + b"\0")


def _size(path: Path) -> int | None:
    """Bytes of a file; None where it is gone, which reading it will explain."""
    try:
        return path.stat().st_size
    except OSError:
        return None


def write_inputs(folder: Path, inputs: Inputs) -> None:
    """Keep the inputs of a new run in its folder."""
    write_json(folder / FILE, inputs)


def read_inputs(folder: Path) -> Inputs:
    """The inputs that a run was started with; {} for one that an older version started."""
    path = folder / FILE
    if not path.exists():
        return {}
    found = read_json(
        path,
        InputsRecord,
        "So nobody can say whether the run goes on with the same teacher and data. Restore it from a copy; or delete "
        "it, if you are sure of both.",
    )
    return {name: found[name] for name in ("data", "teacher")}


def check_inputs(folder: Path, inputs: Inputs) -> None:
    """ValueError, naming what differs, unless the run in `folder` was started with `inputs`, or is too old to say."""
    before = read_inputs(folder)
    remedies = {
        "teacher": "--teacher-weights naming the file or run folder it had",
        "data": "--data-root naming the images it had",
    }
    changed = [name for name in remedies if before and before[name] != inputs[name]]
    if changed:
        what = " and ".join({"teacher": "another teacher", "data": "other images"}[name] for name in changed)
        details = "; ".join(f"{name}: digest {before[name]} before, {inputs[name]} now" for name in changed)
        remedy = " and ".join(remedies[name] for name in changed)
        raise ValueError(
            f"{folder} was started with {what} ({details}). Resume with {remedy}, or start a new run with --out."
        )
