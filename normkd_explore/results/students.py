"""Students of the measured lesson that come with the package, to be looked at without training."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from torch import nn

from normkd_explore.models import load_checkpoint
from normkd_explore.training import DEFAULT_PRESET, get_preset

SHIPPED = {
    "kd": "glyphs_resnet8_lesson_kd.safetensors",
    "normkd": "glyphs_resnet8_lesson_normkd.safetensors",
}
"""By method; assets/MODEL_CARD.md says how they were made."""


def lesson_student(method: str, runs: Path | None = None, preset: str = DEFAULT_PRESET) -> nn.Module:
    """The student that `method` trained with seed 0.

    Args:
        method: with `runs` any method, else "kd" or "normkd".
        runs: folder of your own `normkd compare --out RUNS`; None takes the shipped students of the lesson.
        preset: DATASET/TEACHER-STUDENT of these runs.
    Raises:
        ValueError: no student of that method and preset is shipped.
        FileNotFoundError: `runs` holds no such run.
    """
    if runs is None and (method not in SHIPPED or preset != DEFAULT_PRESET):
        raise ValueError(
            f"method: found {method!r} for {preset}, wanted {' or '.join(SHIPPED)} for {DEFAULT_PRESET}: these "
            f"students come with the package. For others run `normkd compare {preset} --out RUNS` and give runs=RUNS."
        )
    file = runs / f"{method}-seed0" / "student.safetensors" if runs else None
    if file is not None and not file.exists():
        raise FileNotFoundError(f"runs: {file} does not exist; wanted a folder that `normkd compare --out` filled.")
    return load_checkpoint(
        get_preset(preset).student, file or Path(str(files("normkd_explore") / "assets" / SHIPPED[method]))
    )
