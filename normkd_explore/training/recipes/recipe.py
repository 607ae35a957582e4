"""A recipe is everything that decides a run's numbers but the images and the teacher's weights (see `inputs`).

It is one frozen object that a run folder keeps as config.yaml.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Self

import yaml

from normkd_explore.files.records import parse_yaml
from normkd_explore.files.shapes import mismatch
from normkd_explore.methods import Settings, get_method
from normkd_explore.training.recipes.schedule import Schedule, scale_milestones


@dataclass(frozen=True)
class Recipe:
    """One student's training, complete: the same recipe and seed give the same numbers on the same kind of machine."""

    preset: str
    """The preset's name, e.g. cifar100/resnet32x4-resnet8x4."""
    dataset: str
    """Name for `load_dataset`: glyphs, cifar10, cifar100, imagenet or imagefolder."""
    student: str
    """Model to train, a name for `create_model`."""
    teacher: str | None
    """Frozen model to learn from; None when the method needs none."""
    method: str
    """Name in `normkd_explore.methods.METHODS`."""
    settings: Settings
    """The method's loss arguments and weights."""
    epochs: int
    """Passes over the training split."""
    batch_size: int
    """Images of one optimiser step, all processes together."""
    lr: float
    """Highest learning rate of the schedule."""
    schedule: Schedule = "step"
    """Shape of the learning rate over the run; see `schedule.learning_rate`."""
    milestones: tuple[int, ...] = ()
    """Epochs after which a "step" schedule divides the learning rate by ten."""
    momentum: float = 0.9
    """Momentum of SGD (no Nesterov, as published)."""
    weight_decay: float = 5e-4
    """L2 penalty on every parameter, BatchNorm and biases included, as published."""
    seed: int = 0
    """Seed of the student's initial weights, the order of the images and their views."""
    data_seed: int | None = None
    """Seed of the order of the images and their views alone; None takes `seed`. Where it is set, `seed` varies all
    else (initial weights, dropout), so students of several seeds can share their batches and the teacher's answers."""
    protocol: str = "holdout"
    """"holdout": choose on 5,000 held-out training images, test once. "paper": test after each epoch."""
    precision: str = "32-true"
    """Lightning Fabric's precision, e.g. 32-true or bf16-mixed; losses are always computed in float32. "auto" is
    settled when a run starts (see `choose_precision`); config.yaml has what it became."""
    compile: bool | Literal["auto"] = False
    """Whether the step's networks are compiled (see `compiling`): the same numbers up to rounding. "auto" is settled by
    a trial when a run starts (see `worth_compiling`); config.yaml has what it became."""
    image_size: int | None = None
    """Side of the images in pixels; None takes the data set's own."""
    data_options: dict[str, Any] = field(default_factory=dict)
    """Further arguments of `load_dataset`, e.g. {"train_size": 10000} for glyphs."""
    begin_with: str | None = None
    """Digest of the weights that the student begins with (see `Where.student_weights`); None draws them from `seed`."""

    def __post_init__(self) -> None:
        get_method(self.method)
        for name in ("epochs", "batch_size"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "a whole number of at least 1")
        _require(self.lr > 0, "lr", self.lr, "a positive number")
        _require(0 <= self.momentum < 1, "momentum", self.momentum, "a number in [0, 1)")
        _require(self.weight_decay >= 0, "weight_decay", self.weight_decay, "a number of at least 0")
        _require(self.protocol in ("holdout", "paper"), "protocol", self.protocol, "'holdout' or 'paper'")
        _require(self.schedule in ("step", "one_cycle"), "schedule", self.schedule, "'step' or 'one_cycle'")
        known = isinstance(self.compile, bool) or self.compile == "auto"
        _require(known, "compile", self.compile, "true, false or 'auto'")
        whole = self.data_seed is None or (type(self.data_seed) is int and self.data_seed >= 0)
        _require(whole, "data_seed", self.data_seed, "a whole number of at least 0, or None")

    def with_epochs(self, epochs: int) -> Self:
        """The same recipe for another length; milestones keep their fraction of the run."""
        return replace(self, epochs=epochs, milestones=scale_milestones(self.milestones, self.epochs, epochs))

    @property
    def batch_seed(self) -> int:
        """What decides the order of the images and their views."""
        return self.seed if self.data_seed is None else self.data_seed

    def budget(self) -> str:
        """A short digest of all that must be equal for a fair comparison: not method, settings, seed, compile."""
        values = asdict(self)
        free = ["preset", "teacher", "method", "settings", "seed", "compile"]
        # Then it is the digest of versions without these fields.
        free += [name for name in ("data_seed", "begin_with") if values[name] is None]
        shared = sorted((name, value) for name, value in values.items() if name not in free)
        return hashlib.sha256(repr(shared).encode()).hexdigest()[:12]

    def to_yaml(self) -> str:
        """Text for config.yaml; `from_yaml` gives the equal recipe back."""
        values = asdict(self)
        values["milestones"] = list(self.milestones)
        return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)

    @classmethod
    def from_yaml(cls, text: str) -> Self:
        """Read the text of a config.yaml; a ValueError names what is missing, unknown or of another type."""
        values = parse_yaml(text)
        if problem := mismatch(values, cls):
            raise ValueError(f"config.yaml: {problem}.")
        return cls.from_values(values)

    @classmethod
    def from_values(cls, values: dict[str, Any]) -> Self:
        """A recipe from the values in a config.yaml, which are of the types of its fields."""
        settings, milestones = Settings(**values["settings"]), tuple(values.get("milestones", ()))
        return cls(**{**values, "settings": settings, "milestones": milestones})


def _require(condition: bool, name: str, found: object, wanted: str) -> None:
    if not condition:
        raise ValueError(f"{name}: found {found!r}, wanted {wanted}.")
