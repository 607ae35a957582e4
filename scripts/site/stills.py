"""Pictures that stand where the article's figures come to life: what print and readers without scripts see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from normkd_explore.analysis.softening import methods_at, soften
from normkd_explore.analysis.softness import effective_classes, softness_band
from normkd_explore.figures.svg import MUTED, STUDENT, TEACHER, Svg
from normkd_explore.losses import LSKD, NormKD
from normkd_explore.widgets import Hero
from scripts.site.samples import Samples

WIDTH, LEFT, ROW = 700, 16, 26
SHOWN = 6


def draw_all(hero: Hero, samples: Samples, data: dict[str, Any]) -> dict[str, Svg]:
    """The still of each figure, by the figure's name."""
    return {
        "hero": hero.still(),
        "lens": lens(samples, data),
        "cloud": cloud(samples, data),
        "pull": pull(data),
        "product": product(data),
        "replay": replay(data["race"]),
        "twoclasses": two_classes(),
        "rounded": rounded(data["digits"]),
    }


def bars(title: str, rows: Sequence[tuple[str, float, str]], fill: str = TEACHER) -> Svg:
    """Named bars from 0 to the longest, each with its number."""
    svg = Svg(WIDTH, 56 + ROW * len(rows), title)
    svg.text(LEFT, 28, title, size=17, bold=True)
    end = max(abs(value) for _, value, _ in rows) or 1.0
    for k, (name, value, text) in enumerate(rows):
        y = 48 + k * ROW
        svg.text(LEFT, y + 14, name)
        svg.rect(250, y + 2, 300 * abs(value) / end, 15, fill)
        svg.text(WIDTH - LEFT, y + 14, text, anchor="end")
    return svg


def lens(samples: Samples, data: dict[str, Any]) -> Svg:
    """The chances of the first classes at T = 1 and at T = 4."""
    z_C, names = np.array(data["lens"]["teacher"]), data["names"]
    order = np.argsort(-z_C)[:SHOWN]
    rows = [
        (f"{names[c]} at T = {T}", p, f"{100 * p:.1f} %")
        for T in (1, 4)
        for c, p in zip(order, np.exp(z_C / T)[order] / np.exp(z_C / T).sum(), strict=True)
    ]
    return bars(f"{data['lens']['name']}: what the teacher says at T = 1 and at T = 4", rows)


def cloud(samples: Samples, data: dict[str, Any]) -> Svg:
    """Both clouds at T_norm = 1, every fourth image."""
    svg = Svg(WIDTH, 320, "Effective classes against the std of the logits: KD tilts, NormKD does not")
    one = data["cloud"]["T"][data["cloud"]["t_norms"].index(1.0)]
    few = slice(None, None, 4)
    panels = {f"KD: T = {one:.2f} for all": one, "NormKD: T = 1 · std": samples.std_N[few]}
    for k, (name, T) in enumerate(panels.items()):
        values = effective_classes(samples.logits_t_NC[few], T)
        _cloud_panel(svg, LEFT + k * 345, name, samples.std_N[few], values)
    return svg


def _cloud_panel(svg: Svg, x: float, name: str, std_N: NDArray[np.float64], values_N: NDArray[np.float64]) -> None:
    low, high = softness_band(100)
    y = lambda k: 280 - 2.3 * k  # noqa: E731
    svg.text(x, 28, name, size=15, bold=True)
    svg.rect(x + 30, y(high), 295, y(low) - y(high), "#d5efe7")
    for tick in (1, 25, 50, 75, 100):
        svg.text(x + 24, y(tick) + 4, str(tick), fill=MUTED, anchor="end")
    for std, value in zip(std_N, values_N, strict=True):
        svg.rect(x + 30 + 36 * (std - 3.1) - 1, y(value) - 1, 2.5, 2.5, TEACHER)
    svg.line([(x + 30, 50), (x + 30, 280), (x + 325, 280)], MUTED)
    svg.text(x + 30, 304, "std of the logits: 4 to 11, left to right", fill=MUTED)


def pull(data: dict[str, Any]) -> Svg:
    """NormKD's gradient on the student's logits."""
    gradient_C = soften(*rows_of(data["lens"]), methods_at(6.0, 1.0)["normkd"]).gradient_BC[0]
    order = np.argsort(-np.array(data["lens"]["teacher"]))[:8]
    ways = {c: "down" if gradient_C[c] > 0 else "up" for c in order}
    rows = [(data["names"][c], float(gradient_C[c]), f"{ways[c]} {abs(gradient_C[c]):.4f}") for c in order]
    title = f"{data['lens']['name']}: how a step moves the student's logits under NormKD, T_norm = 1"
    return bars(title, rows, STUDENT)


def rows_of(sample: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """A sample's logits, teacher's and student's, (1, C) each."""
    teacher, student = (torch.tensor([sample[key]], dtype=torch.float64) for key in ("teacher", "student"))
    return teacher, student


def product(data: dict[str, Any]) -> Svg:
    """LSKD's loss times the variance, sample by sample."""
    rows = []
    for sample in data["products"]:
        z_t, z_s = rows_of(sample)
        lskd, normkd = LSKD(1.0)(z_s, z_t).item(), NormKD(1.0)(z_s, z_t).item()
        variance = np.array(sample["teacher"]).var(ddof=1)
        number = f"{lskd:.3f} × {variance:.1f} = {normkd:.2f}"
        rows.append((f"{sample['name']}, std {variance**0.5:.1f}", normkd, number))
    return bars("NormKD's loss is LSKD's times the variance of the teacher's logits", rows)


def replay(race: dict[str, Any]) -> Svg:
    """Where the racers end: the mean over the seeds of right answers on the last training images."""
    means = {r["name"]: np.mean([lap["train"][r["key"]][-1] for lap in race["laps"]]) for r in race["racers"]}
    rows = [(name, float(value), f"{value:.0f} %") for name, value in means.items()]
    return bars(f"Right answers on the last training images, mean of {len(race['laps'])} seeds", rows)


def two_classes() -> Svg:
    """Two classes: the pull of both losses."""
    rows = [("KD's pull on the student", 1.0, "as asked"), ("NormKD's pull on the student", 0.0, "always 0")]
    return bars("Two classes: z-scores are ±0.707 whatever the logits are", rows, STUDENT)


def rounded(digits: dict[str, Any]) -> Svg:
    """The std of logits that come back from rounded answers."""
    rows = []
    for step in digits["steps"]:
        words = "all decimals" if step["digits"] is None else f"{step['digits']} decimals"
        std = np.array(step["epsilon"]).std(ddof=1)
        rows.append((f"{words}: {step['shown']} classes shown", float(std), f"std {std:.2f}"))
    return bars("The std that log(p + 1e-8) makes of rounded answers", rows)
