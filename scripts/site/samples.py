"""What the article's figures show: the shipped teacher and a half-trained student on Glyphs-100, as numbers.

Legend: N samples, C classes.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from normkd_explore.analysis.logits import model_logits, pictures
from normkd_explore.analysis.softness import effective_classes, median_classes, median_classes_normkd
from normkd_explore.blackbox import logits_from
from normkd_explore.data import Dataset
from normkd_explore.training import get_preset, lesson, load_example_student, load_teacher, open_dataset
from normkd_explore.widgets import Hero
from normkd_explore.widgets.sprite import make_sprite

PRESET = "glyphs/resnet20-resnet8"
T_NORMS = [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0]
KNOTS = np.geomspace(0.4, 24, 60)
STEP = 1 / 800  # of the cloud's logits, which fit two bytes then
DIGITS = (2, 3, 4, 6, None)


@dataclass
class Samples:
    """Logits of the whole test split, and the samples that figures pick."""

    dataset: Dataset
    teacher: torch.nn.Module
    logits_t_NC: NDArray[np.float64]
    logits_s_NC: NDArray[np.float64]
    labels_N: NDArray[np.int64]

    @cached_property
    def std_N(self) -> NDArray[np.float64]:
        return self.logits_t_NC.std(axis=1, ddof=1)

    @cached_property
    def right_N(self) -> NDArray[np.bool_]:
        return self.logits_t_NC.argmax(axis=1) == self.labels_N

    def first_of(self, name: str) -> int:
        """The first sample of a class that the teacher gets right with its second choice near behind."""
        of_class = (self.labels_N == self.dataset.class_names.index(name)) & self.right_N
        top2_N2 = np.sort(self.logits_t_NC, axis=1)[:, -2:]
        return int(min(np.flatnonzero(of_class), key=lambda n: abs(top2_N2[n, 1] - top2_N2[n, 0] - 3)))

    def spread(self, count: int) -> list[int]:
        """Samples that the teacher gets right, evenly from the smallest std to the largest, each of another class."""
        order = [n for n in np.argsort(self.std_N) if self.right_N[n]]
        return [int(order[k]) for k in np.linspace(0, len(order) - 1, count).astype(int)]


def load_samples() -> Samples:
    """Run both models once over the test split."""
    recipe = get_preset(PRESET)
    dataset = open_dataset(recipe, None)
    teacher, student = load_teacher(recipe.teacher, dataset, None), load_example_student(lesson(recipe), dataset)
    images = pictures(dataset.test, torch.arange(len(dataset.test)))
    tables = [model_logits(model, dataset, images, torch.float32).double().numpy() for model in (teacher, student)]
    return Samples(dataset, teacher, *tables, np.asarray(dataset.test.labels_N))


def hero_of(samples: Samples) -> Hero:
    """The hero as in notebook 02."""
    return Hero.from_model(samples.teacher, open_dataset(lesson(get_preset(PRESET)), None))


def binary(values: NDArray[Any]) -> str:
    """Bytes for the page."""
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


def picture_of(samples: Samples, n: int) -> str:
    """One sample's pixels as an address."""
    sprite, _ = make_sprite(pictures(samples.dataset.test, torch.tensor([n])))
    return f"data:image/png;base64,{base64.b64encode(sprite).decode()}"


def sample_data(samples: Samples, n: int) -> dict[str, Any]:
    """One sample for a figure."""
    return {
        "name": samples.dataset.class_names[samples.labels_N[n]],
        "picture": picture_of(samples, n),
        "teacher": np.round(samples.logits_t_NC[n], 4).tolist(),
        "student": np.round(samples.logits_s_NC[n], 4).tolist(),
    }


def cloud_data(samples: Samples) -> dict[str, Any]:
    """All samples' logits, and for each T_norm the one T with the same median."""
    medians = median_classes(samples.logits_t_NC, KNOTS)
    normkd = median_classes_normkd(samples.logits_t_NC, T_NORMS)
    matched = np.exp(np.interp(np.log(normkd), np.log(medians), np.log(KNOTS)))
    return {
        "logits": binary(np.round(samples.logits_t_NC / STEP).astype("<i2")),
        "step": STEP,
        "count": len(samples.labels_N),
        "labels": samples.labels_N.tolist(),
        "t_norms": T_NORMS,
        "T": np.round(matched, 3).tolist(),
    }


def digits_data(samples: Samples, n: int) -> dict[str, Any]:
    """What a teacher that rounds its answers leaves of one sample: classes shown, and the logits one gets back."""
    logits = torch.from_numpy(samples.logits_t_NC[[n]])
    steps = []
    for digits in DIGITS:
        exact = logits.softmax(dim=1)
        answers = exact if digits is None else exact.round(decimals=digits)
        rows = {remedy: logits_from(answers, remedy, digits)[0].numpy() for remedy in ("epsilon", "fit")}
        steps.append(
            {
                "digits": digits,
                "shown": int((answers > 0).sum()),
                **{name: np.round(row, 4).tolist() for name, row in rows.items()},
            }
        )
    return {**sample_data(samples, n), "steps": steps}


def facts_of(samples: Samples, cloud: dict[str, Any]) -> dict[str, Any]:
    """Numbers that the article's sentences hold; those of the clouds from what the clouds are given."""
    std_N, right_N = samples.std_N, samples.right_N
    one = cloud["T"][cloud["t_norms"].index(1.0)]
    drawn_NC = np.round(samples.logits_t_NC / STEP) * STEP
    kept = {name: effective_classes(drawn_NC, T) for name, T in {"kd": one, "normkd": drawn_NC.std(1, ddof=1)}.items()}
    return {
        "images": len(std_N),
        "wrong": int((~right_N).sum()),
        "wrong_weight": float((std_N[~right_N] ** 2).mean() / (std_N[right_N] ** 2).mean()),
        "wrong_share": float((std_N[~right_N] ** 2).sum() / (std_N**2).sum()),
        "T": one,
        "ranges": {name: np.quantile(classes_N, [0.05, 0.95]) for name, classes_N in kept.items()},
    }
