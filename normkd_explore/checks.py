"""Input checks whose messages say what was found, what was wanted and what to do.

Shapes, dtypes and devices are looked at always: that costs nothing. Values (NaN, label range) are looked at
only for CPU tensors in eager mode, because on an accelerator the look would make the host wait for the device
at every step, and a compiled graph would break there.

Legend: B batch, C classes.
"""

import math
from numbers import Real
from typing import Any

import torch
from torch import Tensor

IGNORED = -100
"""The label of a sample that does not count, as in `torch.nn.functional.cross_entropy`."""


def check_positive(name: str, value: Any) -> float:
    """Return `value` as a float if it is a finite number above 0.

    Raises:
        TypeError: it is not a real number.
        ValueError: it is 0, negative, infinite or NaN.
    """
    number = _check_number(name, value)
    if number <= 0:
        raise ValueError(f"{name} is {value!r}, wanted a number above 0. Usual values lie between 0.5 and 10.")
    return number


def check_non_negative(name: str, value: Any) -> float:
    """Return `value` as a float if it is a finite number of at least 0.

    Raises:
        TypeError: it is not a real number.
        ValueError: it is negative, infinite or NaN.
    """
    number = _check_number(name, value)
    if number < 0:
        raise ValueError(f"{name} is {value!r}, wanted 0 or more: a negative value would reward disagreement.")
    return number


def check_share(name: str, value: Any, with_one: bool = True) -> float:
    """Return `value` as a float if it is a number from 0 to 1; without `with_one`, below 1.

    Raises:
        TypeError: it is not a real number.
        ValueError: it is another number.
    """
    number = _check_number(name, value)
    if number < 0 or number > 1 or (number == 1 and not with_one):
        raise ValueError(f"{name} is {value!r}, wanted a number from 0 to 1{'' if with_one else ', and not 1 itself'}.")
    return number


def check_whole(name: str, value: Any, low: int) -> int:
    """Return `value` as an int if it is a whole number of at least `low`, such as 10 or 10.0.

    Raises:
        TypeError: it is not a real number.
        ValueError: it is another number.
    """
    number = _check_number(name, value)
    if number < low or not number.is_integer():
        raise ValueError(f"{name} is {value!r}, wanted a whole number of at least {low}.")
    return int(number)


def _check_number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} is {value!r} ({type(value).__name__}), wanted a plain number such as 2.0.")
    if not math.isfinite(value):
        raise ValueError(f"{name} is {value!r}, wanted a finite number.")
    return float(value)


def check_logits(name: str, logits: Any) -> None:
    """Check that `logits` is a finite floating tensor (B, C) with B >= 1 and C >= 2.

    Raises:
        TypeError: not a tensor, or not of a floating dtype.
        ValueError: another shape, or NaN or infinity (looked for on the CPU in eager mode only).
    """
    if not isinstance(logits, Tensor):
        raise TypeError(f"{name} is a {type(logits).__name__}, wanted a torch.Tensor of shape (B, C).")
    if not logits.is_floating_point():
        raise TypeError(
            f"{name} has dtype {logits.dtype}, wanted a floating dtype. Pass the raw outputs of the "
            f"classifier, not predicted labels; whole-numbered logits need {name}.float()."
        )
    _check_logits_shape(name, logits)
    if _may_read_values(logits):
        _check_finite(name, logits.detach())


def _check_logits_shape(name: str, logits: Tensor) -> None:
    if logits.ndim != 2:
        todo = (
            f"A single sample needs {name}.unsqueeze(0)."
            if logits.ndim < 2
            else f"Put the class axis last, then {name}.flatten(0, -2) makes every position a row."
        )
        raise ValueError(
            f"{name} has shape {tuple(logits.shape)}, wanted (B, C): one row a sample, one column a class. {todo}"
        )
    if logits.shape[0] == 0:
        raise ValueError(
            f"{name} has shape {tuple(logits.shape)}: an empty batch has no mean. Skip the step, or drop the "
            "last incomplete batch in the data loader."
        )
    if logits.shape[1] < 2:
        raise ValueError(
            f"{name} has shape {tuple(logits.shape)}: the softmax of a single class is always 1, so nothing "
            "can be distilled. Write a sigmoid output z as the two logits [0, z] and use KD(temperature=4.0)."
        )


def _check_finite(name: str, logits_BC: Tensor) -> None:
    # NaN and infinity survive a sum, which takes a tenth of the time of looking at every value; a sum of finite values
    # that overflows is looked at again below.
    if math.isfinite(logits_BC.sum(dtype=torch.promote_types(logits_BC.dtype, torch.float32)).item()):
        return
    bad_BC = ~torch.isfinite(logits_BC)
    if not bad_BC.any():
        return
    row, column = bad_BC.nonzero()[0].tolist()
    raise ValueError(
        f"{name} holds NaN or infinity in {int(bad_BC.sum())} of {logits_BC.numel()} values, the first in row "
        f"{row}, column {column}: {logits_BC[row, column].item()}. Wanted finite logits. Look for a learning "
        "rate that is too high, an overflow in half precision, or damaged inputs or weights."
    )


def check_pair(logits_student: Any, logits_teacher: Any) -> None:
    """Check both logit tensors (see `check_logits`) and that they agree in shape and device.

    Raises:
        TypeError, ValueError: as `check_logits`; ValueError also where shapes or devices differ.
    """
    check_logits("logits_student", logits_student)
    check_logits("logits_teacher", logits_teacher)
    if logits_student.shape != logits_teacher.shape:
        raise ValueError(
            f"logits_student has shape {tuple(logits_student.shape)} and logits_teacher "
            f"{tuple(logits_teacher.shape)}, wanted the same shape (B, C). Feed both networks the same "
            "batch, and give both classifiers the same classes in the same order."
        )
    _check_same_device("logits_teacher", logits_teacher, logits_student)


def check_target(target: Any, logits_student: Tensor, needed_by: str) -> Tensor:
    """The labels, checked: one int64 class index in 0..C-1, or -100, for each row of `logits_student`.

    Raises:
        TypeError: missing, not a tensor, or not int64.
        ValueError: another shape or device, or another label (CPU in eager mode only).
    """
    batch, classes = logits_student.shape
    if target is None:
        raise TypeError(
            f"target is missing: {needed_by} compares the true class with the others. Pass the labels as "
            "third argument: an int64 tensor of shape (B,)."
        )
    if not isinstance(target, Tensor):
        raise TypeError(f"target is a {type(target).__name__}, wanted an int64 tensor of shape (B,).")
    _check_target_shape(target, batch, classes)
    if target.dtype != torch.int64:
        raise TypeError(f"target has dtype {target.dtype}, wanted torch.int64 class indices: use target.long().")
    _check_same_device("target", target, logits_student)
    if _may_read_values(target):
        _check_target_range(target, classes)
    return target


def check_not_multi_label(target: Any, logits: Tensor) -> None:
    """ValueError where a target (B, C) marks several classes of one sample (looked at on the CPU in eager mode only).

    Soft labels, which sum to 1, are none of this function's business.
    """
    if not isinstance(target, Tensor) or target.shape != logits.shape or not _may_read_values(target):
        return
    marked_B = target.detach().float().sum(dim=1)
    if (most := float(marked_B.max())) > 1.5:
        raise ValueError(
            f"target marks {most:g} of {logits.shape[1]} classes for one sample: a multi-label task. Softmax lets "
            "classes compete, so it would teach that one excludes the others. Ask for each class by itself, as two "
            "logits [0, z]: "
            "KD(4.0)(pairs(logits_student), pairs(logits_teacher)) with "
            "pairs = lambda z: torch.stack([torch.zeros_like(z), z], -1).flatten(0, -2)."
        )


def _check_target_shape(target: Tensor, batch: int, classes: int) -> None:
    if target.shape == (batch,):
        return
    todo = "Labels and logits must come from the same batch."
    if target.shape == (batch, classes):
        todo = "One-hot or soft labels: pass class indices, target.argmax(dim=1)."
    elif target.ndim == 2 and target.shape[1] == 1:
        todo = "Drop the last axis: target.squeeze(1)."
    raise ValueError(
        f"target has shape {tuple(target.shape)}, wanted ({batch},): one class index for each row of "
        "logits_student. " + todo
    )


def _check_target_range(target_B: Tensor, classes: int) -> None:
    counted_B = target_B[target_B != IGNORED]
    low, high = (int(bound) for bound in counted_B.aminmax()) if len(counted_B) else (0, 0)
    if low >= 0 and high < classes:
        return
    todo = "The data set has other classes than the classifier: compare num_classes with the labels."
    if low < 0:
        todo = "Negative labels often mark unlabelled samples: -100 leaves such rows out."
    elif low >= 1 and high == classes:
        todo = "The labels seem to start at 1: pass target - 1."
    raise ValueError(
        f"target holds labels from {low} to {high}, wanted 0 to {classes - 1} for logits of {classes} classes. {todo}"
    )


def rows_that_count(target: Any, logits: Tensor) -> Tensor | None:
    """Which rows of `logits` have another label than -100, bool (B,); None where all do, or there are no labels.

    Nobody waits for a GPU here: there the answer is a mask even where all rows count. What is no int64 tensor (B,), as
    a loss without need of labels may be given, marks nothing.
    """
    if not isinstance(target, Tensor) or target.dtype != torch.int64 or target.shape != logits.shape[:1]:
        return None
    counts_B = target != IGNORED
    return None if _may_read_values(target) and bool(counts_B.all()) else counts_B


def _check_same_device(name: str, tensor: Tensor, logits_student: Tensor) -> None:
    if tensor.device != logits_student.device:
        raise ValueError(
            f"{name} is on {tensor.device} and logits_student on {logits_student.device}, wanted one device: "
            f"use {name}.to(logits_student.device)."
        )


def _may_read_values(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu" and not torch.compiler.is_compiling()
