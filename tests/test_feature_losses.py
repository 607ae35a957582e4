"""Feature losses against numpy in float64, finite differences, the identities they obey, and hostile input."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from normkd_explore.feature_losses import (
    AT,
    CRD,
    NST,
    PKT,
    RKD,
    SDD,
    SP,
    VID,
    FitNet,
    Regressor,
    ReviewKD,
    cell_logits,
    find_head,
)
from normkd_explore.feature_losses.contrastive import Strangers
from normkd_explore.feature_losses.review import context_loss
from normkd_explore.losses import DKD, KD, NormKD
from normkd_explore.models import create_model

LABELS = torch.tensor([0, 1, 2, 0, 1, 2, 0, 0, 1])
INDEX = torch.tensor([4, 0, 7])
B = len(INDEX)


def rand(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def made(build, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build().double()


MAPS_S = (rand(B, 2, 6, 6, seed=1), rand(B, 3, 4, 4, seed=2), rand(B, 4, 2, 2, seed=3))
MAPS_T = (rand(B, 3, 6, 6, seed=4), rand(B, 4, 2, 2, seed=5), rand(B, 5, 4, 4, seed=6))
POOLED = (rand(B, 5, seed=7), rand(B, 7, seed=8))
SHAPES = [[tuple(m.shape[1:]) for m in maps] for maps in (MAPS_S, MAPS_T)]
WIDTHS = [[shape[0] for shape in shapes] for shapes in SHAPES]
CELLS = (2 * rand(B, 5, 4, seed=9), 2 * rand(B, 5, 4, seed=10))
TARGET = torch.tensor([1, 3, 0])


def fitnet(place: int = 0) -> FitNet:
    return FitNet(Regressor(SHAPES[0][place], SHAPES[1][place]))


def crd(**options) -> CRD:
    return CRD(5, 7, LABELS, **{"embedding": 6, "negatives": 4, **options})


# name: (loss, student's arguments, teacher's arguments, the rest)
CASES = {
    "fitnet": (fitnet, MAPS_S[0], MAPS_T[0], ()),
    "fitnet-smaller": (lambda: fitnet(1), MAPS_S[1], MAPS_T[1], ()),
    "fitnet-larger": (lambda: fitnet(2), MAPS_S[2], MAPS_T[2], ()),
    "at": (AT, MAPS_S, MAPS_T, ()),
    "rkd": (RKD, *POOLED, ()),
    "sp": (SP, MAPS_S[0], MAPS_T[1], ()),
    "pkt": (PKT, *POOLED, ()),
    "nst": (NST, MAPS_S, MAPS_T, ()),
    "vid": (lambda: VID(*WIDTHS), MAPS_S, MAPS_T, ()),
    "crd": (crd, *POOLED, (INDEX,)),
    "reviewkd": (lambda: ReviewKD(*SHAPES), MAPS_S, MAPS_T, ()),
    "sdd": (lambda: SDD(KD(4.0)), *CELLS, (TARGET,)),
    "sdd-dkd": (lambda: SDD(DKD(), average=False), *CELLS, (TARGET,)),
    "sdd-normkd": (lambda: SDD(NormKD()), *CELLS, (TARGET,)),
}
cases = pytest.mark.parametrize("name", CASES)


def as_list(side):
    return list(side) if isinstance(side, tuple) else [side]


def called(loss, student, teacher, rest, like):
    """The loss on lists of tensors, its random draws fixed."""
    torch.manual_seed(11)
    return loss(student, teacher, *rest) if isinstance(like, tuple) else loss(student[0], teacher[0], *rest)


# --- numpy, one sample at a time -------------------------------------------------------------------------------------


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


def test_nst_sees_the_set_of_channels_alone():
    changed = [x.flip(1) * torch.linspace(0.5, 3, x.shape[1], dtype=x.dtype)[:, None, None] for x in MAPS_S]
    torch.testing.assert_close(NST()(changed, MAPS_T), NST()(MAPS_S, MAPS_T))
    assert NST()(changed, MAPS_S).item() == pytest.approx(0, abs=1e-12) and NST()(MAPS_S, MAPS_T) > 0


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


@pytest.mark.parametrize("average", [True, False])
def test_sdd_equals_numpy(average):
    s, t = (cells.numpy() for cells in CELLS)
    softmax = lambda z: np.exp(z) / np.exp(z).sum()  # noqa: E731
    total, twice = 0.0, 0
    for b in range(B):
        right = [t[b, p].argmax() == TARGET[b].item() for p in range(5)]
        for p in range(5):
            P_t, P_s = softmax(t[b, p] / 4), softmax(s[b, p] / 4)
            weight = 2 if right[p] != right[0] else 1
            twice += weight == 2
            total += weight * 16 * (P_t * np.log(P_t / P_s)).sum() / B / (5 if average else 1)
    assert 0 < twice < 5 * B
    assert SDD(KD(4.0), average)(*CELLS, TARGET).item() == pytest.approx(total, rel=1e-9)


# --- gradients -------------------------------------------------------------------------------------------------------


@cases
def test_gradients_are_finite_differences(name):
    build, student, teacher, rest = CASES[name]
    loss, inputs = made(build), [x.clone().requires_grad_() for x in as_list(student)]
    called(loss, as_list(student), as_list(teacher), rest, student)  # CRD: the constant Z is that of the first batch
    names, parameters = zip(*loss.named_parameters(), strict=True) if list(loss.parameters()) else ((), ())

    def value(*tensors):
        fresh = copy.deepcopy(loss)  # banks and running statistics as they were
        features, values = list(tensors[: len(inputs)]), dict(zip(names, tensors[len(inputs) :], strict=True))
        torch.manual_seed(11)
        arguments = (features, as_list(teacher)) if isinstance(student, tuple) else (features[0], teacher)
        return torch.func.functional_call(fresh, values, (*arguments, *rest))

    copies = [parameter.detach().clone().requires_grad_() for parameter in parameters]
    assert torch.autograd.gradcheck(value, (*inputs, *copies), eps=1e-6, atol=1e-6, rtol=1e-4, fast_mode=True)


@cases
def test_only_the_student_and_the_adapters_learn(name):
    build, student, teacher, rest = CASES[name]
    loss = made(build)
    sides = [[x.clone().requires_grad_() for x in as_list(side)] for side in (student, teacher)]
    called(loss, *sides, rest, student).backward()
    assert all(x.grad is not None and x.grad.abs().sum() > 0 for x in sides[0])
    assert all(x.grad is None for x in sides[1])
    # A bias before a batch norm has no effect: its gradient is rounding.
    assert all(parameter.grad is not None for parameter in loss.parameters())


# --- identities ------------------------------------------------------------------------------------------------------


def rotation(size: int, seed: int = 3) -> torch.Tensor:
    return torch.linalg.qr(rand(size, size, seed=seed))[0]


def test_at_ignores_the_scale_of_either_network():
    scaled = [factor * x for factor, x in zip((0.01, 3.0, 70.0), MAPS_S, strict=True)]
    torch.testing.assert_close(AT()(scaled, [5 * x for x in MAPS_T]), AT()(MAPS_S, MAPS_T))


def test_at_ignores_the_order_of_channels_and_zero_means_equal_attention():
    shuffled = [x.flip(1) for x in MAPS_S]
    torch.testing.assert_close(AT()(shuffled, MAPS_T), AT()(MAPS_S, MAPS_T))
    assert AT()([torch.cat([x, -x], 1) for x in MAPS_S], MAPS_S).item() == pytest.approx(0, abs=1e-15)


def test_relations_ignore_rotation():
    s, t = POOLED
    torch.testing.assert_close(RKD()(s @ rotation(5), t @ rotation(7)), RKD()(s, t))
    torch.testing.assert_close(PKT()(s @ rotation(5), t @ rotation(7)), PKT()(s, t))
    turned = (MAPS_S[0].flatten(1) @ rotation(72)).view_as(MAPS_S[0])
    torch.testing.assert_close(SP()(turned, MAPS_T[0]), SP()(MAPS_S[0], MAPS_T[0]))


def test_relations_ignore_scale_and_rkd_ignores_a_shift():
    s, t = POOLED
    torch.testing.assert_close(RKD()(7 * s + rand(5), 0.1 * t - 3), RKD()(s, t))
    each = torch.tensor([0.1, 2.0, 30.0], dtype=torch.float64)[:, None]
    torch.testing.assert_close(PKT()(each * s, t / each), PKT()(s, t))
    torch.testing.assert_close(SP()(3 * MAPS_S[0], 9 * MAPS_T[0]), SP()(MAPS_S[0], MAPS_T[0]))
    assert not torch.allclose(SP()(each[..., None, None] * MAPS_S[0], MAPS_T[0]), SP()(MAPS_S[0], MAPS_T[0]))


def test_relations_are_zero_exactly_for_equal_relations_and_for_a_batch_of_one():
    s, _ = POOLED
    assert RKD()(s, 2 * s @ rotation(5)).item() == pytest.approx(0, abs=1e-12)
    assert PKT()(s, s).item() == 0 and SP()(MAPS_S[0], MAPS_S[0]).item() == 0
    for loss, pair in ((RKD(), POOLED), (PKT(), POOLED), (SP(), (MAPS_S[0], MAPS_T[0]))):
        assert loss(*(side[:1] for side in pair)).item() == pytest.approx(0, abs=1e-15)


def test_relations_do_not_depend_on_the_order_of_the_batch():
    order = torch.tensor([2, 0, 1])
    for loss, (s, t) in ((RKD(), POOLED), (PKT(), POOLED), (SP(), (MAPS_S[0], MAPS_T[0]))):
        torch.testing.assert_close(loss(s[order], t[order]), loss(s, t))


def test_fitnet_is_zero_for_equal_maps_and_the_identity():
    loss = FitNet(nn.Identity())
    assert loss(MAPS_S[0], MAPS_S[0]).item() == 0
    torch.testing.assert_close(loss(MAPS_S[0] + 2, MAPS_S[0]), torch.tensor(4.0, dtype=torch.float64))


def test_vid_is_least_where_the_variance_is_the_squared_error():
    loss = made(lambda: VID([1], [1]))
    for convolution in loss.stages[0].mean[::2]:
        nn.init.zeros_(convolution.weight)
    teacher = [torch.full((2, 1, 3, 3), 2.0, dtype=torch.float64)]
    values = {}
    for variance in (3.0, 4.0, 5.0):
        loss.stages[0].a.data.fill_(math.log(math.expm1(variance - 1e-5)))
        values[variance] = loss([torch.ones_like(teacher[0])], teacher).item()
    assert min(values, key=values.get) == 4.0 and values[4.0] == pytest.approx((1 + math.log(4)) / 2)


def test_crd_is_positive_and_treats_both_networks_alike():
    first = made(crd)
    second = copy.deepcopy(first)
    second.embed_s, second.embed_t = second.embed_t, second.embed_s
    second.bank_s, second.bank_t = second.bank_t, second.bank_s
    for _ in range(2):
        torch.manual_seed(1)
        one = first(*POOLED, INDEX)
        torch.manual_seed(1)
        other = second(POOLED[1], POOLED[0], INDEX)
        torch.testing.assert_close(one, other)
        assert one > 0
    torch.testing.assert_close(first.bank_s, second.bank_t)


def test_crd_falls_when_both_embed_an_image_alike():
    loss = made(lambda: CRD(6, 6, LABELS, embedding=6, negatives=4))
    loss.embed_s = loss.embed_t = nn.Linear(6, 6).double()
    bank = nn.functional.normalize(rand(9, 6), dim=1)
    loss.bank_s, loss.bank_t = bank, bank.clone()
    x = torch.linalg.solve(loss.embed_s.weight, (bank[INDEX] - loss.embed_s.bias).T).T.detach()
    alike, strange = copy.deepcopy(loss)(x, x, INDEX), copy.deepcopy(loss)(x, x.flip(0), INDEX)
    assert alike < strange


def test_strangers_are_of_other_classes_and_equally_likely():
    torch.manual_seed(0)
    drawn = Strangers(LABELS)(torch.arange(9), 20_000)
    for row, label in zip(drawn, LABELS, strict=True):
        counts = torch.bincount(row, minlength=9)
        strangers = label != LABELS
        assert counts[~strangers].sum() == 0
        share = counts[strangers] / 20_000
        assert (share - 1 / strangers.sum()).abs().max() < 0.02


@pytest.mark.parametrize("base", [KD(4.0), DKD(), NormKD()])
def test_sdd_with_the_whole_image_alone_is_the_base_loss(base):
    s, t = (cells[:, :1] for cells in CELLS)
    for average in (True, False):
        torch.testing.assert_close(SDD(base, average)(s, t, TARGET), base(s[:, 0], t[:, 0], TARGET))


def test_sdd_averages_where_no_cell_contradicts():
    s, t = CELLS[0], CELLS[1][:, :1].expand(-1, 5, -1)
    wanted = torch.stack([KD(4.0)(s[:, p], t[:, p]) for p in range(5)])
    torch.testing.assert_close(SDD(KD(4.0))(s, t, TARGET), wanted.mean())
    torch.testing.assert_close(SDD(KD(4.0), average=False)(s, t, TARGET), wanted.sum())


def test_logits_of_the_cells_average_to_those_of_the_image():
    torch.manual_seed(0)
    classifier = nn.Linear(3, 4).double()
    cells = cell_logits(rand(2, 3, 8, 8), classifier, (1, 2, 4))
    assert cells.shape == (2, 21, 4)
    torch.testing.assert_close(cells[:, 0], classifier(rand(2, 3, 8, 8).mean((2, 3))))
    torch.testing.assert_close(cells[:, 1:5].mean(1), cells[:, 0])
    torch.testing.assert_close(cells[:, 5:].mean(1), cells[:, 0])
    corner = classifier(rand(2, 3, 8, 8)[..., :4, 4:].mean((2, 3)))
    torch.testing.assert_close(cells[:, 2], corner)


@pytest.mark.parametrize("name", ["resnet8", "wrn_16_1", "vgg8", "ShuffleV1"])
def test_head_gives_the_network_its_own_logits(name):
    torch.manual_seed(0)
    model = create_model(name, num_classes=7)
    head, images = find_head(model, 32), torch.randn(3, 3, 32, 32)
    logits, features = model.eval()(images, return_features=True)
    torch.testing.assert_close(head.cells(features, (1,))[:, 0], logits, rtol=1e-4, atol=1e-5)


# --- hostile input ---------------------------------------------------------------------------------------------------


@cases
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(name, dtype):
    build, student, teacher, rest = CASES[name]
    sides = [[x.to(dtype) for x in as_list(side)] for side in (student, teacher)]
    loss = made(build).float()
    exact = called(copy.deepcopy(loss), *([x.float() for x in side] for side in sides), rest, student)
    learning = [x.requires_grad_() for x in sides[0]]
    value = called(loss, learning, sides[1], rest, student)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, exact, rtol=1e-6, atol=1e-6)
    value.backward()
    assert all(x.grad.dtype == dtype and torch.isfinite(x.grad).all() for x in learning)


@pytest.mark.parametrize("name", ["at", "rkd", "sp", "pkt", "nst", "vid", "crd", "reviewkd", "fitnet"])
def test_dead_features_have_a_finite_and_moderate_gradient(name):
    """Samples whose features are all 0, two of them: norms, distances and angles have no derivative there."""
    build, student, teacher, rest = CASES[name]
    inputs = [x.clone().index_fill(0, torch.tensor([0, 1]), 0.0).requires_grad_() for x in as_list(student)]
    value = called(made(build), inputs, as_list(teacher), rest, student)
    value.backward()
    assert torch.isfinite(value) and all(x.grad.abs().max() < 1e3 for x in inputs)


@cases
def test_a_batch_of_one_is_finite(name):
    """The last batch of an epoch may be that small; batch norm has nothing to average over then."""
    build, student, teacher, rest = CASES[name]
    loss = made(build)
    sides = [[x[:1].clone().requires_grad_() for x in as_list(side)] for side in (student, teacher)]
    for _ in range(2):
        value = called(loss, *sides, [r[:1] for r in rest], student)
        value.backward()
        assert torch.isfinite(value) and all(torch.isfinite(x.grad).all() for x in sides[0])


@pytest.mark.parametrize("name", ["fitnet", "at", "rkd", "sp", "pkt", "nst", "vid", "crd", "reviewkd"])
def test_wrong_tensors_teach(name):
    build, student, teacher, rest = CASES[name]
    loss, s, t = made(build), as_list(student), as_list(teacher)
    with pytest.raises(ValueError, match=r"batch: found 2 samples of the student and 3"):
        called(loss, [x[:2] for x in s], t, [r[:2] for r in rest], student)
    with pytest.raises(ValueError, match=r"found shape .*wanted \(B, "):
        called(loss, [x[..., 0] for x in s], t, rest, student)
    with pytest.raises(TypeError, match=r"student's features: found torch.int64, wanted a floating tensor"):
        called(loss, [x.long() for x in s], t, rest, student)
    with pytest.raises(TypeError, match=r"teacher's features: found ndarray"):
        called(loss, s, [x.numpy() for x in t], rest, student)


@pytest.mark.parametrize("name", ["at", "nst", "vid", "reviewkd"])
def test_other_numbers_of_stages_teach(name):
    build = CASES[name][0]
    with pytest.raises(ValueError, match=r"found 3 of the student and 2 of the teacher.*rkd, sp, pkt, crd"):
        made(build)(MAPS_S, MAPS_T[:2])
    for make in (lambda: VID([1, 2], [1]), lambda: ReviewKD(SHAPES[0], SHAPES[1][:1])):
        with pytest.raises(ValueError, match="one by one"):
            make()


def test_other_errors_teach():
    with pytest.raises(ValueError, match=r"hint: found a map of the student of 5x5 .* 8x8.*--set hint"):
        Regressor((2, 5, 5), (2, 8, 8))
    with pytest.raises(ValueError, match=r"regressor: its output has shape \(3, 2, 6, 6\), wanted .*\(3, 3, 6, 6\)"):
        FitNet(nn.Identity())(MAPS_S[0], MAPS_T[0])
    with pytest.raises(ValueError, match="power"):
        AT(0.0)
    with pytest.raises(ValueError, match="angle"):
        RKD(angle=-1)
    with pytest.raises(ValueError, match="variance"):
        VID([1], [1], variance=0.0)
    with pytest.raises(ValueError, match="found one class"):
        CRD(2, 2, torch.zeros(4, dtype=torch.long))
    with pytest.raises(ValueError, match=r"found positions from 0 to 9, wanted 0 to 8"):
        made(crd)(*POOLED, torch.tensor([0, 9, 1]))
    with pytest.raises(ValueError, match=r"index: wanted .* an int64 tensor of shape \(3,\).*Batch.index_B"):
        made(crd)(*POOLED, INDEX[:2])
    with pytest.raises(ValueError, match=r"cells: found shapes \(3, 4\) .*cell_logits"):
        SDD(KD(4.0))(CELLS[0][:, 0], CELLS[1][:, 0], TARGET)
    with pytest.raises(ValueError, match=r"scales: found 4, wanted at most 2"):
        cell_logits(MAPS_S[2], nn.Linear(4, 3), (1, 4))
    with pytest.raises(ValueError, match=r"MobileNetV2: its logits are not a linear layer.*resnet"):
        find_head(create_model("MobileNetV2", num_classes=5), 32)
