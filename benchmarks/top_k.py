"""What a teacher's top k loses against all of its logits, on the tiny transformers that read Python's documentation.

    python -m benchmarks.top_k [steps of the teacher [steps of a student]]

A teacher of 2 layers and a student of 1 are trained (seed 0, vocabulary 500). On the held-out text, where the student
learns from the teacher: the loss with the top k over the loss with all logits, and how far the student's gradient (of
its logits) is off: its relative error, and its cosine with the full one. Then students are trained with each (three
seeds), and their KL to the teacher on the held-out text is compared. The largest k of a real vocabulary keeps a far
smaller share of the words, but a similar share of the mass, which is printed.
"""

from __future__ import annotations

import statistics
import sys

import torch
from torch import Tensor, nn

from normkd_explore.examples.tiny_transformer import TinyTransformer, measure, read_documentation, train_language_model
from normkd_explore.language import TokenKL, TokenLoss, TokenNormKD, TopK

KEPT = (8, 16, 32, 64)
LOSSES = {
    "KL, T 1": TokenKL(1.0),
    "KL, T 2": TokenKL(2.0),
    "KL, T 4": TokenKL(4.0),
    "NormKD, T_norm 1": TokenNormKD(1.0),
}
WAYS = {
    "rest": ("rest", "all"),
    "renormalised": ("renormalised", "all"),
    "rest, std of the kept": ("rest", "kept"),
    "renormalised, std of the kept": ("renormalised", "kept"),
}
SEEDS = 3
TRAINED_K = 16


class Keeping(TokenLoss):
    """A token loss that sees a teacher's top k alone."""

    def __init__(self, loss: TokenLoss, k: int, way: str) -> None:
        super().__init__(loss.loss.policy, loss.loss.divergence)
        self.k, self.way = k, way

    def forward(self, logits_student: Tensor, logits_teacher: Tensor, mask: Tensor | None = None) -> Tensor:
        return super().forward(logits_student, TopK.of(logits_teacher, self.k, *WAYS[self.way]), mask)


def gradient(loss: TokenLoss, z_s: Tensor, z_t: Tensor) -> tuple[float, Tensor]:
    """The loss, and its gradient for the student's logits."""
    leaf = z_s.detach().clone().requires_grad_()
    value = loss(leaf, z_t)
    return value.item(), torch.autograd.grad(value, leaf)[0]


def ways_of(name: str) -> list[str]:
    """The std is a matter of NormKD alone."""
    return [way for way in WAYS if "std" not in way or name.startswith("NormKD")]


def bias(z_s: Tensor, z_t: Tensor) -> None:
    """One line for each loss, k and way."""
    print(f"{'loss':18}{'k':>4}  {'the others':30}{'loss / full':>12}{'gradient off':>14}{'cosine':>8}")
    for name, loss in LOSSES.items():
        full, slope = gradient(loss, z_s, z_t)
        for k in KEPT:
            for way in ways_of(name):
                value, found = gradient(Keeping(loss, k, way), z_s, z_t)
                off = ((found - slope).norm() / slope.norm()).item()
                cosine = torch.cosine_similarity(found.flatten(), slope.flatten(), dim=0).item()
                print(f"{name:18}{k:4}  {way:30}{value / full:12.3f}{100 * off:12.1f} %{cosine:8.3f}", flush=True)


def spread(z_t: Tensor) -> None:
    """The standard deviation of the kept against that of all, and the mass that is kept."""
    p, std = z_t.softmax(-1), z_t.std(-1)
    for k in KEPT:
        top = TopK.of(z_t, k)
        mass, ratio = p.topk(k).values.sum(-1).mean(), (top.values.std(-1) / std).mean()
        print(f"top {k}: {100 * mass:.1f} % of the mass, std of the kept / std of all {ratio:.2f}, ", end="")
        print(f"largest error of the std of all {((top.std() - std).abs() / std).max():.1e}")


def students(text: object, teacher: nn.Module, steps: int) -> None:
    """KL of trained students to their teacher, mean and standard deviation over the seeds."""
    print(f"\nafter {steps} steps, top {TRAINED_K}: KL to the teacher and cross-entropy on held-out text, n = {SEEDS}")
    for name in ("KL, T 1", "NormKD, T_norm 1"):
        losses = {"all logits": LOSSES[name]} | {way: Keeping(LOSSES[name], TRAINED_K, way) for way in ways_of(name)}
        for way, loss in losses.items():
            found = [_trained(text, teacher, loss, steps, seed) for seed in range(SEEDS)]
            told = [
                f"{statistics.mean(values):.3f} +- {statistics.stdev(values):.3f}"
                for values in ([each[measured] for each in found] for measured in ("kl", "nats"))
            ]
            print(f"{name:18}{way:32}{told[0]:>18}{told[1]:>18}", flush=True)


def _trained(text, teacher: nn.Module, loss: TokenLoss, steps: int, seed: int) -> dict[str, float]:
    torch.manual_seed(seed)
    student = train_language_model(TinyTransformer(width=32, layers=1), text, steps, teacher, loss, seed=seed)
    return measure(student, text, teacher)


def main(teacher_steps: int = 250, student_steps: int = 150) -> None:
    text = read_documentation()
    torch.manual_seed(0)
    teacher = train_language_model(TinyTransformer(width=96, layers=2), text, teacher_steps)
    student = train_language_model(TinyTransformer(width=32, layers=1), text, student_steps)
    words_BL = text.held_out_BL[:64, :-1]
    with torch.no_grad():
        z_s, z_t = (model(words_BL).flatten(0, 1) for model in (student, teacher))
    spread(z_t)
    bias(z_s, z_t)
    students(text, teacher, student_steps)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
