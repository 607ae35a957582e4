"""Black boxes: a teacher that only answers, and what can still be learned from it.

BlackBox(model, answers="soft", digits=3)(images)      what a prediction service shows
logits_from(answers, "fit", digits=3)                  what a loss needs, as far as it can be had
distil_black_box(blackbox_preset("glyphs/resnet20-resnet8", answers="hard", queries=10_000), "runs/mine")
                                                       MEKD: pictures that nobody owns, answers to them, a student
"""

from normkd_explore.blackbox.api import BlackBox, BudgetError
from normkd_explore.blackbox.deprivatise import (
    Deprivatisation,
    adversarial_loss,
    discriminator_loss,
    information_loss,
    noise,
)
from normkd_explore.blackbox.emulate import Emulation, ImageAlignment
from normkd_explore.blackbox.folder import BlackBoxFolder, load_generator, shipped_generator
from normkd_explore.blackbox.networks import Discriminator, Generator, to_pixels
from normkd_explore.blackbox.pictures import Answered
from normkd_explore.blackbox.recipe import BlackBoxRecipe, blackbox_lesson, blackbox_preset
from normkd_explore.blackbox.recover import AnsweringTeacher, logits_from
from normkd_explore.blackbox.session import ask_all, distil_black_box
from normkd_explore.blackbox.step_one import StepOne, run_step_one
from normkd_explore.blackbox.student import new_run, train_student

__all__ = [
    "Answered",
    "AnsweringTeacher",
    "BlackBox",
    "BlackBoxFolder",
    "BlackBoxRecipe",
    "BudgetError",
    "Deprivatisation",
    "Discriminator",
    "Emulation",
    "Generator",
    "ImageAlignment",
    "StepOne",
    "adversarial_loss",
    "ask_all",
    "blackbox_lesson",
    "blackbox_preset",
    "discriminator_loss",
    "distil_black_box",
    "information_loss",
    "load_generator",
    "logits_from",
    "new_run",
    "noise",
    "run_step_one",
    "shipped_generator",
    "to_pixels",
    "train_student",
]
