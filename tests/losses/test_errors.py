"""Wrong inputs raise errors that name the argument, what was found, what was wanted and what to do."""

import pytest
import torch

from normkd_explore.losses import CE, DKD, KD, LSKD, NormDKD, NormKD

ALL = [CE(), KD(), NormKD(), LSKD(), DKD(), NormDKD()]
WITH_TEACHER = ALL[1:]
WITH_LABELS = [CE(), DKD(), NormDKD()]


def logits(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


LABELS = torch.tensor([0, 9, 3, 4])


def changed(value: float) -> torch.Tensor:
    z = logits(4, 10)
    z[2, 7] = value
    return z


BAD_LOGITS = {
    "list": ([[1.0, 2.0]], TypeError, r"is a list, wanted a torch.Tensor of shape \(B, C\)"),
    "none": (None, TypeError, "is a NoneType, wanted a torch.Tensor"),
    "integer": (
        torch.ones(4, 10).long(),
        TypeError,
        r"dtype torch.int64, wanted a floating dtype.*raw outputs",
    ),
    "bool": (torch.ones(4, 10).bool(), TypeError, "dtype torch.bool"),
    "one sample": (logits(10), ValueError, r"shape \(10,\), wanted \(B, C\).*unsqueeze\(0\)"),
    "scalar": (logits(), ValueError, r"shape \(\), wanted \(B, C\)"),
    "sequence": (logits(4, 5, 10), ValueError, r"shape \(4, 5, 10\), wanted \(B, C\).*flatten\(0, -2\)"),
    "empty": (logits(0, 10), ValueError, r"shape \(0, 10\): an empty batch"),
    "one class": (logits(4, 1), ValueError, r"shape \(4, 1\).*always 1.*\[0, z\]"),
    "nan": (
        changed(float("nan")),
        ValueError,
        "NaN or infinity in 1 of 40 values.*row 2, column 7: nan.*finite",
    ),
    "inf": (changed(float("-inf")), ValueError, "row 2, column 7: -inf.*learning rate"),
}
BAD_LABELS = {
    "missing": (None, TypeError, "target is missing: .*third argument"),
    "list": ([0, 1, 2, 3], TypeError, r"target is a list, wanted an int64 tensor of shape \(B,\)"),
    "wrong length": (
        torch.zeros(3).long(),
        ValueError,
        r"target has shape \(3,\), wanted \(4,\).*same batch",
    ),
    "column": (LABELS[:, None], ValueError, r"shape \(4, 1\), wanted \(4,\).*squeeze\(1\)"),
    "one-hot": (torch.eye(10)[LABELS], ValueError, r"shape \(4, 10\), wanted \(4,\).*argmax\(dim=1\)"),
    "float": (LABELS.float(), TypeError, r"dtype torch.float32, wanted torch.int64.*target.long\(\)"),
    "int32": (LABELS.int(), TypeError, r"dtype torch.int32, wanted torch.int64"),
    "negative": (torch.tensor([0, -1, 3, 4]), ValueError, "from -1 to 4, wanted 0 to 9.*unlabelled.*-100 leaves such"),
    "from 1": (
        torch.tensor([1, 10, 3, 4]),
        ValueError,
        "from 1 to 10, wanted 0 to 9.*start at 1: pass target - 1",
    ),
    "too many": (torch.tensor([0, 57, 3, 4]), ValueError, "from 0 to 57, wanted 0 to 9.*num_classes"),
}


@pytest.mark.parametrize(("bad", "error", "words"), BAD_LOGITS.values(), ids=BAD_LOGITS)
@pytest.mark.parametrize("loss", ALL, ids=repr)
def test_student_logits(loss, bad, error, words):
    with pytest.raises(error, match="logits_student.*" + words):
        loss(bad, logits(4, 10), LABELS)


@pytest.mark.parametrize(("bad", "error", "words"), BAD_LOGITS.values(), ids=BAD_LOGITS)
@pytest.mark.parametrize("loss", WITH_TEACHER, ids=repr)
def test_teacher_logits(loss, bad, error, words):
    with pytest.raises(error, match="logits_teacher.*" + words):
        loss(logits(4, 10), bad, LABELS)


@pytest.mark.parametrize("shape", [(4, 11), (5, 10), (10, 4)], ids=str)
@pytest.mark.parametrize("loss", WITH_TEACHER, ids=repr)
def test_student_and_teacher_of_different_shape(loss, shape):
    numbers = rf"\(4, 10\) and logits_teacher \({shape[0]}, {shape[1]}\), wanted the same.*same classes"
    with pytest.raises(ValueError, match="logits_student has shape " + numbers):
        loss(logits(4, 10), logits(*shape), LABELS)


@pytest.mark.parametrize(("bad", "error", "words"), BAD_LABELS.values(), ids=BAD_LABELS)
@pytest.mark.parametrize("loss", WITH_LABELS, ids=repr)
def test_labels(loss, bad, error, words):
    with pytest.raises(error, match=words):
        loss(logits(4, 10), logits(4, 10), bad)


@pytest.mark.parametrize("loss", WITH_LABELS, ids=repr)
def test_missing_labels_name_the_loss(loss):
    with pytest.raises(TypeError, match=f"target is missing: {type(loss).__name__} compares"):
        loss(logits(4, 10), logits(4, 10))


@pytest.mark.parametrize("loss", [NormKD(), LSKD(), NormDKD()], ids=repr)
def test_two_classes_have_no_use_for_a_standard_deviation(loss):
    why = r"0\.707.*piecewise constant.*exactly zero.*disagree"
    with pytest.raises(ValueError, match=rf"2 classes, wanted at least 3.*{why}.*KD\(temperature=4\.0\)"):
        loss(logits(4, 2), logits(4, 2), torch.tensor([0, 1, 1, 0]))


@pytest.mark.parametrize("loss", [CE(), KD(), DKD()], ids=repr)
def test_two_classes_are_fine_with_a_constant_temperature(loss):
    s = logits(4, 2).requires_grad_()
    loss(s, -s, torch.tensor([0, 1, 1, 0])).backward()
    assert s.grad.abs().max() > 0


@pytest.mark.parametrize("argument", ["logits_teacher", "target"])
def test_devices_must_agree(argument):
    inputs = {"logits_student": logits(4, 10), "logits_teacher": logits(4, 10), "target": LABELS}
    inputs[argument] = inputs[argument].to("meta")
    with pytest.raises(ValueError, match=rf"{argument} is on meta and logits_student on cpu.*\.to\("):
        DKD()(**inputs)


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (KD, "temperature"),
        (LSKD, "temperature"),
        (DKD, "temperature"),
        (NormKD, "t_norm"),
        (NormDKD, "t_norm"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_constructors_refuse_bad_temperatures(make, argument):
    for bad in (0, -2.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=rf"(temperature|t_norm) is {bad}, wanted"):
            make(**{argument: bad})
    with pytest.raises(TypeError, match=r"is '4' \(str\), wanted a plain number"):
        make(**{argument: "4"})


@pytest.mark.parametrize("make", [DKD, NormDKD])
@pytest.mark.parametrize("argument", ["alpha", "beta"])
def test_constructors_refuse_negative_factors(make, argument):
    with pytest.raises(ValueError, match=f"{argument} is -0.5, wanted 0 or more"):
        make(**{argument: -0.5})


def test_infinities_that_cancel_in_a_sum_are_found() -> None:
    bad = logits(4, 10)
    bad[1, 2], bad[3, 4] = float("inf"), float("-inf")
    with pytest.raises(ValueError, match=r"NaN or infinity in 2 of 40 values.*row 1, column 2: inf"):
        KD()(bad, logits(4, 10))


def test_finite_logits_whose_sum_overflows_are_welcome() -> None:
    big = logits(4, 10) + torch.finfo(torch.float32).max / 8
    assert torch.isfinite(KD()(big, logits(4, 10)))
