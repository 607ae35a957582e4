"""The tiny transformers: what they read, that they are causal, and that distillation does what the notebook says."""

import re

import numpy as np
import pytest
import torch

from normkd_explore.examples.tiny_transformer import (
    LENGTH,
    UNKNOWN,
    TinyTransformer,
    measure,
    read_documentation,
    train_language_model,
)
from normkd_explore.language import TokenKL, TokenNormKD


@pytest.fixture(scope="module")
def text():
    return read_documentation(vocabulary=60)


def make(seed=0, width=16):
    torch.manual_seed(seed)
    return TinyTransformer(width=width, layers=1, vocabulary=60, heads=2)


def test_text_is_numbered_by_frequency_and_its_end_is_held_out(text):
    counts = np.bincount(text.train_N.numpy(), minlength=60)
    assert len(text.words) == 60 and text.words[UNKNOWN] == "<other>" and "the" in text.words[1:5]
    assert (counts[1:30] > counts[-1]).all() and counts.sum() > 50_000
    assert text.held_out_BL.shape[1] == LENGTH + 1 and text.held_out_BL.numel() > 5_000
    assert int(text.held_out_BL.max()) < 60 and torch.equal(text.train_N, read_documentation(60).train_N)


@pytest.mark.parametrize("arguments", [{"vocabulary": 1}, {"held_out": 1.0}])
def test_impossible_texts_are_refused(arguments):
    with pytest.raises(ValueError, match="at least 2 words"):
        read_documentation(**arguments)


def test_no_position_sees_what_follows(text):
    model, words_BL = make(), text.held_out_BL[:2, :-1].clone()
    before = model(words_BL)
    words_BL[:, 20:] = (words_BL[:, 20:] + 1) % 60
    after = model(words_BL)
    torch.testing.assert_close(after[:, :20], before[:, :20])
    assert (after[:, 20:] - before[:, 20:]).abs().amax(dim=2).min() > 1e-4


def test_one_seed_gives_the_same_batches_to_all(text):
    first, second = (train_language_model(make(1), text, 3, seed=7).state_dict() for _ in range(2))
    other = train_language_model(make(1), text, 3, seed=8).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["head.bias"], other["head.bias"])


def test_progress_tells_step_loss_and_top1_and_changes_nothing(text, capsys):
    quiet, told = train_language_model(make(1), text, 4), train_language_model(make(1), text, 4, name="student")
    assert all(torch.equal(value, told.state_dict()[key]) for key, value in quiet.state_dict().items())
    line = capsys.readouterr().err
    assert re.fullmatch(r"language model step 4/4  student: loss \d\.\d{3}, top-1 \d+\.\d %  took \d+ s\n", line)


def test_half_a_distillation_is_refused(text):
    with pytest.raises(ValueError, match="wanted both or neither"):
        train_language_model(make(), text, 1, teacher=make())


def test_measures_are_those_of_plain_arithmetic(text):
    student, teacher = make(1).eval(), make(2).eval()
    numbers = measure(student, text, teacher)
    words_BL, next_BL = text.held_out_BL[:, :-1], text.held_out_BL[:, 1:]
    with torch.no_grad():
        s, t = (model(words_BL).double().flatten(0, 1).numpy() for model in (student, teacher))
    p, q = (np.exp(z) / np.exp(z).sum(axis=1, keepdims=True) for z in (t, s))
    assert numbers["kl"] == pytest.approx((p * np.log(p / q)).sum(axis=1).mean(), rel=1e-3)
    assert numbers["nats"] == pytest.approx(-np.log(q[np.arange(len(q)), next_BL.flatten()]).mean(), rel=1e-4)
    assert numbers["agreement"] == pytest.approx((s.argmax(1) == t.argmax(1)).mean())
    assert numbers["std"] == pytest.approx(s.std(axis=1, ddof=1).mean(), rel=1e-4)
    assert measure(teacher, text, teacher)["kl"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("loss", [TokenKL(1.0), TokenNormKD(1.0)])
def test_distillation_brings_the_student_nearer_to_its_teacher(text, loss):
    teacher = train_language_model(make(2, width=48), text, 150)
    alone = measure(train_language_model(make(1), text, 60), text, teacher)
    taught = measure(train_language_model(make(1), text, 60, teacher, loss), text, teacher)
    assert taught["kl"] < 0.95 * alone["kl"] and taught["nats"] < alone["nats"]
