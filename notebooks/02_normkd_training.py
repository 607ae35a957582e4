# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,jupyter,-all
#     notebook_metadata_filter: kernelspec,-jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # NormKD: a temperature for every sample
#
# **The question.** Knowledge distillation softens a teacher's predictions with one temperature $T$ for all samples. But a teacher
# is sure of some samples and unsure of others. Can one $T$ fit them all?
#
# **After this notebook you can**
#
# * say what a temperature does to one sample, and show two samples that need different ones;
# * compute NormKD's temperature, weight and loss for a sample by hand;
# * train students with cross-entropy, KD and NormKD, and compare them honestly.
#
# Everything runs on a laptop without a GPU or a download in about two minutes. The same cells run the published
# CIFAR-100 and ImageNet recipes: change `PRESET` below (`normkd presets` in a terminal lists them).

# %% tags=["parameters"]
PRESET = "glyphs/resnet20-resnet8"  # DATASET/TEACHER-STUDENT, e.g. "cifar100/resnet32x4-resnet8x4"
DATA_ROOT = None  # folder of the data set; None: its default place
TEACHER_WEIGHTS = None  # checkpoint of the teacher; None: the shipped one (glyphs), torchvision's, or one you trained
METHODS = ("ce", "kd", "normkd")
SEEDS = 2
DEVICE = "cpu"  # "auto" takes a GPU where there is one
RUNS = None  # folder that keeps the runs and lets them resume; None: a temporary one

# %% jupyter={"source_hidden": true}
import tempfile
from pathlib import Path

import numpy as np
import torch

from normkd_explore.analysis import methods_at, model_logits, pictures, soften, spread_index
from normkd_explore.exercises import check
from normkd_explore.figures import picture_sheet, results_figure, softness_figure
from normkd_explore.losses import KD, NormKD
from normkd_explore.models import load_checkpoint
from normkd_explore.training import Where, compare, get_preset, lesson, load_example_student, load_teacher, open_dataset
from normkd_explore.training.runs.report import format_report
from normkd_explore.widgets import Hero, RaceView, explore

# %% [markdown]
# ## Two samples, one temperature
#
# **Predict first.** A teacher is very sure of one picture (`#`, its logits have the standard deviation 10.3) and less sure of
# another (`v`, 3.3). Both are softened with $T = 4$. Which prediction comes out closer to an even spread over the hundred classes?
#
# Then drag. *Effective classes* are $e^H$, the exponential of the entropy: a prediction spread evenly over $k$ classes counts as $k$.

# %%
recipe = lesson(get_preset(PRESET))
where = Where(DATA_ROOT and Path(DATA_ROOT), TEACHER_WEIGHTS and Path(TEACHER_WEIGHTS), DEVICE)
dataset = open_dataset(recipe, where.data_root)
teacher = load_teacher(recipe.teacher, dataset, where.teacher_weights)
hero = Hero.from_model(teacher, dataset)
hero

# %%
my_prediction = None  # "#" or "v"
check("02-top", my_prediction)

# %% [markdown]
# ## The task
#
# Glyphs-100 has a hundred classes, drawn by this package in typefaces that the training images do not contain. Its
# confusions can be checked by eye: `O` and `0` and `o`, `l` and `1` and `I`. That is the *dark knowledge* a teacher can pass on.

# %%
print(dataset.describe())

# %%
index = spread_index(32, len(dataset.test))
picture_sheet(pictures(dataset.test, index), [dataset.class_names[i] for i in dataset.test.labels_N[index]])

# %% [markdown]
# ## What a temperature does to one sample
#
# Dividing the logits by $T$ before the softmax makes a prediction softer. KD uses the same $T$ everywhere. NormKD takes
#
# $$T(z) = T_\text{norm}\cdot\operatorname{std}(z),$$
#
# for the teacher from the teacher's logits, for the student from the student's own.
#
# **Drag the two sliders.** Sample A has the teacher's largest standard deviation, sample B its smallest. Look for a $T$ that
# leaves both with a useful spread: something more than the favourite alone, something less than an even spread. Then
# pick other samples from the strip.

# %%
student = load_example_student(recipe, dataset)
explorer = explore(teacher, student, dataset)
explorer

# %% [markdown]
# ## All samples at once
#
# One dot per method and test sample, at equal median softness: $T = 6$ and $T_\text{norm} = 1$ both leave the middle sample some 54 of the hundred classes. Under KD
# the dots fall steeply as the standard deviation grows: the same $T$ leaves one sample most of the classes and another a few. Under NormKD nearly all lie in the
# green band that the explorer aims at.

# %%
many = spread_index(400, len(dataset.test))
images = pictures(dataset.test, many)
logits_t = model_logits(teacher, dataset, images)
logits_s = model_logits(student, dataset, images)
views = {name: soften(logits_t, logits_s, policy) for name, policy in methods_at(6.0, 1.0).items()}
classes = {name: np.exp(views[name].entropy_t_B) for name in ("kd", "normkd")}
softness_figure(views["kd"].std_t_B, classes, dataset.num_classes)

# %%
for name, values in classes.items():
    low, middle, high = np.quantile(values, (0.05, 0.5, 0.95))
    print(
        f"{name:<6}  half of the samples keep at least {middle:.0f} classes, nine of ten between {low:.0f} and {high:.0f}"
    )
temperatures = views["normkd"].temperature_t_B
print(
    f"NormKD's temperatures run from {temperatures.min():.1f} to {temperatures.max():.1f}; KD uses 6.0 for every sample."
)

# %% [markdown]
# ## The loss, one number at a time
#
# For one sample NormKD's loss is
#
# $$\ell = T_t^2 \;\mathrm{KL}\big(\operatorname{softmax}(z_t/T_t)\,\big\|\,\operatorname{softmax}(z_s/T_s)\big),\qquad T_t = T_\text{norm}\operatorname{std}(z_t),\quad
# T_s = T_\text{norm}\operatorname{std}(z_s),$$
#
# and a batch's loss is the mean over its samples. Here it is in five lines of plain PyTorch, beside the library's.

# %%
T_t = 2.0 * logits_t.std(dim=1, keepdim=True)
T_s = 2.0 * logits_s.std(dim=1, keepdim=True)
p_t, log_p_s = torch.softmax(logits_t / T_t, dim=1), torch.log_softmax(logits_s / T_s, dim=1)
kl = (p_t * (p_t.log() - log_p_s)).sum(dim=1, keepdim=True)
print(f"by hand {(T_t**2 * kl).mean():.6f}   library {NormKD(t_norm=2.0)(logits_s, logits_t):.6f}")

# %% [markdown]
# **Predict, then check.** A teacher's logits have the standard deviation 3.5 and $T_\text{norm} = 2$. What is its temperature?
# And if sample A has twice the standard deviation of sample B (6 against 3), how many times does A's divergence count?

# %%
my_temperature = None
check("02-temperature", my_temperature)
my_ratio = None
check("02-weight", my_ratio)

# %% [markdown]
# ## A mistake worth making once
#
# With two classes NormKD cannot work, and many losses would fail silently. This one says so.

# %%
two_s, two_t = torch.tensor([[0.3, 1.2]]), torch.tensor([[2.0, -1.0]])
try:
    NormKD(t_norm=2.0)(two_s, two_t)
except ValueError as error:
    print(error)

# %% [markdown]
# The cure that the message names: a constant temperature.

# %%
print(f"{KD(temperature=4.0)(two_s, two_t):.4f}")

# %% [markdown]
# ## Train: cross-entropy, KD and NormKD on the same batches
#
# The students of one seed start from the same weights and see the same images in the same order and the same random crops; the
# teacher looks at each batch once for all of them. So whatever differs at the end comes from the loss. Watch:

# %% tags=["nbval-ignore-output"]
race = RaceView(METHODS, SEEDS)
race

# %% tags=["nbval-ignore-output"]
runs = Path(RUNS or tempfile.mkdtemp())
results = []
for seed in range(SEEDS):
    race.begin(seed)
    recipes = [lesson(get_preset(PRESET, method, seed)) for method in METHODS]
    folders = [runs / f"{method}-seed{seed}" for method in METHODS]
    results += compare(recipes, folders, where, resume=RUNS is not None, watch=race.watch, dataset=dataset)
race.finish()

# %% [markdown]
# ## What came out
#
# Test accuracy after the **last** epoch, mean and standard deviation over the seeds. A few seeds of a short lesson show an effect; they
# do not measure it. `normkd compare --seeds 10` gives a better answer, and README.md lists what was measured so far.

# %% tags=["nbval-ignore-output"]
print(format_report(results))
accuracies = {m: [100 * r["test"]["top1"] for r in results if r["method"] == m] for m in METHODS}
results_figure(accuracies, "test top-1 after the last epoch (%)")

# %%
if {"ce", "normkd"} <= set(METHODS):
    gains = [
        100 * (b["test"]["top1"] - a["test"]["top1"])
        for a in results
        for b in results
        if (a["method"], b["method"]) == ("ce", "normkd") and a["seed"] == b["seed"]
    ]
    print(f"NormKD ahead of cross-entropy by more than 5 points for every seed: {min(gains) > 5}")

# %% [markdown]
# ## The trained student, sample by sample
#
# The same explorer with the NormKD student. Sort by *disagreement*: where does it still differ from its teacher, and is the glyph
# one that you would confuse too?

# %% tags=["nbval-ignore-output"]
trained = load_checkpoint(recipe.student, runs / f"{METHODS[-1]}-seed0" / "student.safetensors")
explore(teacher, trained, dataset, state={"sort": "disagreement"}, name="trained")

# %% [markdown]
# ## Summary
#
# * Logits of different samples have different standard deviations, so one temperature is too much for some and too little for others.
# * NormKD divides each sample's logits by $T_\text{norm}\cdot\operatorname{std}$ and weighs its divergence with the teacher's squared temperature.
# * Paired seeds, the last epoch, mean and standard deviation: that is a comparison. The best of many epochs on the test set is not.
#
# ## Exercises
#
# 1. In the explorer, find a sample on which KD at $T = 6$ and NormKD at $T_\text{norm} = 1$ give nearly the same temperature. What is its standard deviation?
# 2. Set `METHODS = ("kd", "normkd", "lskd")` and run again. LSKD softens exactly like NormKD; what differs?
# 3. With two classes, how many directions are left in which NormKD's loss can change the student's z-scores?

# %%
my_directions = None
check("02-two-classes", my_directions)
