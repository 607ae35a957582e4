"""Distillation of a language model in seconds: two tiny transformers that read Python's own documentation strings.

    text = read_documentation()
    teacher = train_language_model(TinyTransformer(width=96, layers=2), text, steps=250)
    student = train_language_model(TinyTransformer(width=32, layers=1), text, 150, teacher, TokenKL(1.0))

Legend: B sequences, L positions of each, V words of the vocabulary, D width, H heads; `_s` student, `_t` teacher.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from normkd_explore.examples.stepbar import StepBar
from normkd_explore.language import TokenLoss

MODULES = (
    *("argparse", "collections", "datetime", "decimal", "fractions", "functools", "itertools", "json", "logging"),
    *("math", "os", "pathlib", "random", "re", "statistics", "string", "subprocess", "textwrap", "threading"),
    *("unittest", "zipfile"),
)
LENGTH = 32
BATCH = 16
UNKNOWN = 0
CLIP = 1.0


@dataclass(frozen=True, eq=False)
class Text:
    """Documentation as numbers of words, the end of it held out."""

    train_N: Tensor
    """int64; 0 stands for every word outside the vocabulary."""
    held_out_BL: Tensor
    """int64 (B, LENGTH + 1): text that no model is trained on."""
    words: tuple[str, ...]
    """The V words in the order of their numbers."""


def read_documentation(vocabulary: int = 500, held_out: float = 0.1) -> Text:
    """Words of the documentation strings of 21 modules of the running Python, by frequency.

    A word is a run of letters, or any other single character; capitals are made small. The text differs a little
    between versions of Python.

    Raises:
        ValueError: `vocabulary` is below 2, or `held_out` is not between 0 and 1.
    """
    if vocabulary < 2 or not 0 < held_out < 1:
        raise ValueError(
            f"vocabulary is {vocabulary} and held_out {held_out}, wanted at least 2 words and a share between 0 and 1."
        )
    words = re.findall(r"[a-z]+|[^\sa-z]", _documentation().lower())
    known = ["<other>", *(word for word, _ in Counter(words).most_common(vocabulary - 1))]
    number = {word: n for n, word in enumerate(known)}
    all_N = torch.tensor([number.get(word, UNKNOWN) for word in words])
    kept = int(len(all_N) * (1 - held_out))
    rest_N = all_N[kept:]
    rest_N = rest_N[: len(rest_N) // (LENGTH + 1) * (LENGTH + 1)]
    return Text(all_N[:kept], rest_N.view(-1, LENGTH + 1), tuple(known))


def _documentation() -> str:
    found: dict[str, None] = {}
    for name in MODULES:
        module = importlib.import_module(name)
        for item in (module, *vars(module).values()):
            for member in (item, *(vars(item).values() if inspect.isclass(item) else ())):
                text = getattr(member, "__doc__", None)
                if isinstance(text, str):
                    found[inspect.cleandoc(text)] = None
    return "\n\n".join(sorted(found))


class TinyTransformer(nn.Module):
    """A causal transformer with learned positions: word numbers (B, L) -> logits of the next word (B, L, V).

    Args:
        width: D, a multiple of `heads`.
        layers: blocks of attention and feed-forward network, normalised before each.
        vocabulary: V.
        heads: H.
    """

    def __init__(self, width: int, layers: int, vocabulary: int = 500, heads: int = 4) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(torch.zeros(LENGTH, width))
        self.blocks = nn.Sequential(*(_Block(width, heads) for _ in range(layers)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary)
        nn.init.normal_(self.embed.weight, std=0.1)

    def forward(self, words_BL: Tensor) -> Tensor:
        x_BLD = self.embed(words_BL) + self.positions[: words_BL.shape[1]]
        return self.head(self.norm(self.blocks(x_BLD)))


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_feed = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_qkv, self.merge = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x_BLD: Tensor) -> Tensor:
        x_BLD = x_BLD + self._attend(self.before_attention(x_BLD))
        return x_BLD + self.feed(self.before_feed(x_BLD))

    def _attend(self, x_BLD: Tensor) -> Tensor:
        q, k, v = (
            part_BLD.unflatten(2, (self.heads, -1)).transpose(1, 2) for part_BLD in self.to_qkv(x_BLD).chunk(3, dim=2)
        )
        mixed_BHLd = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.merge(mixed_BHLd.transpose(1, 2).flatten(2))


def train_language_model(
    model: nn.Module,
    text: Text,
    steps: int,
    teacher: nn.Module | None = None,
    loss: TokenLoss | None = None,
    weight: float = 1.0,
    seed: int = 0,
    lr: float = 5e-3,
    name: str | None = None,
) -> nn.Module:
    """Train `model` on the next word, with a distillation term where there is a teacher; the model itself is returned.

        total = CE(z_s, next word) + weight · loss(z_s, z_t),   both means over all B · L positions

    The same `seed` gives every model the same batches. Adam with a one-cycle learning rate of at most `lr`.
    With a `name`, progress is shown under it.

    Raises:
        ValueError: only one of `teacher` and `loss` is given.
    """
    if (teacher is None) != (loss is None):
        raise ValueError("teacher and loss: found one without the other, wanted both or neither.")
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.1)
    model.train()
    bar = StepBar(name, steps) if name else None
    for step in range(1, steps + 1):
        words_BL, next_BL = _draw(text.train_N, generator)
        logits_s = model(words_BL)
        total = F.cross_entropy(logits_s.flatten(0, 1), next_BL.flatten())
        if teacher is not None and loss is not None:
            with torch.no_grad():
                logits_t = teacher(words_BL)
            total = total + weight * loss(logits_s, logits_t)
        optimizer.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        schedule.step()
        if bar:
            bar.step(step, total.item(), (logits_s.argmax(2) == next_BL).double().mean().item())
    return model.eval()


def _draw(train_N: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    start_B1 = torch.randint(len(train_N) - LENGTH, (BATCH, 1), generator=generator)
    both_BL = train_N[start_B1 + torch.arange(LENGTH + 1)]
    return both_BL[:, :-1], both_BL[:, 1:]


@torch.no_grad()
def measure(model: nn.Module, text: Text, teacher: nn.Module) -> dict[str, float]:
    """How well a model predicts the held-out words, and how far it is from the teacher there.

    Returns:
        "nats", cross-entropy a word; "kl", KL(p_t || p_s) a word in nats; "agreement", the share of positions with the
        teacher's first choice; "std", the mean standard deviation of the logits of a position.
    """
    words_BL, next_BL = text.held_out_BL[:, :-1], text.held_out_BL[:, 1:]
    z_s, z_t = (each(words_BL).flatten(0, 1) for each in (model, teacher))
    kl = F.kl_div(z_s.log_softmax(1), z_t.log_softmax(1), log_target=True, reduction="batchmean")
    return {
        "nats": F.cross_entropy(z_s, next_BL.flatten()).item(),
        "kl": kl.item(),
        "agreement": (z_s.argmax(1) == z_t.argmax(1)).double().mean().item(),
        "std": z_s.std(dim=1).mean().item(),
    }
