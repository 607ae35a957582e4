"""The run folder of a black box's student: as any other, with the generator and the answers beside it."""

from __future__ import annotations

import hashlib
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from normkd_explore.blackbox.networks import Generator
from normkd_explore.blackbox.recipe import BlackBoxRecipe
from normkd_explore.files.tensors import read_tensors, write_tensors
from normkd_explore.files.writing import explained, write_text
from normkd_explore.models import save_weights
from normkd_explore.notices import notice
from normkd_explore.training.recipes.recipe import Recipe
from normkd_explore.training.runs.checkpoint import place, remove_incomplete
from normkd_explore.training.runs.folder import RunFolder
from normkd_explore.training.runs.inputs import LENGTH, Inputs
from normkd_explore.training.where import Where, default_folder

KIND = "blackbox"
"""Value of "kind" in summary.json."""
UNIT = "generator epoch"
SHIPPED = "glyphs_generator.safetensors"


class BlackBoxFolder(RunFolder):
    """What step one and the black box gave lies beside the student.

    blackbox.yaml           the fields of `BlackBoxRecipe` that config.yaml, a plain `Recipe`, has not
    generator.safetensors   after step one          generator/   its checkpoints, and metrics.jsonl of its epochs
    answers.safetensors     what was answered to the pictures of step two, and how many queries there were in all
    """

    def __init__(self, path: Path | str) -> None:
        super().__init__(path)
        self.generator, self.step_one = self.path / "generator.safetensors", self.path / "generator"
        self.answers, self.own = self.path / "answers.safetensors", self.path / "blackbox.yaml"

    def recipe(self) -> BlackBoxRecipe:
        """The recipe that this folder was started with."""
        files = [self.path / "config.yaml", self.own]
        for file in files:
            if not file.exists():
                raise FileNotFoundError(f"{self.path} is no run folder of a black box: it has no {file.name}.")
        return BlackBoxRecipe.from_yamls(*(file.read_text(encoding="utf-8") for file in files))

    def start(self, recipe: Recipe, resume: bool, device: str | None = None, inputs: Inputs | None = None) -> None:
        """As for any run, with blackbox.yaml written before config.yaml: with that the folder counts as started."""
        assert isinstance(recipe, BlackBoxRecipe)
        self.check_start(recipe, resume, inputs)
        remove_incomplete(self.step_one)
        if not self.started:
            with explained(self.path):
                self.path.mkdir(parents=True, exist_ok=True)
            write_text(self.own, recipe.own_yaml())
        super().start(recipe, resume, device, inputs)

    def digest(self) -> str:
        """A short digest of both files; "" before the folder was started."""
        config = super().digest()
        return hashlib.sha256(config.encode() + self.own.read_bytes()).hexdigest()[:12] if config else ""

    @classmethod
    def default(cls, recipe: BlackBoxRecipe, where: Where) -> Path:
        """runs/DATASET/TEACHER-STUDENT/blackbox-METHOD-PICTURES-ANSWERS-QUERIES-seedN."""
        digits = "" if recipe.digits is None else f"{recipe.digits}digits-"
        name = f"blackbox-{recipe.method}-{recipe.pictures}-{recipe.answers}-{digits}{recipe.queries}-seed{recipe.seed}"
        return default_folder(recipe, where).with_name(name)

    def tell(self, epoch: int, step: int) -> None:
        """Say on stderr where step one goes on."""
        notice(f"{self.path}: continuing {place(epoch, step, UNIT)}")

    def write_generator(self, generator: Generator, queries: int) -> None:
        """Keep the generator with the number of queries that it took."""
        save_weights(generator, self.generator, metadata={**_sizes(generator), "queries": str(queries)})

    def write_step_one(self, history: list[dict[str, Any]]) -> None:
        """An object an epoch of step one, in generator/metrics.jsonl."""
        with explained(self.step_one):
            self.step_one.mkdir(parents=True, exist_ok=True)
        write_text(self.step_one / "metrics.jsonl", "".join(json.dumps(record) + "\n" for record in history))

    def write_answers(self, answers: Tensor, queries: int) -> None:
        """Keep what was answered so far, and how many queries there were in all."""
        write_tensors(self.answers, {"answers": answers.cpu().contiguous()}, {"queries": str(queries)})

    def read_answers(self) -> tuple[Tensor, int] | None:
        """The answers so far and the queries they took with step one, None where there are none."""
        if not self.answers.exists():
            return None
        tensors, texts = read_tensors(self.answers)
        return tensors["answers"], int(texts["queries"])


def _sizes(generator: Generator) -> dict[str, str]:
    return {name: str(getattr(generator, name)) for name in ("classes", "image_size", "channels")}


def load_generator(path: Path | str) -> tuple[Generator, int]:
    """A generator from its file, or from the run folder that holds it, and the queries that it took.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the file holds something else, or is damaged.
    """
    file = generator_file(path)
    try:
        tensors, texts = read_tensors(file)
        generator = Generator(*(int(texts[name]) for name in ("classes", "image_size", "channels")))
        generator.load_state_dict(tensors)
        return generator.eval(), int(texts["queries"])
    except (KeyError, ValueError, RuntimeError) as error:
        raise ValueError(f"generator: {file} is no generator of this package, or damaged ({error}).") from error


def shipped_generator() -> Generator:
    """The package's own: 32 channels, for Glyphs-100 at 32 pixels; assets/MODEL_CARD.md says how it was made."""
    return load_generator(Path(str(files("normkd_explore") / "assets" / SHIPPED)))[0]


def generator_file(path: Path | str) -> Path:
    """The generator's file in a run folder, or the file itself."""
    path = Path(path)
    file = path / "generator.safetensors" if path.is_dir() else path
    if not file.exists():
        raise FileNotFoundError(f"generator: found no {file}; wanted a run folder of `normkd blackbox`, or a file.")
    return file


def generator_digest(path: Path | str) -> str:
    """What a recipe keeps of a generator that is handed over."""
    with generator_file(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:LENGTH]


def empty_answers(answers: str, classes: int) -> Tensor:
    """None yet: (0, C) probabilities, or (0,) classes."""
    return torch.empty(0, dtype=torch.int64) if answers == "hard" else torch.empty(0, classes)
