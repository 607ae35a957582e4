"""Training: recipes and presets, the loop, run folders that can be resumed exactly."""

from normkd_explore.training.evaluate import evaluate
from normkd_explore.training.learner import Learner
from normkd_explore.training.loop import fit
from normkd_explore.training.machine.compiling import CompileError
from normkd_explore.training.machine.fabric import make_fabric
from normkd_explore.training.machine.interrupt import Interrupted
from normkd_explore.training.material import open_dataset
from normkd_explore.training.nonfinite import NonFiniteError
from normkd_explore.training.recipes.presets import DEFAULT_PRESET, get_preset, lesson, list_presets, teacher_recipe
from normkd_explore.training.recipes.recipe import Recipe
from normkd_explore.training.run import Moment, Run
from normkd_explore.training.runs.checkpoint import CheckpointError
from normkd_explore.training.runs.folder import RunFolder
from normkd_explore.training.session import compare, train
from normkd_explore.training.teacher.cache import TeacherCache
from normkd_explore.training.teacher.frozen import Teacher
from normkd_explore.training.teacher.sources import load_example_student, load_teacher, new_student
from normkd_explore.training.where import Where

__all__ = [
    "DEFAULT_PRESET",
    "CheckpointError",
    "CompileError",
    "Interrupted",
    "Learner",
    "Moment",
    "NonFiniteError",
    "Recipe",
    "Run",
    "RunFolder",
    "Teacher",
    "TeacherCache",
    "Where",
    "compare",
    "evaluate",
    "fit",
    "get_preset",
    "lesson",
    "list_presets",
    "load_example_student",
    "load_teacher",
    "make_fabric",
    "new_student",
    "open_dataset",
    "teacher_recipe",
    "train",
]
