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
# # Every method in one sentence
#
# **The question.** There are dozens of logit methods. What are they made of, and which of their parts decides what?
#
# **After this notebook you can**
#
# * read any logit method as *soften with a temperature, compare with a divergence, weigh the sample*, and build your own;
# * say which methods can teach a student the scale of its logits, and which cannot;
# * find the mistakes that published distillation code makes: a wrong mean, a missing $T^2$, a detached std.
#
# It takes about a minute on one core, without a GPU or a download.

# %% tags=["parameters"]
PRESET = "glyphs/resnet20-resnet8"  # DATASET/TEACHER-STUDENT, e.g. "cifar100/resnet32x4-resnet8x4"
DATA_ROOT = None  # folder of the data set; None: its default place
TEACHER_WEIGHTS = None  # checkpoint of the teacher; None: the shipped one (glyphs), torchvision's, or one you trained
DEVICE = "cpu"  # "auto" takes a GPU where there is one
RACERS = ("ce", "devkd")  # methods of the short race; "devkd" is the one that you make in this notebook
RACE_IMAGES, RACE_EPOCHS, RACE_BATCH = 960, 2, 16  # cut to some twenty seconds; a glyphs preset alone is cut
STUDENT_STEPS = 90  # of each tiny language model

# %% jupyter={"source_hidden": true}
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch.nn import functional as F

from normkd_explore.analysis import model_logits, pictures, soften, spread_index
from normkd_explore.analysis.grid import evaluate_grid
from normkd_explore.divergence import KL
from normkd_explore.examples.tiny_transformer import TinyTransformer, measure, read_documentation, train_language_model
from normkd_explore.exercises import check
from normkd_explore.figures.grid import cosine_figure, curves_figure, grid_figure, weights_figure
from normkd_explore.language import TokenKL, TokenNormKD
from normkd_explore.losses import KD, LSKD, MLKD, DistillationLoss, NormKD
from normkd_explore.methods import METHODS, Method, Settings, register
from normkd_explore.temperature import Constant, Softening, Std
from normkd_explore.training import Where, compare, get_preset, lesson, load_example_student, load_teacher, open_dataset
from normkd_explore.widgets import RaceView
from normkd_explore.widgets.method_grid import MethodGrid

# %% [markdown]
# ## Three parts
#
# A **policy** gives each sample a divisor of its logits, one for the teacher and one for the student, and a weight. A **divergence**
# compares the two softened predictions. The loss is their weighted mean. KD and NormKD differ in the policy alone:

# %%
recipe = lesson(get_preset(PRESET))
where = Where(DATA_ROOT and Path(DATA_ROOT), TEACHER_WEIGHTS and Path(TEACHER_WEIGHTS), DEVICE)
dataset = open_dataset(recipe, where.data_root)
teacher = load_teacher(recipe.teacher, dataset, where.teacher_weights)
student = load_example_student(recipe, dataset)
index = spread_index(200, len(dataset.test))
images, labels = pictures(dataset.test, index), dataset.test.labels_N[index]
logits_t, logits_s = (model_logits(model, dataset, images) for model in (teacher, student))

for policy, named in ((Constant(4.0), KD(4.0)), (Std(2.0), NormKD(2.0))):
    composed = DistillationLoss(policy, KL())
    print(f"{composed(logits_s, logits_t):.6f} = {named(logits_s, logits_t):.6f}   {policy.describe()}")

# %% [markdown]
# ## Predict first
#
# Double all logits of a student. For some policies its softened prediction stays the same, so their loss cannot tell a student with
# small logits from one with large ones, and its gradient has no part that changes their scale. Which of `Constant` (KD), `Std`
# (NormKD), `MaxLogit` (ATLC), `MaxRatio` (DTKD) and `Learned` (CTKD) are like that?

# %%
my_policies = None  # a set of names
check("03-scale", my_policies)

# %% [markdown]
# ## The table
#
# Each row is a policy, each column a divergence; any two of them are a loss. **Click a cell**, or walk with the arrow keys: below the table
# are the formulas, the numbers of one sample, and the gradient. The small words are registered methods: most cells have none. Then
# choose *Scale cosine* and check what you predicted.

# %%
few = spread_index(24, len(index))
grid = MethodGrid(logits_t[few], logits_s[few], labels[few], dataset.class_names, state={"policy": "Std(2)"})
grid

# %% [markdown]
# ## Rows decide about scale, whatever the column
#
# The cosine between a sample's gradient and its centred logits says how much of a step makes the logits larger or smaller. One dot a
# divergence: in the rows of `Std` and `MaxLogit` all of them lie at 0.

# %%
table = evaluate_grid(logits_t[few], logits_s[few], labels[few])
cosine_figure(table)

# %%
largest = abs(table.values("cosine")).max(axis=1)
for name, value in zip(table.policies, largest, strict=True):
    print(f"{name:<26} largest |cosine| {'0' if value < 1e-6 else f'{value:.3f}'}")

# %% [markdown]
# **Predict, then check.** Give a student nothing but free logits with a standard deviation of 0.2; the teacher's is some thirty times that.
# Follow NormKD's gradient for 300 steps. Does the student's std **A** grow towards the teacher's, **B** stay within a factor of two, or **C** shrink to 0?

# %%
my_letter = None
check("03-descent", my_letter)


# %%
def descend(loss, steps=300, rate=0.1):
    """Mean std of free logits along gradient descent on the loss alone."""
    generator = torch.Generator().manual_seed(0)
    z_s = 0.2 * torch.randn(logits_t.shape, generator=generator, dtype=torch.float64)
    course = []
    for _ in range(steps):
        z_s.requires_grad_()
        (gradient,) = torch.autograd.grad(len(z_s) * loss(z_s, logits_t), z_s)
        z_s = (z_s - rate * gradient).detach()
        course.append(z_s.std(dim=1).mean().item())
    return course


courses = {"NormKD, T_norm 2": descend(NormKD(2.0)), "KD, T 4": descend(KD(4.0)), "LSKD, T_norm 2": descend(LSKD(2.0))}
curves_figure(range(1, 301), courses, ("step", "std of the student's logits"))

# %% [markdown]
# NormKD has reached its minimum here, with logits of a tiny std: their *shape* is the teacher's, their scale is not. It grew from 0.20 to 0.34, most of it in the first step: a
# step at right angles to the logits makes them a little longer, and the gradient grows like 1 / std, so small logits get long steps (with a rate of 1 the first one
# goes to 2.3). None of this aims at the teacher's scale. In training cross-entropy sets it; nearly every recipe of the field has some, KD's too.

# %%
z_s = (0.1 * logits_t).requires_grad_()
(gradient,) = torch.autograd.grad(NormKD(2.0)(z_s, logits_t), z_s)
print(f"a tenth of the teacher's logits: NormKD {abs(NormKD(2.0)(z_s, logits_t)):.6f}, KD {KD(4.0)(z_s, logits_t):.2f}")
print(f"NormKD's gradient there is 0: {bool(gradient.abs().max() < 1e-9)}")

# %% [markdown]
# ## NormKD is LSKD times std²
#
# Both divide by $T_\text{norm}\cdot\operatorname{std}$; subtracting the mean first, as LSKD does, is invisible to softmax. So for each sample
# they differ by one factor, the variance of the teacher's logits:
#
# $$\ell_\text{NormKD} = \operatorname{std}(z_t)^2\cdot\ell_\text{LSKD}$$

# %%
normkd = soften(logits_t, logits_s, Std(2.0))
lskd = soften(logits_t, logits_s, Std(2.0, weight="constant", eps=1e-7))
difference = abs(normkd.loss_B / (normkd.std_t_B**2 * lskd.loss_B) - 1).max()
print(f"largest relative difference over {len(index)} samples below 1e-6: {bool(difference < 1e-6)}")
weights_figure(normkd.std_t_B, normkd.loss_B, lskd.loss_B)

# %% [markdown]
# **Predict, then check.** The published recipes weigh NormKD with 0.9 and LSKD with 9, both with $T_\text{norm} = 2$. At which standard deviation of
# the teacher's logits do a sample's two terms weigh the same?

# %%
my_std = None
check("03-equal", my_std)

# %% [markdown]
# ## Two classes
#
# The z-scores of two numbers are always $\pm 0.707$. By hand, without any check, NormKD's gradient is 0 even where the student has it
# backwards; the library refuses instead. In the table of a two-class batch you see who else refuses.

# %%
two_s = torch.tensor([[0.3, 1.2]], dtype=torch.float64, requires_grad=True)
two_t = torch.tensor([[2.0, -1.0]], dtype=torch.float64)
log_p, log_q = (F.log_softmax(z / (2.0 * z.std(dim=1, keepdim=True)), dim=1) for z in (two_t, two_s))
by_hand = (log_p.exp() * (log_p - log_q)).sum()
(gradient,) = torch.autograd.grad(by_hand, two_s)
print(f"by hand: loss {by_hand.item():.4f}, gradient is 0: {bool(gradient.abs().max() < 1e-12)}")
try:
    NormKD(t_norm=2.0)(two_s, two_t)
except ValueError as error:
    print(error)

# %%
grid_figure(evaluate_grid(logits_t[few][:, :2], logits_s[few][:, :2], labels[few] % 2))

# %% [markdown]
# ## Mistakes that train without a word
#
# Distillation code seldom crashes. It trains, a little worse than it should, and the table in the paper says that the method is weak.
# Three easy mistakes, and one from published code; predict what each does before you run it.
#
# **The wrong mean.** `F.kl_div` takes `reduction="mean"` where nothing is said; the published losses need `"batchmean"`. With 100 classes, how many
# times too small is the first one's result?

# %%
my_factor = None
check("03-mean", my_factor)

# %%
log_s, soft_t = F.log_softmax(logits_s / 4.0, dim=1), F.softmax(logits_t / 4.0, dim=1)
terms = 16 * F.kl_div(log_s, soft_t, reduction="none")  # what the two means start from
print(f"batchmean {terms.sum() / len(terms):.4f}   mean {terms.mean():.6f}   library {KD(4.0)(logits_s, logits_t):.4f}")

# %% [markdown]
# **The missing $T^2$.** Without that factor, how many times smaller is the gradient at $T = 64$ than at $T = 32$, both far above the logits' spread?

# %%
my_shrinkage = None
check("03-square", my_shrinkage)

# %%
temperatures = [2 ** (k / 4) for k in range(29)]
sizes = [(soften(logits_t, logits_s, Constant(T)).gradient_BC ** 2).sum(axis=1).mean() ** 0.5 for T in temperatures]
without = [size / T**2 for size, T in zip(sizes, temperatures, strict=True)]
curves_figure(
    temperatures, {"with T²": sizes, "without": without}, ("temperature", "size of a sample's gradient"), log=True
)

# %% [markdown]
# **The detached std.** The student's temperature follows its own logits, and the gradient flows through it. Someone writes `.std(...).detach()`,
# to save memory. What changes: the loss, the gradient, or both?

# %%
my_changes = None  # a set out of "loss" and "gradient"
check("03-detached", my_changes)


# %%
def normkd_by_hand(z_s, z_t, detached):
    std_s, std_t = z_s.std(dim=1, keepdim=True), z_t.std(dim=1, keepdim=True)
    T_s, T_t = 2.0 * (std_s.detach() if detached else std_s), 2.0 * std_t
    return DistillationLoss(lambda *_: Softening(T_s, T_t, T_t.square()), KL())(z_s, z_t)


for detached in (False, True):
    z_s = logits_s.clone().requires_grad_()
    loss = normkd_by_hand(z_s, logits_t, detached)
    loss.backward()
    along = (z_s.grad * z_s.detach()).sum(dim=1).abs().max()
    print(f"detached {detached!s:<5}  loss {loss:.6f}  gradient at right angles to the logits: {bool(along < 1e-12)}")

# %% [markdown]
# The value is the same to the last digit. A test of the value never sees it; a test of the *identity*, the gradient's right angle, does at once.
#
# **A mask that masks nothing.** The published code of MLKD means to leave out confident samples. It multiplies the finished loss, a scalar, by a
# mask over the samples, half of which is 1, and takes the mean. What factor remains?

# %%
my_share = None
check("03-masks", my_share)

# %%
even = slice(0, 64)
meant, coded = (MLKD(as_coded=flag)(logits_s[even], logits_t[even]).item() for flag in (False, True))
print(f"as coded / without a mask = {coded / meant:.2f}")

# %% [markdown]
# ## Your own method in ten lines
#
# A standard deviation squares, so one outstanding class has a large say in it. Say that the temperature should follow the *mean absolute deviation* of a
# sample's logits instead; for normally distributed logits that is 0.8 std, so a factor of 2.5 is like NormKD's 2. This is the whole policy, and its name for all tools:


# %%
@dataclass(frozen=True)
class Deviation:
    """T = factor · mean|z - mean(z)| for either network, weight = T_t²."""

    factor: float

    def __call__(self, logits_s, logits_t):
        deviations = ((z - z.mean(dim=1, keepdim=True)).abs().mean(dim=1, keepdim=True) for z in (logits_s, logits_t))
        T_s, T_t = (self.factor * deviation_B1.clamp_min(1e-3) for deviation_B1 in deviations)
        return Softening(T_s, T_t, T_t.square())

    def describe(self):
        return f"Each sample has the temperature T = {self.factor:g} · mean|z - mean(z)|; its divergence counts T_t² times."


METHODS.pop("devkd", None)  # so that this cell can run again
guess = Settings({"factor": 2.5}, ce_weight=0.1, kd_weight=0.9, published=False, source="a first guess, not tuned")
register(
    Method(
        "devkd", "Temperature from the mean deviation", lambda factor: DistillationLoss(Deviation(factor), KL()), guess
    )
)
mine = evaluate_grid(logits_t[few], logits_s[few], labels[few])
print(f"rows before {len(table.policies)}, now {len(mine.policies)}: the last is {list(mine.policies)[-1]}")

# %% [markdown]
# It has a row in the table with every divergence, although nobody told the table. Can your policy change the student's scale? (CONTRIBUTING.md shows such a
# method as a file, which `normkd train --method` then finds.)

# %%
own = {"policy": "Deviation(2.5)", "quantity": "cosine"}
MethodGrid(logits_t[few], logits_s[few], labels[few], dataset.class_names, state=own)

# %% [markdown]
# ## Let it race
#
# Your method against cross-entropy without a teacher: the students start from the same weights and see the same batches. Guessing is right in 1 of 100 cases. The
# race is so short that it shows how a race works and measures nothing: notebook 02 has a longer one, and `normkd compare --seeds 10` gives an answer.

# %% tags=["nbval-ignore-output"]
race = RaceView(RACERS)
race

# %% tags=["nbval-ignore-output"]
runs = Path(tempfile.mkdtemp())
recipes = [lesson(get_preset(PRESET, method)) for method in RACERS]
if recipe.dataset == "glyphs":
    size = {"train_size": RACE_IMAGES, "val_size": 200, "test_size": 200}
    recipes = [replace(r.with_epochs(RACE_EPOCHS), batch_size=RACE_BATCH, data_options=size) for r in recipes]
race.begin(0)
results = compare(recipes, [runs / method for method in RACERS], where, watch=race.watch)
race.finish()
for result in results:
    print(f"{result['method']:<8} {100 * result['test']['top1']:.1f} % of the test images")

# %% [markdown]
# ## The same losses on words
#
# A language model's logits are (positions, vocabulary), and the sentence stays the same: soften, compare, weigh. Here two tiny transformers read Python's own
# documentation strings: a teacher of two layers, and students of one layer and a third of its width, which train with cross-entropy alone and with a distillation
# term. `normkd_explore.language` takes the positions a few at a time, so that a vocabulary of 150,000 fits in memory; 500 words do here.

# %% tags=["nbval-ignore-output"]
text = read_documentation()
_ = torch.manual_seed(1)
large = train_language_model(TinyTransformer(width=96, layers=2), text, steps=2 * STUDENT_STEPS, name="teacher")

# %% tags=["nbval-ignore-output"]
terms = {"CE": None, "CE + KL, T 1": TokenKL(1.0), "CE + NormKD, T_norm 1": TokenNormKD(1.0)}
measured = {}
for name, term in terms.items():
    _ = torch.manual_seed(2)  # the same first weights for all
    small = TinyTransformer(width=32, layers=1, heads=2)
    train_language_model(small, text, STUDENT_STEPS, large if term else None, term, name=name)
    measured[name] = measure(small, text, large)
    print(name, {key: round(value, 2) for key, value in measured[name].items()})

# %% [markdown]
# `nats` is the cross-entropy of a held-out word, `kl` the distance from the teacher there, `agreement` the share of positions with the teacher's first choice. The
# numbers differ a little between machines and versions of Python; what does not:

# %%
for name in list(terms)[1:]:
    closer = measured[name]["kl"] < 0.9 * measured["CE"]["kl"]
    better = measured[name]["nats"] < measured["CE"]["nats"]
    print(f"{name}: clearly closer to the teacher than CE alone: {closer}; predicts held-out words better: {better}")

# %% [markdown]
# **Predict, then check.** A batch holds two answers, of 10 and of 90 words. What share of the loss does the long one have, if all positions have the same divergence?

# %%
my_part = None
check("03-tokens", my_part)

# %% [markdown]
# ## Summary
#
# * A logit method is a policy and a divergence. The table has far more cells than the literature has names.
# * The policy decides about scale: what divides by the student's own std has a gradient at right angles to its logits, with every divergence.
# * NormKD is LSKD times the teacher's variance, sample by sample. Two classes leave both nothing to learn.
# * Mistakes in losses are silent. Test identities, not values alone.
#
# ## Exercises
#
# 1. In the table, find the two columns of the row `Constant(4)` whose gradient is most nearly a change of scale. What do they have in common?
# 2. Change `Deviation` so that its weight is 1. Which of the table's numbers change, and by how much?
# 3. Make `Deviation` follow the teacher's logits for both networks. What happens to the row's cosines, and why?
# 4. Put `TokenBiLD()` from `normkd_explore.language` among the `terms`. It looks at the first 8 words alone: is that enough?
#
# <details><summary>Answers</summary>
#
# 1: The two `PowerTransformed`, with cosines of 0.89 and 0.76; `GramMatrices` follows with -0.43, all others lie near 0. They raise the student's probabilities to a power before they compare
# them, so larger logits alone make the comparison better.
#
# 2: `Loss` and the gradient's length fall by the factor $T_t^2$ of each sample; the cosines stay, since a weight turns no gradient.
#
# 3: They leave 0. The divisor no longer follows the student, so doubling its logits changes its softened prediction, and the gradient may say so.
#
# 4: Compare `kl` and `agreement` with those of the other terms on your machine. What one can say beforehand: the loss sees the order of the teacher's eight favourites and nothing of the other
# 492 words, so `kl` over all words is the number to watch.
#
# </details>
