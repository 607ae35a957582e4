"""Everything that decides the numbers of learning from a black box: the student's recipe, and who is asked what."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import yaml

from normkd_explore.blackbox.api import BlackBox
from normkd_explore.blackbox.networks import PUBLISHED_CHANNELS, SMALL_CHANNELS
from normkd_explore.methods import Settings, get_method
from normkd_explore.training.recipes.presets import LESSON_BATCH, LESSON_DATA, get_preset
from normkd_explore.training.recipes.recipe import Recipe
from normkd_explore.training.summary import describe_settings

Pictures = Literal["generated", "local", "noise"]
GLYPH_EPOCHS, PUBLISHED_EPOCHS = 30, 200
LESSON_GENERATOR_EPOCHS, LESSON_QUERIES = 15, 4_800
SOFT = Settings({"temperature": 5.0}, 0.0, 0.2, published=False, source="MEKD's released code: tau 5, factor tau")
HARD = Settings({}, 1.0, 0.0, published=False, source="cross-entropy with the class that was answered")


@dataclass(frozen=True)
class BlackBoxRecipe(Recipe):
    """One student of a black box, complete: the same recipe and seed give the same numbers on the same kind of machine.

    Of the fields of `Recipe`, `teacher` is the network behind the answers, `method` what compares the student's logits
    with them (cross-entropy: with the answered class), and `epochs` how often as many pictures as the training split
    has are learned from: the number of steps does not depend on the number of queries.
    """

    answers: str = "soft"
    """What the black box gives: "soft", "hard" or "topK"."""
    digits: int | None = None
    """Decimals of its probabilities; None: all."""
    remedy: str = "epsilon"
    """What hidden classes get; see `logits_from`."""
    queries: int = 20_000
    """Most pictures that the black box is asked about."""
    pictures: Pictures = "generated"
    """What it is asked about: the generator's pictures (MEKD), the unlabelled local ones in random views, or noise."""
    image_weight: float = 1.0
    """w_f of the image alignment (`ImageAlignment`); 0 without a generator."""
    image_temperature: float = 5.0
    """τ_g of the image alignment."""
    image_distance: str = "l1"
    """Distance of the image alignment, "l1" or "l2"."""
    generator_epochs: int = PUBLISHED_EPOCHS
    """Passes over the local images in step one."""
    generator_batch: int = 64
    """Images of a step of step one."""
    generator_lr: float = 2e-4
    """Adam's rate in step one."""
    channels: int | None = None
    """Of the generator; None is settled when a run starts: 128 as published, on a CPU a quarter of them."""
    information_weight: float = 0.5
    """a of the information-maximisation term."""
    information_by: str = "value"
    """ "value" as in the paper, or "index" as in the released code (`information_loss`)."""
    information_share: float = 0.2
    """Most of the queries that step one may take; the steps that ask are evenly spread. 1 asks at every step, as
    published, while queries last."""
    generator: str | None = None
    """Digest of a generator that was handed over; None: step one makes one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        BlackBox(lambda images: images, self.answers, self.digits)  # its checks
        for name, known in CHOICES.items():
            _require(getattr(self, name) in known, name, getattr(self, name), f"one of {', '.join(known)}")
        for name in ("queries", "generator_epochs", "generator_batch"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "a whole number of at least 1")
        for name in ("image_weight", "information_weight"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "a number of at least 0")
        for name in ("image_temperature", "generator_lr"):
            _require(getattr(self, name) > 0, name, getattr(self, name), "a number above 0")
        _require(0 <= self.information_share < 1, "information_share", self.information_share, "a number in [0, 1)")
        _require(not self.compile, "compile", self.compile, "false: these runs are not compiled")
        _require(self.teacher is not None, "teacher", self.teacher, "the network behind the answers")
        if get_method(self.method).needs_features:
            raise ValueError(f"method: {self.method} compares features, and a black box gives answers alone.")
        generated = self.pictures == "generated"
        wanted = "0: without a generator there are no pictures to align"
        _require(generated or self.image_weight == 0, "image_weight", self.image_weight, wanted)

    @property
    def asks_in_step_one(self) -> bool:
        """Whether step one has use for answers: a class alone is always certain, so its value is 1 unasked."""
        known = self.answers == "hard" and self.information_by == "value"
        return self.information_weight > 0 and self.information_share > 0 and not known

    def describe(self) -> str:
        """What is learned from what, in one line."""
        parts = [describe_settings(self.settings), f"{self.pictures} pictures", self.answers]
        parts += [f"{self.digits} digits"] if self.digits else []
        parts += [self.remedy] if self.digits or self.answers.startswith("top") else []
        parts += [f"image x {self.image_weight:g}"] if self.image_weight else []
        return ", ".join(parts)

    def budget(self) -> str:
        """As `Recipe.budget`, with the number of queries: what is asked, how it is answered and made do not count."""
        same: dict[str, Any] = {name: DEFAULTS[name] for name in FREE}
        return Recipe.budget(replace(self, **same, method="ce", settings=HARD))

    @property
    def label(self) -> str:
        """The method's name in reports."""
        return f"{self.method} on {self.pictures} pictures"

    def plain(self) -> Recipe:
        """The fields of `Recipe` alone."""
        return Recipe(**{field.name: getattr(self, field.name) for field in fields(Recipe)})

    def to_yaml(self) -> str:
        """Text for config.yaml, which whoever reads run folders can read; `own_yaml` has the rest."""
        return self.plain().to_yaml()

    def own_yaml(self) -> str:
        """Text for blackbox.yaml: the fields that other recipes have not."""
        return yaml.safe_dump({name: getattr(self, name) for name in OWN}, sort_keys=False)

    @classmethod
    def from_yamls(cls, config: str, own: str) -> BlackBoxRecipe:
        """Read config.yaml and blackbox.yaml; a ValueError names fields that this version does not know."""
        values = yaml.safe_load(own)
        if not isinstance(values, dict) or set(values) != set(OWN):
            raise ValueError(f"blackbox.yaml: found {values!r}, wanted the fields {', '.join(OWN)}.")
        shared = Recipe.from_yaml(config)
        return cls(**{field.name: getattr(shared, field.name) for field in fields(Recipe)}, **values)


OWN = [field.name for field in fields(BlackBoxRecipe)][len(fields(Recipe)) :]
CHOICES = {
    "pictures": ("generated", "local", "noise"),
    "remedy": ("epsilon", "floor", "fit"),
    "image_distance": ("l1", "l2"),
    "information_by": ("value", "index"),
}
FREE = (
    *("answers", "digits", "remedy", "pictures", "image_weight", "image_temperature", "image_distance", "channels"),
    *("generator_epochs", "generator_batch", "generator_lr", "generator"),
    *("information_weight", "information_by", "information_share"),
)
"""Fields that runs of one budget may differ in."""
DEFAULTS = {field.name: field.default for field in fields(BlackBoxRecipe)} | {"image_weight": 0.0, "pictures": "local"}


def blackbox_preset(name: str, method: str | None = None, seed: int = 0, **changes: Any) -> BlackBoxRecipe:
    """The black box of a preset: its teacher behind the answers, its student; `changes` are fields of the recipe.

    Without a method, soft answers get KD with T = 5 and weight 1/5 (the released code's τ · KL), and hard ones
    cross-entropy with the answered class. With one, its settings for the pair; cross-entropy then has weight 0, since
    nobody knows the true classes.
    """
    hard = changes.get("answers") == "hard"
    chosen = method or ("ce" if hard else "kd")
    base = get_preset(name, chosen, seed)
    own = (HARD if chosen == "ce" else SOFT) if method in (None, "ce") else replace(base.settings, ce_weight=0.0)
    teacher = get_preset(name, "kd").teacher
    shared = {field.name: getattr(base, field.name) for field in fields(Recipe)}
    changes = {"generator_epochs": GLYPH_EPOCHS if base.dataset == "glyphs" else PUBLISHED_EPOCHS, **changes}
    if changes.get("pictures", "generated") != "generated":
        changes = {"image_weight": 0.0, **changes}
    return BlackBoxRecipe(**{**shared, "teacher": teacher, "settings": own, **changes})


def blackbox_lesson(recipe: BlackBoxRecipe) -> BlackBoxRecipe:
    """The recipe cut to 2,400 glyphs, and to what two CPU cores do in a minute or two; only glyphs recipes are cut."""
    if recipe.dataset != "glyphs":
        return recipe
    options = {**recipe.data_options, **LESSON_DATA}
    sizes: dict[str, Any] = {"batch_size": LESSON_BATCH, "generator_epochs": LESSON_GENERATOR_EPOCHS}
    return replace(recipe, data_options=options, queries=LESSON_QUERIES, **sizes)


def settled_channels(recipe: BlackBoxRecipe, device: str) -> BlackBoxRecipe:
    """The recipe with the generator's channels: all on a GPU, a quarter on a CPU."""
    if recipe.channels is not None:
        return recipe
    return replace(recipe, channels=SMALL_CHANNELS if device == "cpu" else PUBLISHED_CHANNELS)


def _require(condition: bool, name: str, found: object, wanted: str) -> None:
    if not condition:
        raise ValueError(f"{name}: found {found!r}, wanted {wanted}.")
