"""Feature losses against numpy in float64, one sample at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from normkd_explore.feature_losses import AT, CRD, NST, PKT, RKD, SP, VID, ReviewKD
from normkd_explore.feature_losses.review import context_loss
from tests.helpers.feature_cases import INDEX, MAPS_S, MAPS_T, POOLED, SHAPES, WIDTHS, B, crd, fitnet, made, rand


def np_pool(x: np.ndarray, size: int) -> np.ndarray:
    step = x.shape[-1] // size
    return x.reshape(*x.shape[:-2], size, step, size, step).mean((-3, -1))


def np_smaller(s: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    size = min(s.shape[-1], t.shape[-1])
    return np_pool(s, size), np_pool(t, size)


def np_norm_relu(x: np.ndarray, relu: bool = True) -> np.ndarray:
    """Batch norm in training, at its first weights."""
    mean, var = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
    y = (x - mean) / np.sqrt(var + 1e-5)
    return np.maximum(y, 0) if relu else y


def np_conv1(x: np.ndarray, w: torch.Tensor, bias: torch.Tensor | None = None) -> np.ndarray:
    y = np.einsum("bkhw,ok->bohw", x, w.detach().numpy()[:, :, 0, 0])
    return y if bias is None else y + bias.detach().numpy()[:, None, None]


def np_conv3(x: np.ndarray, w: torch.Tensor) -> np.ndarray:
    padded, w = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))), w.detach().numpy()
    height, width = x.shape[2:]
    taps = [(i, j) for i in range(3) for j in range(3)]
    return sum(np.einsum("bkhw,ok->bohw", padded[:, :, i : i + height, j : j + width], w[:, :, i, j]) for i, j in taps)


def np_nearest(x: np.ndarray, size: int) -> np.ndarray:
    at = np.arange(size) * x.shape[-1] // size
    return x[:, :, at][:, :, :, at]


def np_attention(x: np.ndarray) -> np.ndarray:
    rows = [(sample**2).mean(0).ravel() for sample in x]
    return np.array([row / np.linalg.norm(row) for row in rows])


def test_fitnet_equals_numpy():
    loss = made(fitnet)
    conv = loss.regressor[0]
    guess = np_norm_relu(np_conv1(MAPS_S[0].numpy(), conv.weight, conv.bias))
    assert loss(MAPS_S[0], MAPS_T[0]).item() == pytest.approx(((guess - MAPS_T[0].numpy()) ** 2).mean(), rel=1e-9)


def test_at_equals_numpy():
    pairs = [np_smaller(s.numpy(), t.numpy()) for s, t in zip(MAPS_S, MAPS_T, strict=True)]
    wanted = sum(((np_attention(s) - np_attention(t)) ** 2).mean() for s, t in pairs)
    assert AT()(MAPS_S, MAPS_T).item() == pytest.approx(wanted, rel=1e-9)


def smooth_l1(x: float) -> float:
    return x * x / 2 if abs(x) < 1 else abs(x) - 0.5


def np_angle(f: np.ndarray, i: int, j: int, k: int) -> float:
    if i in (j, k):
        return 0.0
    a, b = f[j] - f[i], f[k] - f[i]
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_rkd_equals_numpy():
    s, t = (3 * side.numpy() for side in POOLED)
    distances = [np.array([[np.linalg.norm(a - b) for a in f] for b in f]) for f in (s, t)]
    s_d, t_d = (d / d[d > 0].mean() for d in distances)
    by_distance = np.mean([smooth_l1(x) for x in (s_d - t_d).ravel()])
    triples = [(i, j, k) for i in range(B) for j in range(B) for k in range(B)]
    by_angle = np.mean([smooth_l1(np_angle(s, *triple) - np_angle(t, *triple)) for triple in triples])
    assert RKD()(*POOLED).item() == pytest.approx(25 * by_distance + 50 * by_angle, rel=1e-9)
    assert RKD(2, 0)(*POOLED).item() == pytest.approx(2 * by_distance, rel=1e-9)


def test_sp_equals_numpy():
    def gram(x):
        flat = [sample.ravel() for sample in x]
        rows = [[float(a @ b) for b in flat] for a in flat]
        return np.array([row / np.linalg.norm(row) for row in rows])

    s, t = MAPS_S[0].numpy(), MAPS_T[1].numpy()
    assert SP()(MAPS_S[0], MAPS_T[1]).item() == pytest.approx(((gram(s) - gram(t)) ** 2).sum() / B**2, rel=1e-9)


def test_pkt_equals_numpy():
    def neighbours(f):
        cosines = [[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in f] for a in f]
        rows = (np.array(cosines) + 1) / 2
        return rows / rows.sum(1, keepdims=True)

    P_s, P_t = (neighbours(side.numpy()) for side in POOLED)
    wanted = np.mean(P_t * np.log((P_t + 1e-7) / (P_s + 1e-7)))
    assert PKT()(*POOLED).item() == pytest.approx(wanted, rel=1e-6)


def test_nst_equals_numpy():
    wanted = 0.0
    for pair in zip(MAPS_S, MAPS_T, strict=True):
        s, t = (
            [[k.ravel() / np.linalg.norm(k) for k in x] for x in side]
            for side in np_smaller(*(x.numpy() for x in pair))
        )
        for a, b, sign in ((t, t, 1), (s, s, 1), (s, t, -2)):
            wanted += sign * np.mean([[(p @ q) ** 2 for p in a[i] for q in b[i]] for i in range(B)])
    assert NST()(MAPS_S, MAPS_T).item() == pytest.approx(wanted, rel=1e-9)


def test_vid_equals_numpy():
    loss = made(lambda: VID(*WIDTHS, variance=3.0))
    with torch.no_grad():
        loss.stages[0].a += 0.5 * rand(3)
    wanted = 0.0
    for stage, *pair in zip(loss.stages, MAPS_S, MAPS_T, strict=True):
        x, t = np_smaller(*(side.numpy() for side in pair))
        x = np.maximum(np_conv1(x, stage.mean[0].weight), 0)
        x = np.maximum(np_conv1(x, stage.mean[2].weight), 0)
        var = (np.log1p(np.exp(stage.a.detach().numpy())) + 1e-5)[:, None, None]
        wanted += 0.5 * np.mean((np_conv1(x, stage.mean[4].weight) - t) ** 2 / var + np.log(var))
    assert loss(MAPS_S, MAPS_T).item() == pytest.approx(wanted, rel=1e-9)
    assert np.log1p(np.exp(loss.stages[1].a.detach().numpy())) + 1e-5 == pytest.approx(3.0)


def np_contrast(loss: CRD, side: str, pooled: torch.Tensor, bank: np.ndarray, picks: np.ndarray, Z: float):
    embed = getattr(loss, f"embed_{side}")
    u = pooled.numpy() @ embed.weight.detach().numpy().T + embed.bias.detach().numpy()
    u = u / np.linalg.norm(u, axis=1, keepdims=True)
    scores = np.array([[math.exp(u[b] @ bank[j] / 0.07) for j in picks[b]] for b in range(B)])
    Z = scores.mean() * len(bank) if Z < 0 else Z
    P, noise = scores / Z, loss.negatives / len(bank)
    true = np.log(P[:, 0] / (P[:, 0] + noise + 1e-7)).sum()
    false = np.log(noise / (P[:, 1:] + noise + 1e-7)).sum()
    return -(true + false) / B, u, Z


def test_crd_equals_numpy_over_three_steps_with_its_banks():
    loss = made(crd)
    banks, Z = {side: getattr(loss, f"bank_{side}").numpy().copy() for side in "st"}, {"s": -1.0, "t": -1.0}
    for step in range(3):
        pooled = {"s": rand(B, 5, seed=20 + step), "t": rand(B, 7, seed=30 + step)}
        torch.manual_seed(step)
        picks = np.column_stack([INDEX.numpy(), loss.strangers(INDEX, 4).numpy()])
        wanted, new = 0.0, {}
        for side, other in ("st", "ts"):
            part, new[side], Z[side] = np_contrast(loss, side, pooled[side], banks[other], picks, Z[side])
            wanted += part
        torch.manual_seed(step)
        assert loss(pooled["s"], pooled["t"], INDEX).item() == pytest.approx(wanted, rel=1e-8)
        for side in "st":
            rows = 0.5 * banks[side][INDEX] + 0.5 * new[side]
            banks[side][INDEX] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
            assert getattr(loss, f"bank_{side}").numpy() == pytest.approx(banks[side], abs=1e-9)
    assert (loss.Z_s.item(), loss.Z_t.item()) == pytest.approx((Z["s"], Z["t"]))


def np_context(s: np.ndarray, t: np.ndarray) -> float:
    height = s.shape[-1]
    parts = [(1.0, ((s - t) ** 2).mean())]
    for size in (4, 2, 1):
        if size < height:
            parts.append((parts[-1][0] / 2, ((np_pool(s, size) - np_pool(t, size)) ** 2).mean()))
    return sum(w * d for w, d in parts) / sum(w for w, _ in parts)


def test_reviewkd_equals_numpy():
    loss = made(lambda: ReviewKD(*SHAPES))
    wanted, y = 0.0, None
    for at in (2, 1, 0):
        fusion, x, t = loss.fusions[at], MAPS_S[at].numpy(), MAPS_T[at].numpy()
        x = np_norm_relu(np_conv1(x, fusion.reduce[0].weight), relu=False)
        if at < 2:
            y = np_nearest(y, x.shape[-1])
            z = np_conv1(np.concatenate([x, y], 1), fusion.gates[0].weight, fusion.gates[0].bias)
            z = 1 / (1 + np.exp(-z))
            x = x * z[:, :1] + y * z[:, 1:]
        y = np_nearest(x, t.shape[-1])
        guess = np_norm_relu(np_conv3(y, fusion.expand[0].weight), relu=False)
        if t.shape[-1] != 6:  # numpy's pooling above wants sizes that divide
            wanted += np_context(guess, t)
        else:
            wanted += context_loss(torch.tensor(guess), MAPS_T[at]).item()
    assert loss(MAPS_S, MAPS_T).item() == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_context_loss_equals_numpy(size):
    s, t = rand(2, 3, size, size, seed=1), rand(2, 3, size, size, seed=2)
    assert context_loss(s, t).item() == pytest.approx(np_context(s.numpy(), t.numpy()), rel=1e-9)
