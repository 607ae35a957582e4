"""What a run learns from, as digests: the contents behind the places that `Where` names.

A path may lead to other weights or other images tomorrow. So inputs.json in the run folder keeps a digest of the
teacher's weights and one of the data set; a run goes on only with the same ones, and reports pool only equal ones.
Validation and test images alone may change until a run is over, since nothing is learned from them: a damaged one can
be replaced. That is said, and recorded.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np

from normkd_explore.data import ArraySplit, Dataset
from normkd_explore.files.records import read_json
from normkd_explore.files.writing import write_json
from normkd_explore.training.teacher.frozen import Teacher

FILE = "inputs.json"
LENGTH = 16  # hexadecimal digits that are kept of a SHA-256
SIZES = 10_000  # files of a split whose size is asked for; on a network disk each question costs a round trip
Inputs = dict[str, Any]


class InputsRecord(TypedDict):
    """What is asked of inputs.json."""

    data: str
    teacher: str | None
    train: NotRequired[str]
    changed: NotRequired[list[str]]


def describe_inputs(dataset: Dataset, teacher: Teacher | None) -> Inputs:
    """{"data": digest, "train": that of what is learned from, "teacher": of its weights and buffers, or None}."""
    data, train = _digests(dataset)
    return {"data": data, "teacher": teacher.fingerprint()[:LENGTH] if teacher else None, "train": train}


def data_digest(dataset: Dataset) -> str:
    """A digest of everything that training and evaluation see, wherever it lies.

    Images in memory count with every pixel, image files with their names below the split's folder and the sizes of up
    to 10,000 of them, evenly spaced: what is inside files of equal size and name is not read. Labels, class names,
    normalisation and views count too.
    """
    return _digests(dataset)[0]


def _digests(dataset: Dataset) -> tuple[str, str]:
    """The digest of everything, and the one of all but validation and test images."""
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
        if name == "train":
            train = digest.hexdigest()[:LENGTH]
    return digest.hexdigest()[:LENGTH], train


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
    """What a summary says of the inputs of a run; {} for one that an older version started."""
    found = _read(folder)
    return {name: found[name] for name in ("data", "teacher", "changed") if name in found}


def _read(folder: Path) -> Inputs:
    path = folder / FILE
    if not path.exists():
        return {}
    return read_json(
        path,
        InputsRecord,
        "So nobody can say whether the run goes on with the same teacher and data. Restore it from a copy; or delete "
        "it, if you are sure of both.",
    )


def check_inputs(folder: Path, inputs: Inputs, over: bool = False) -> None:
    """ValueError, naming what differs, unless the run in `folder` was started with `inputs`, or is too old to say.

    Other validation or test images are none where the run is not `over`: see `follow_inputs`.
    """
    before = _read(folder)
    remedies = {
        "teacher": "--teacher-weights naming the file or run folder it had",
        "data": "--data-root naming the images it had",
    }
    changed = [name for name in remedies if before and before[name] != inputs[name]]
    if changed == ["data"] and not over and before.get("train") == inputs["train"]:
        return
    if changed:
        what = " and ".join({"teacher": "another teacher", "data": "other images"}[name] for name in changed)
        details = "; ".join(f"{name}: digest {before[name]} before, {inputs[name]} now" for name in changed)
        remedy = " and ".join(remedies[name] for name in changed)
        raise ValueError(
            f"{folder} was started with {what} ({details}). Resume with {remedy}, or start a new run with --out."
        )


def follow_inputs(folder: Path, inputs: Inputs) -> str | None:
    """Record that a run goes on with other validation or test images; returns a sentence that says so, or None."""
    before = _read(folder)
    if not before or before["data"] == inputs["data"]:
        return None
    change = f"validation or test images changed: data digest {before['data']} before, {inputs['data']} now"
    write_inputs(folder, {**before, "data": inputs["data"], "changed": [*before.get("changed", []), change]})
    return f"{change}. Earlier epochs were measured on the former ones; {FILE} and summary.json keep this."
