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
# # Logits before distillation: why one temperature cannot fit all samples
#
# **The question.** A distillation loss divides logits by a temperature. By which one? Before training anything, look at the
# logits themselves: how far apart are they, in which samples, in which classes, from which teacher?
#
# The words, once. In *knowledge distillation* a small network, the student, learns from the predictions of a large one, the teacher. A
# **temperature** $T$ divides the logits before the softmax and so makes predictions softer; the loss then compares the two softened predictions with the
# Kullback-Leibler divergence (*KL*: 0 where they agree, the larger the further apart). *KD* takes one $T$ for all samples; *NormKD* takes
# $T_\text{norm}$ times the standard deviation of the sample's own logits, with one $T_\text{norm}$ for all.
#
# **After this notebook you can**
#
# * describe a model's logits by their mean, standard deviation, maximum and entropy, and say which of them a temperature cares about;
# * find the temperature that would suit a sample, and judge how well one $T$ for all, or NormKD's $T_\text{norm}\cdot\operatorname{std}$, comes near it;
# * examine a file of logits of your own and notice what would spoil a training.
#
# Everything runs on a laptop without a GPU or a download in about a minute. Change `PRESET` to look at other teachers, or `LOGITS_FILE`
# to look at numbers that you saved yourself.

# %% tags=["parameters"]
PRESET = "glyphs/resnet20-resnet8"  # DATASET/TEACHER-STUDENT, e.g. "cifar100/resnet32x4-resnet8x4"
DATA_ROOT = None  # folder of the data set; None: its default place
TEACHER_WEIGHTS = None  # checkpoint of the teacher; None: the shipped one (glyphs), torchvision's, or one you trained
SAMPLES = 1000  # test images, evenly over the split
TEMPERATURE = 4.0  # KD's T
T_NORM = 2.0  # NormKD's T_norm
LOGITS_FILE = None  # your own logits: .npy, .npz, .safetensors, .pt or .csv

# %% jupyter={"source_hidden": true}
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from normkd_explore.analysis import model_logits, pictures, spread_index
from normkd_explore.analysis.examine import examine, format_examination
from normkd_explore.analysis.logit_files import load_logits
from normkd_explore.analysis.statistics import logit_statistics, softened_entropy
from normkd_explore.analysis.suited_temperature import (
    common_temperature,
    normkd_temperature,
    suited_temperature,
    top_bound,
)
from normkd_explore.exercises import check
from normkd_explore.figures.statistics import (
    class_figure,
    confidence_figure,
    distribution_figure,
    entropy_figure,
    suited_figure,
)
from normkd_explore.training import Where, get_preset, lesson, load_example_student, load_teacher, open_dataset
from normkd_explore.widgets import explore

# %% [markdown]
# ## One row of logits, four numbers
#
# A classifier gives each sample one logit $z_c$ a class. Softmax turns them into probabilities $p_c$. Four numbers describe a row:
#
# | | formula | says |
# |---|---|---|
# | mean | $\bar z = \frac1C\sum_c z_c$ | where the logits lie |
# | standard deviation | $\operatorname{std}(z)=\sqrt{\frac{1}{C-1}\sum_c (z_c-\bar z)^2}$ | how far apart they are |
# | maximum | $\max_c z_c$ | how high the favourite is |
# | entropy | $H = -\sum_c p_c\log p_c$ | how undecided the prediction is: 0 to $\log C$ |
#
# **Predict, then check** against the table that follows. Which of `mean`, `std`, `max`, `entropy` change when 5 is added to every logit of a sample?

# %%
my_changes = None  # a set of names, such as {"mean", "std"}
check("01-shift", my_changes)

# %%
one = torch.tensor([[4.0, 1.0, 0.0, -1.0, -4.0]])
changes = {"z": one, "z + 5": one + 5, "2 z": 2 * one}
pd.concat([logit_statistics(row).frame() for row in changes.values()]).set_axis(list(changes)).round(2).iloc[:, :5]

# %% [markdown]
# ## Two models, a thousand images
#
# A teacher that trained to the end, and a student that stopped half-way. Their logits are computed once here; all the rest of the notebook is
# arithmetic on these two tables of numbers.
#
# **Predict first:** whose logits lie further apart?

# %%
recipe = lesson(get_preset(PRESET))
where = Where(DATA_ROOT and Path(DATA_ROOT), TEACHER_WEIGHTS and Path(TEACHER_WEIGHTS), "cpu")
dataset = open_dataset(recipe, where.data_root)
teacher = load_teacher(recipe.teacher, dataset, where.teacher_weights)
student = load_example_student(recipe, dataset)
index = spread_index(SAMPLES, len(dataset.test))
images, labels = pictures(dataset.test, index), dataset.test.labels_N[index]
logits_t, logits_s = (model_logits(model, dataset, images) for model in (teacher, student))
stats_t, stats_s = logit_statistics(logits_t, labels), logit_statistics(logits_s, labels)
print(dataset.describe())
print(f"top-1: teacher {100 * stats_t.correct_N.mean():.1f} %, student {100 * stats_s.correct_N.mean():.1f} %")

# %%
my_model = None  # "teacher" or "student"
check("01-models", my_model)

# %%
distribution_figure({f"teacher, {recipe.teacher}": stats_t, f"student, {recipe.student}": stats_s})

# %% [markdown]
# Read the four panels:
#
# * The **means** are close to 0. The gradient of cross-entropy sums to 0 over the classes, so training pushes the mean nowhere, and softmax would not see it.
# * The **standard deviations** differ between the models, *and within each of them* from sample to sample. That second spread is what
#   one temperature for all samples cannot follow.
# * Maximum and entropy follow: logits that lie further apart make surer predictions.

# %%
models = {"teacher": stats_t, "student": stats_s}
table = pd.DataFrame({name: np.quantile(stats.std_N, [0.05, 0.5, 0.95]) for name, stats in models.items()})
table.index = ["5 % of the std are below", "median", "95 % are below"]
table.loc["third row / first row"] = table.iloc[2] / table.iloc[0]
table.round(1)

# %% [markdown]
# ## Right and wrong predictions
#
# The student is often wrong, so both groups are large enough to compare.
#
# **Predict, then check.** Where the student is wrong, is the standard deviation of its logits usually smaller or larger?

# %%
my_difference = None  # "smaller" or "larger"
check("01-wrong", my_difference)

# %%
distribution_figure(stats_s.by_correctness(), ("std", "entropy"))

# %% [markdown]
# ## Class by class
#
# Each class of the test set in the teacher's eyes: the median of its samples, and the line that holds the middle half of them. Some classes have
# logits that lie far apart, others not, and within every class the samples differ as well. Would one temperature *for each class* do?

# %%
class_figure(stats_t, dataset.class_names)

# %%
frame = stats_t.frame(dataset.class_names)
within = frame.groupby("label")["std"].var().mean()
print(
    f"{100 * within / frame['std'].var():.0f} % of the variance of std lies within the classes, the rest between them"
)

# %% [markdown]
# With the glyphs, most of the variance lies *between* classes: a temperature for each class would go a good part of the way, and a third of the
# variance would remain. NormKD needs no table of classes: it reads the temperature off the sample.
#
# ## Standard deviation is not confidence
#
# Both say something about certainty, but not the same. The confidence is a matter of the first class and its closest rivals; the standard deviation
# asks *all* classes. Take the samples with two strong candidates, a second class above 20 %: the teacher's have logits that lie *close together*. With the half-trained
# student it is the other way round: its logits are small, and only where they lie far apart does a second class get so much. So neither number stands for the other.

# %%
for name, logits, stats in (("teacher", logits_t, stats_t), ("student", logits_s, stats_s)):
    second = logits.softmax(dim=1).sort(dim=1, descending=True).values[:, 1].numpy()
    place = 100 * np.median((stats.std_N[:, None] > stats.std_N[None, :]).mean(axis=1)[second > 0.2])
    print(f"{name}: {(second > 0.2).sum()} such samples; half of them are among the {place:.0f} % of smallest std")

# %% [markdown]
# All samples of the student, each a dot:

# %%
confidence_figure(stats_s)

# %%
ranks = {name: stats.frame()[["std", "confidence"]].rank().corr().iloc[0, 1] for name, stats in models.items()}
pd.Series(ranks, name="rank correlation of std and confidence").round(2).to_frame()

# %% [markdown]
# **Drag the sliders, sample by sample.** The strip is sorted by the teacher's standard deviation. Look for a sample with a small standard deviation and
# two strong candidates: what does KD make of it, and what NormKD?

# %%
explore(teacher, student, dataset, state={"sort": "std", "T": TEMPERATURE, "T_norm": T_NORM})

# %% [markdown]
# ## What one temperature leaves, and what NormKD leaves
#
# Soften all samples of the teacher and measure the entropy that results. The thin line holds 90 % of the samples, the thick one the middle half.

# %%
settings = {f"KD, T = {T:g}": softened_entropy(logits_t, T) for T in (1.0, 2.0, TEMPERATURE, 8.0)}
T_normkd = {t: normkd_temperature(logits_t, t) for t in (0.5, 1.0, T_NORM)}
settings |= {f"NormKD, T_norm = {t:g}": softened_entropy(logits_t, T) for t, T in T_normkd.items()}
entropy_figure(settings, dataset.num_classes)

# %% [markdown]
# NormKD's lines are short. But beware: near the dotted line *every* method's lines are short, because nothing can be softer than an even spread. So compare
# at the same median: choose the one $T$ for which KD softens the median sample as NormKD does. The *range* is that of 90 % of the samples, in nats.

# %%
rows = []
for t_norm, temperatures in T_normkd.items():
    normkd = softened_entropy(logits_t, temperatures)
    one_T = common_temperature(logits_t, float(np.median(normkd)))
    kd = softened_entropy(logits_t, one_T)
    width_kd, width_normkd = (np.quantile(values, 0.95) - np.quantile(values, 0.05) for values in (kd, normkd))
    rows.append((t_norm, one_T, np.median(normkd), width_kd, width_normkd, width_kd / width_normkd))
columns = ["T_norm", "KD's T", "median", "range, KD", "range, NormKD", "ratio"]
pd.DataFrame(rows, columns=columns).round(3)

# %% [markdown]
# ## Which temperature would suit each sample?
#
# Turn the question round. Fix how soft every sample should be, here NormKD's median entropy, and search each sample's own $T$ that makes it so. No formula with a
# standard deviation takes part in the search: it only watches the entropy.

# %%
target = float(np.median(softened_entropy(logits_t, normkd_temperature(logits_t, T_NORM))))
suited = suited_temperature(logits_t, target)
suited_figure(stats_t.std_N, suited, T_NORM, common_temperature(logits_t, target))

# %% [markdown]
# The temperatures that suit lie along NormKD's line: for soft targets the standard deviation is what decides. The theory agrees. When $T$ is large,
# $\log C - H \approx \operatorname{std}(z)^2/(2T^2)$, so equal entropy means $T$ proportional to $\operatorname{std}(z)$.
#
# **Predict, then check.** Does the correlation between the temperature that suits and NormKD's get higher or lower when less softening is asked
# for ($T_\text{norm} = 0.5$ instead of 2)?

# %%
my_correlation = None  # "higher" or "lower"
check("01-regime", my_correlation)

# %%
correlations = {}
for t_norm in (4.0, 2.0, 1.0, 0.5):
    temperatures = normkd_temperature(logits_t, t_norm)
    suits = suited_temperature(logits_t, float(np.median(softened_entropy(logits_t, temperatures))))
    correlations[t_norm] = np.corrcoef(temperatures, suits)[0, 1]
pd.Series(correlations, name="correlation").rename_axis("T_norm").round(2).to_frame()

# %% [markdown]
# What decides instead, where targets are sharp? At $T_\text{norm} = 0.5$ the distance of the maximum from the mean follows the suited temperature best, then the standard
# deviation, then the gap between the first two classes. The gap leads only near $T_\text{norm} = 0.25$, where hardly more than two classes are left.

# %%
ordered = logits_t.sort(dim=1, descending=True).values.numpy()
measures = {
    "max - mean": ordered[:, 0] - ordered.mean(axis=1),
    "std": stats_t.std_N,
    "first - second": ordered[:, 0] - ordered[:, 1],
}
leads = {}
for t_norm in (2.0, 1.0, 0.5, 0.25):
    suits = suited_temperature(
        logits_t, float(np.median(softened_entropy(logits_t, normkd_temperature(logits_t, t_norm))))
    )
    leads[t_norm] = {name: np.corrcoef(values, suits)[0, 1] for name, values in measures.items()}
pd.DataFrame(leads).T.rename_axis("T_norm").round(2)

# %% [markdown]
# ## Your own logits
#
# Any model's logits can be saved and examined: an array `(samples, classes)` as `.npy`, with labels as `.npz`, a tensor as `.pt`, or a table as `.csv`. Loading never runs code
# from a file. In a terminal, `normkd stats FILE` prints the same text.

# %%
folder = Path(tempfile.mkdtemp())
np.savez(folder / "student.npz", logits=logits_s.numpy(), labels=labels.numpy())
saved = load_logits(LOGITS_FILE or folder / "student.npz")
print(format_examination("my model", examine(*saved, temperature=TEMPERATURE, t_norm=T_NORM)))

# %% [markdown]
# ## A mistake worth making once
#
# Many scripts save probabilities, not logits. The loss takes them without complaint, because it sees a table of numbers:

# %%
np.save(folder / "predictions.npy", logits_s.softmax(dim=1).numpy())
probabilities = load_logits(folder / "predictions.npy")
print("\n".join(examine(*probabilities, temperature=TEMPERATURE)["warnings"]))

# %% [markdown]
# The cure is the logarithm, as long as no probability was rounded to 0. $\log p$ differs from the logits by one constant a sample, a shift, which softmax
# does not see:

# %%
repaired = logit_statistics(probabilities.logits_NC.log())
measures = ("mean", "std", "max", "entropy")
same = [np.allclose(repaired.measure(m), stats_s.measure(m), atol=1e-6) for m in measures]
pd.DataFrame({"log p": np.where(same, "as with the logits", "shifted")}, index=measures)

# %% [markdown]
# ## Few classes
#
# The z-scores of a few numbers cannot lie far apart: a single class above $C-1$ equal ones is $\sqrt C$ above the next, and no row
# of logits puts its first class further ahead. (The *range* can be larger, 4.24 for ten classes, but then the others lie in between.) So with few classes NormKD stays soft,
# however sure the teacher is.

# %%
bounds = {t: [100 * top_bound(classes, t) for classes in (3, 10, 100, 1000)] for t in (0.5, 1.0, 2.0)}
table = pd.DataFrame(bounds, index=[3, 10, 100, 1000]).round(1)
table.rename_axis(index="classes", columns="largest probability (%), T_norm =")

# %% [markdown]
# ## Summary
#
# * Of a row's mean, standard deviation, maximum and entropy, the mean does not matter to softmax; the standard deviation says how large a temperature must be.
# * Standard deviations differ between models, between classes and within classes. One $T$ for all is right for the median sample at best.
# * The temperature that suits a sample follows $T_\text{norm}\cdot\operatorname{std}(z)$ closely when targets are soft, and loosely when they are not.
# * Look before you train: `normkd stats` finds probabilities, constant rows, NaN and settings that leave nothing to learn.
#
# ## Exercises
#
# 1. Sample B's logits are exactly twice sample A's. $T = 3$ suits A. Which $T$ suits B?

# %%
my_T = None
check("01-scale", my_T)

# %% [markdown]
# 2. Ten classes and $T_\text{norm} = 2$: what is the largest probability that NormKD's softening can leave to a class? Compute it before you scroll up.

# %%
my_bound = None
check("01-bound", my_bound)

# %% [markdown]
# 3. Set `T_NORM = 1.0` and run all cells again. By how much does the one $T$ of equal median entropy fall, and why?
# 4. Save the logits of a model of your own and set `LOGITS_FILE`. For how many of its samples is $T = 4$ more than 1.5 times off?
#
# <details><summary>Answers to 3 and 4</summary>
#
# 3: It falls to half, from 11.9 to 6.0. NormKD's temperatures are proportional to $T_\text{norm}$, so are the temperatures of equal softness of every sample with its own shape,
# and their median with them.
#
# 4: The examination prints the share. For this teacher and the softness of $T_\text{norm} = 2$ it is all of them, because 4 is a third of what suits; for that of
# $T_\text{norm} = 0.5$ it is a quarter. So a share is worth nothing without the softness that was asked for.
#
# </details>
