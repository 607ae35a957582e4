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
# # ImageNet: know what a run will take before it starts
#
# **The question.** NormKD's ImageNet tables come from runs of 100 epochs over 1.28 million photographs. What does such a run need on
# *your* hardware: how many hours, how much memory, and what would have to be faster first?
#
# **After this notebook you can**
#
# * lay out ImageNet or your own photographs so that one command trains on them;
# * predict memory, time and bottleneck of a run on paper, and have them measured in seconds;
# * go from one GPU to many without changing the published recipe.
#
# Every cell runs here within a minute on a folder of drawn JPEG files. The same cells run the real thing: set `PRESET` and `DATA_ROOT`.

# %% tags=["parameters"]
PRESET = "folder/resnet34-resnet18"  # the real one: "imagenet/resnet34-resnet18"
DATA_ROOT = None  # folder with train/CLASS/*.jpg and val/CLASS/*.jpg; None: a small one is drawn
TEACHER_WEIGHTS = None  # checkpoint of the teacher; None: torchvision's (imagenet), else the one trained below
EPOCHS, BATCH_SIZE, IMAGE_SIZE, LEARNING_RATE = 2, 32, 100, 0.003  # each None: what the recipe says
DEVICE = "cpu"  # "auto" takes a GPU where there is one
WORKERS = 0  # processes that decode; None: one for each core, at most 8
SECONDS = 2  # for the measurement

# %% jupyter={"source_hidden": true}
import math
import tempfile
from dataclasses import replace
from pathlib import Path

import pandas as pd

from normkd_explore.data import load_dataset, make_batches
from normkd_explore.data.batches import plan_epoch
from normkd_explore.data.glyphs.drawn import draw_photos
from normkd_explore.exercises import check
from normkd_explore.figures import picture_sheet
from normkd_explore.figures.estimate import gpus_figure, memory_figure, rates_figure
from normkd_explore.methods import IMAGENET_PAIRS
from normkd_explore.training import Where, get_preset, teacher_recipe, train
from normkd_explore.training.planning.advice import Speeds, Workload, duration
from normkd_explore.training.planning.estimate import estimate
from normkd_explore.training.planning.memory import cache_bytes, estimate_memory, gib
from normkd_explore.training.runs.folder import RunFolder

# %% [markdown]
# ## The two published pairs
#
# The field reports two pairs on ImageNet. Their solver is the same for every method, their weights are not; what a method's authors did
# not publish is marked.

# %%
recipe = get_preset("imagenet/resnet34-resnet18")
steps = ", ".join(map(str, recipe.milestones))
print(
    f"{recipe.epochs} epochs, batch {recipe.batch_size}, learning rate {recipe.lr:g}, divided by ten after epochs {steps}"
)
print(f"SGD, momentum {recipe.momentum:g}, weight decay {recipe.weight_decay:g}\n")
rows = []
for teacher, student in IMAGENET_PAIRS:
    for method in ("ce", "kd", "normkd", "dkd", "normdkd"):
        s = get_preset(f"imagenet/{teacher}-{student}", method).settings
        values = " ".join(f"{name}={value:g}" for name, value in s.loss.items()) or "-"
        rows.append((f"{teacher}-{student}", method, values, f"{s.ce_weight:g}", f"{s.kd_weight:g}", s.source))
pd.DataFrame(rows, columns=["imagenet/", "method", "loss", "CE ×", "KD ×", "source"]).set_index(["imagenet/", "method"])

# %% [markdown]
# ## The folder
#
# ImageNet and your own photographs have the same layout: one folder a class, inside `train` and `val`. The names of the folders are the
# classes; the names of the files do not matter.
#
#     IMAGENET/train/n01440764/n01440764_10026.JPEG      1,281,167 files in 1,000 folders
#     IMAGENET/val/n01440764/ILSVRC2012_val_00000293.JPEG     50,000 files
#
# The validation archive comes **flat**; a page further down shows what happens then. Here four classes of shapes are drawn instead, and
# written as JPEG files.

# %%
scratch = tempfile.TemporaryDirectory()
root = Path(DATA_ROOT) if DATA_ROOT else draw_photos(Path(scratch.name) / "shapes", train=12, val=8, size=(200, 150))
changes = {"batch_size": BATCH_SIZE, "image_size": IMAGE_SIZE, "lr": LEARNING_RATE}
changes = {name: value for name, value in changes.items() if value}


def shortened(recipe):
    return replace(recipe.with_epochs(EPOCHS or recipe.epochs), **changes)


recipe = shortened(get_preset(PRESET))
dataset = load_dataset(recipe.dataset, root=root, image_size=recipe.image_size)
print(dataset.describe())

# %% [markdown]
# ## What a training step sees
#
# In each epoch an image is cut out anew: a random 8 to 100 % of its area, a random shape between 3:4 and 4:3, resized and perhaps mirrored. Both
# networks see the *same* cut. Evaluation is fixed: the shorter side resized to 256, the central 224 cut out (in proportion for other sizes).

# %%
singles = make_batches(dataset, "train", 1, augment=True, workers=0)


def cut(index, epoch):
    """What image `index` looks like in an epoch."""
    order_N, _ = plan_epoch(len(dataset.train), dataset.views, augment=True, seed=0, epoch=epoch)
    batch = next(singles.epoch(epoch, start_step=order_N.tolist().index(index)))
    return dataset.denormalize(batch.images_BCHW)[0]


shown = [cut(index, epoch) for index in (0, len(dataset.train) // 2) for epoch in range(8)]
picture_sheet(shown, 2 * [f"epoch {epoch + 1}" for epoch in range(8)], columns=8, side=80)

# %% [markdown]
# Small images have a countable number of views (162 for CIFAR-100: 81 crops, mirrored or not), so a frozen teacher's logits can be kept.
# Cuts drawn from a continuum never come twice.
#
# **Predict, then check.** How many bytes, in GB ($10^9$), are all teacher logits of CIFAR-100: 162 views of 50,000 images, 100 classes, 4 bytes each?

# %%
my_gigabytes = None
check("04-cache", my_gigabytes)
print(f"views that can be counted in this folder: {dataset.views.count}")
print(f"all logits for 162 views of ImageNet: {cache_bytes(162, 1_281_167, 1000) / 1e9:,.0f} GB")

# %% [markdown]
# ## Memory, before anything is allocated
#
# A training step holds: the weights of both networks; the student's gradients and momentum (as many numbers as its weights, each); and the
# **activations** that its forward pass keeps for the backward pass. The teacher's are not kept: nothing flows back through it.
#
# The numbers below come from running the student on tensors that have a shape and no data: a fraction of a second, on any machine.
#
# **Predict, then check.** ResNet-18 has 11.7 million parameters. With a batch of 512 images of 224 x 224 pixels, what takes most memory: `"weights"`,
# `"momentum"` or `"activations"`?

# %%
my_largest = None
check("04-memory", my_largest)

# %%
memories = {}
for teacher, student in IMAGENET_PAIRS:
    for precision, batch_size in (("32-true", 512), ("bf16-mixed", 512), ("bf16-mixed", 128)):
        published = replace(get_preset(f"imagenet/{teacher}-{student}"), precision=precision)
        label = f"{student}, batch {batch_size}, {precision}"
        memories[label] = estimate_memory(published, num_classes=1000, image_size=224, batch_size=batch_size)
for label, memory in memories.items():
    print(f"{label:36} {gib(memory.total):>9}, of which activations {gib(memory.activations)}")

# %%
memory_figure(memories, sizes={"12 GiB": 12, "24 GiB": 24})

# %% [markdown]
# A batch shared by four GPUs (128 each) needs about a quarter of it on each of them. A real run wants some more: buffers of the
# convolution library, rounding, and the driver's own memory, say 1 to 2 GiB.

# %% [markdown]
# ## Time, on paper
#
# Three things happen to every image: it is **decoded** and cut (by processor cores), the **teacher** looks at it, the **student** learns from it. The networks
# take turns on one device, so their times add up; decoding runs beside them, so the slower side decides:
#
# $$\frac{1}{\text{networks}} = \frac{1}{\text{teacher}} + \frac{1}{\text{student}},\qquad
# \text{step} = \min(\text{decoding},\ \text{GPUs}\cdot\text{networks}).$$
#
# **Predict, then check.** Suppose decoding gives 1,600 images a second, the teacher alone 3,000, the student's step alone 2,000. What limits the run on one GPU:
# `"decoding"`, `"teacher"` or `"student"`? And how many hours are 100 epochs of 1,281,167 images?

# %%
my_limit = None
check("04-limit", my_limit)
my_hours = None
check("04-hours", my_hours)

# %% [markdown]
# With more GPUs the networks get faster and decoding does not, so it takes over:

# %%
supposed = Speeds(decoding=1600, teacher=3000, student=2000)
imagenet = Workload(train=1_281_167, val=0, test=50_000, epochs=100, num_classes=1000)
for gpus in (1, 2, 4, 8):
    seconds = imagenet.trained / supposed.step(gpus)
    print(
        f"{gpus} GPU{'s' * (gpus > 1):1}  {supposed.step(gpus):5,.0f} images/s  {duration(seconds):>9}  limit: {supposed.limit(gpus)}"
    )
gpus_figure(supposed)

# %% [markdown]
# ## Time, measured here
#
# `normkd estimate PRESET` measures the three parts for a few seconds, then all together, and works out the rest. For ImageNet it needs no
# ImageNet: it draws photographs of the usual size. Here it looks at this notebook's own run.

# %% tags=["nbval-ignore-output"]
where = Where(root, TEACHER_WEIGHTS and Path(TEACHER_WEIGHTS), DEVICE, WORKERS)
measured = estimate(recipe, where, seconds=SECONDS)
print(measured)
rates_figure({part: getattr(measured, part) for part in ("decoding", "teacher", "student", "together")})

# %% [markdown]
# Which part has to become faster first? Here no worker processes are used (`WORKERS = 0`), so decoding takes its turn like the networks. Do the
# networks leave enough to gain from workers?

# %%
decoding, networks = measured.speeds.decoding, measured.speeds.networks
print(f"decoding limits this run: {measured.limit == 'decoding'}")
print(f"worker processes could save more than half of its time: {networks / (networks + decoding) > 0.5}")

# %% [markdown]
# ## Run it
#
# First the teacher (ImageNet's come from torchvision, so that step falls away there), then the student. A few steps on drawn shapes teach a network nothing; what is
# rehearsed here is that every part works. In a terminal, at full scale:
#
#     normkd estimate imagenet/resnet34-resnet18 --data-root IMAGENET
#     normkd train    imagenet/resnet34-resnet18 --data-root IMAGENET
#     normkd train    imagenet/resnet50-mobilenetv1 --data-root IMAGENET --method normdkd
#     normkd evaluate runs/imagenet/resnet34-resnet18/normkd-seed0 --data-root IMAGENET
#
# On a GPU these take bf16 and channels-last memory by themselves, and JPEG files are decoded by the GPU where torchvision can do that, else by
# worker processes; a line says which, and why (`NORMKD_DECODER=workers` or `gpu` chooses). Which is faster depends on the machine: run
# `normkd estimate` with each. `Ctrl-C` stops after the current step; `--resume` goes on from there.

# %% tags=["nbval-ignore-output"]
runs = Path(scratch.name) / "runs"
weights = where.teacher_weights
if recipe.dataset != "imagenet" and weights is None:
    weights = runs / "teacher"
    train(shortened(teacher_recipe(PRESET)), weights, where, dataset=dataset)
where = replace(where, teacher_weights=weights)
summary = train(recipe, runs / "normkd-seed0", where, dataset=dataset)
took = f"{summary['train_seconds']:.0f} s of training"
print(f"{took}; predicted for the whole run, evaluations included: {measured.seconds()[0]:.0f} s")

# %%
run = RunFolder(runs / "normkd-seed0")
losses = [record["train"]["loss"] for record in run.metrics()]
print(f"{len(losses)} epochs in metrics.jsonl, all losses finite: {all(map(math.isfinite, losses))}")
print(f"tested once, after the last epoch, on {run.summary()['test']['n']} images")

# %% [markdown]
# ## From one GPU to many
#
# `torchrun` starts one process for each GPU; each reads its share of every batch, and gradients are averaged. The command is otherwise the same:
#
#     torchrun --nproc-per-node 4 -m normkd_explore train imagenet/resnet34-resnet18 --data-root IMAGENET
#
# **Predict, then check.** The recipe says batch 512 and learning rate 0.2. How many images does each of four processes take in a step? And which
# learning rate do they use?

# %%
my_share = None
check("04-share", my_share)
my_rate = None
check("04-rate", my_rate)

# %% [markdown]
# The shares of two processes, put together, are the batch of one: the same images in the same cuts. One thing differs: batch normalisation takes its mean and variance over the images of its
# own process, so a step of four times 128 is not to the last digit a step of 512.

# %%
options = {"augment": True, "seed": 0, "workers": 0}
alone = next(make_batches(dataset, "train", 8, **options).epoch(0))
shares = [next(make_batches(dataset, "train", 8, rank=rank, world_size=2, **options).epoch(0)) for rank in range(2)]
same = all((share.images_BCHW == alone.images_BCHW[rank::2]).all() for rank, share in enumerate(shares))
counts = " + ".join(str(len(share.labels_B)) for share in shares)
print(f"{counts} images are the {len(alone.labels_B)} of one process: {bool(same)}")

# %% [markdown]
# ## Two mistakes worth making once
#
# ImageNet's validation archive unpacks into one flat folder. A loader that took it for one class would report nonsense for hours.

# %%
flat = Path(scratch.name) / "flat"
draw_photos(flat, train=2, val=2, size=(120, 90))
for file in sorted((flat / "val").glob("*/*.jpg")):
    file.rename(flat / "val" / f"{file.parent.name}_{file.name}")
    if not any(file.parent.iterdir()):
        file.parent.rmdir()
try:
    load_dataset("imagenet", flat)
except ValueError as error:
    print(str(error).replace(str(flat), "FLAT"))

# %% [markdown]
# The fix: move every file into the folder of its class. (For ImageNet's archive, the list of classes is in the development kit.)

# %%
for file in sorted((flat / "val").glob("*.jpg")):
    folder = flat / "val" / file.name.split("_")[0]
    folder.mkdir(exist_ok=True)
    file.rename(folder / file.name)
print(load_dataset("imagenet", flat, protocol="paper").describe())

# %% [markdown]
# The second mistake happens by itself: a download or a copy that broke off. The message names the file, from whatever process found it.

# %%
broken = sorted((flat / "val").glob("*/*.jpg"))[0]
broken.write_bytes(broken.read_bytes()[:2000])
try:
    list(make_batches(load_dataset("imagenet", flat, protocol="paper"), "test", 4, augment=False, workers=0).epoch(0))
except ValueError as error:
    where_and_what, _, what_to_do = str(error).partition(" (")
    print(where_and_what.replace(str(flat), "FLAT"), "...", what_to_do.rpartition("; ")[2])

# %%
scratch.cleanup()

# %% [markdown]
# ## Summary
#
# * One folder a class, inside `train` and `val`: ImageNet and your own photographs alike.
# * Memory is mostly activations, and they grow with the batch: bf16 halves them, more GPUs share them.
# * Networks take turns, decoding runs beside them: the slower side decides, and with many GPUs that is decoding.
# * `normkd estimate` first. Batch and learning rate of a recipe stay as they are, however many processes share the work.
#
# ## Exercises
#
# 1. With the supposed rates above, how many images a second must decoding give so that it does not hold up eight GPUs?
# 2. Run `normkd estimate imagenet/resnet50-mobilenetv1` in a terminal. What limits it on your machine, and what does the advice say?
# 3. Set `WORKERS = 2` and run again. Which of the measured rates change, and why not all?
#
# <details><summary>Answers to 2 and 3</summary>
#
# 2: It depends on the machine: the slower of decoding and networks is named, and the advice says what would help most. On a GPU with few processor cores it is nearly always decoding.
#
# 3: Decoding and the rate of all parts together. The networks' own rates stay: workers prepare images, they do not compute with them.
#
# </details>

# %%
my_decoding = None
check("04-decoding", my_decoding)
