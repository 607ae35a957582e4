"""Features, their neighbours and class correlations, against loops and cases known by construction."""

from __future__ import annotations

import builtins

import numpy as np
import pytest
import torch

from normkd_explore.analysis import model_logits, pictures, spread_index
from normkd_explore.analysis.embeddings import (
    correlation_difference,
    logit_correlation,
    model_outputs,
    neighbour_agreement,
    tsne,
)
from normkd_explore.data import load_dataset
from normkd_explore.models import create_model

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def glyphs():
    return load_dataset("glyphs", train_size=100, val_size=100, test_size=100)


def test_outputs_are_the_logits_and_what_the_classifier_sees(glyphs):
    model = create_model("resnet8", num_classes=100).eval()
    images = pictures(glyphs.test, spread_index(5, 100))
    logits, features = model_outputs(model, glyphs, images)
    np.testing.assert_allclose(logits, model_logits(model, glyphs, images).numpy(), atol=1e-12)
    weight, bias = model.fc.weight.detach().double().numpy(), model.fc.bias.detach().double().numpy()
    np.testing.assert_allclose(features @ weight.T + bias, logits, atol=1e-12)
    assert next(model.parameters()).dtype == torch.float32  # the model itself is left as it was


def test_a_foreign_model_is_named(glyphs):
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, 100))
    with pytest.raises(TypeError, match="Sequential does not hand out features"):
        model_outputs(model, glyphs, pictures(glyphs.test, spread_index(2, 100)))


def test_neighbours_are_those_of_a_loop():
    x, labels = RNG.normal(size=(30, 4)), RNG.integers(0, 3, 30)
    shares = []
    for i in range(30):
        others = sorted((float(((x[i] - x[j]) ** 2).sum()), j) for j in range(30) if j != i)
        shares.append(np.mean([labels[j] == labels[i] for _, j in others[:4]]))
    assert neighbour_agreement(x, labels, k=4) == pytest.approx(np.mean(shares), abs=1e-12)


def test_separate_groups_agree_fully_and_k_is_checked():
    x = np.concatenate([RNG.normal(size=(8, 3)), 100 + RNG.normal(size=(8, 3))])
    labels = [0] * 8 + [1] * 8
    assert neighbour_agreement(x, labels, k=7) == 1.0
    assert neighbour_agreement(x, labels, k=15) == pytest.approx(7 / 15)
    for k in (0, 16):
        with pytest.raises(ValueError, match="wanted 1 to 15"):
            neighbour_agreement(x, labels, k=k)


def test_correlation_is_numpys_and_blind_to_scale_and_shift():
    z = RNG.normal(size=(50, 6))
    found = logit_correlation(torch.from_numpy(z))
    np.testing.assert_allclose(found, np.corrcoef(z, rowvar=False), atol=1e-12)
    scaled = z * np.arange(1, 7) - 5 * np.arange(6)
    np.testing.assert_allclose(correlation_difference(scaled, z), 0, atol=1e-12)
    assert correlation_difference(z * [1, -1, 1, 1, 1, 1], z)[0, 1] == pytest.approx(2 * abs(found[0, 1]))


def test_correlation_errors_teach():
    with pytest.raises(ValueError, match="class 1 is the same in all samples"):
        logit_correlation([[1.0, 2.0], [3.0, 2.0]])
    with pytest.raises(ValueError, match="at least two samples"):
        logit_correlation([[1.0, 2.0]])
    with pytest.raises(ValueError, match=r"\(5, 3\) \(student\) and \(4, 3\) \(teacher\)"):
        correlation_difference(np.ones((5, 3)), np.ones((4, 3)))


def test_tsne_keeps_groups_and_its_seed():
    pytest.importorskip("sklearn")
    x = np.concatenate([RNG.normal(size=(12, 5)), 30 + RNG.normal(size=(12, 5))])
    first = tsne(x, seed=3, perplexity=5)
    assert first.shape == (24, 2) and np.array_equal(first, tsne(x, seed=3, perplexity=5))
    assert neighbour_agreement(first, [0] * 12 + [1] * 12, k=5) == 1.0
    with pytest.raises(ValueError, match="found 24 samples, wanted more than the perplexity"):
        tsne(x, perplexity=24)


def test_missing_scikit_learn_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **options):
        if name.startswith("sklearn"):
            raise ModuleNotFoundError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ModuleNotFoundError, match="pip install"):
        tsne(np.ones((30, 3)))
