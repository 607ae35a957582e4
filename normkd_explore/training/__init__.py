"""Training: recipes and presets, the loop, run folders that can be resumed exactly."""

from normkd_explore.training.checkpoint import CheckpointError
from normkd_explore.training.compiling import CompileError
from normkd_explore.training.evaluate import evaluate
from normkd_explore.training.interrupt import Interrupted
from normkd_explore.training.learner import Learner, NonFiniteError
from normkd_explore.training.loop import Moment, Run, fit
from normkd_explore.training.presets import DEFAULT_PRESET, get_preset, lesson, list_presets, teacher_recipe
from normkd_explore.training.recipe import Recipe
from normkd_explore.training.run_folder import RunFolder
from normkd_explore.training.session import compare, make_fabric, open_dataset, train
from normkd_explore.training.teacher import Teacher, load_example_student, load_teacher, new_student
from normkd_explore.training.teacher_cache import TeacherCache
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
