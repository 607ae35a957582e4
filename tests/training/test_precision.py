"""bf16-mixed: who chooses it, what it leaves in float32, and that it is the same training."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

from normkd_explore.data import make_batches
from normkd_explore.models import create_model, load_checkpoint
from normkd_explore.training import Interrupted, RunFolder, TeacherCache, compare, train
from normkd_explore.training.learner import Learner
from normkd_explore.training.machine import precision
from normkd_explore.training.machine.precision import choose_precision
from normkd_explore.training.recipes.schedule import learning_rate
from normkd_explore.training.settle import _say_once
from tests.helpers.toy import BATCH, CLASSES, toy_dataset, toy_recipe, toy_where
from tests.helpers.watchers import quiet, stop_at


@pytest.fixture
def machine(monkeypatch):
    """Pretend what this machine can do."""

    def pretend(avx: bool = False, amx: bool = False, gpu: bool | None = None, on_cpu: bool = True) -> None:
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu is not None)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: gpu)
        monkeypatch.setattr(precision, "BF16_ON_CPU", on_cpu)
        _say_once.cache_clear()

    return pretend


@pytest.mark.parametrize(
    ("can", "device", "chosen", "said"),
    [
        ({}, "cpu", "32-true", "neither AVX512_BF16 nor AMX"),
        ({"avx": True}, "auto", "bf16-mixed", r"\(AVX512_BF16\)"),
        ({"amx": True}, "cpu", "bf16-mixed", r"\(AMX\)"),
        ({"avx": True, "amx": True}, "cpu", "bf16-mixed", "AVX512_BF16 and AMX"),
        ({"avx": True, "on_cpu": False}, "cpu", "32-true", r"only if asked for.*AVX512_BF16"),
        ({"gpu": True}, "auto", "bf16-mixed", "this GPU computes"),
        ({"gpu": True}, "cuda:0", "bf16-mixed", "this GPU computes"),
        ({"gpu": False, "avx": True}, "auto", "32-true", "this GPU does not"),
        ({"gpu": True}, "cpu", "32-true", "this processor does not"),
        ({"avx": True}, "mps", "32-true", "not tried on mps"),
    ],
)
def test_auto_takes_bfloat16_where_the_device_computes_it(machine, can, device, chosen, said):
    machine(**can)
    choice = choose_precision(device)
    assert choice.precision == chosen
    assert re.search(said, str(choice)) and f"precision {chosen}: " in str(choice)


def test_a_run_keeps_what_auto_became_also_on_another_machine(machine, tmp_path, capsys):
    machine(avx=True)
    recipe, out, where = toy_recipe("kd", precision="auto"), tmp_path / "run", toy_where(tmp_path)
    with pytest.raises(Interrupted):
        train(recipe, out, where, watch=stop_at(0, 2), dataset=toy_dataset())
    assert capsys.readouterr().err.count("precision bf16-mixed: this processor computes bfloat16") == 1
    assert "precision: bf16-mixed" in (out / "config.yaml").read_text()
    machine()
    train(recipe, out, where, resume=True, watch=quiet, dataset=toy_dataset())
    assert "precision 32-true" not in capsys.readouterr().err
    named = replace(recipe, precision="bf16-mixed")
    train(named, tmp_path / "named", where, watch=quiet, dataset=toy_dataset())
    assert RunFolder(out).recipe() == RunFolder(tmp_path / "named").recipe() == named
    assert RunFolder(out).recipe().budget() == named.budget()
    mine, theirs = (load_file(folder / "student.safetensors") for folder in (out, tmp_path / "named"))
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in mine.items())


def test_a_precision_that_was_named_is_not_asked_about(machine, tmp_path, capsys):
    machine(avx=True)
    train(toy_recipe("ce", epochs=1), tmp_path / "run", watch=quiet, dataset=toy_dataset())
    assert "precision" not in capsys.readouterr().err


def test_students_in_lockstep_get_one_precision(machine, tmp_path):
    """Also where one of them is new and the other goes on."""
    machine(avx=True)
    where = toy_where(tmp_path)
    recipes = [toy_recipe(method, precision="auto") for method in ("ce", "kd")]
    train(toy_recipe("ce"), tmp_path / "ce", where, watch=quiet, dataset=toy_dataset())
    outs = [tmp_path / recipe.method for recipe in recipes]
    compare(recipes, outs, where, resume=True, watch=quiet, dataset=toy_dataset())
    assert [RunFolder(out).recipe().precision for out in outs] == ["32-true", "32-true"]


def test_everything_but_convolutions_and_products_is_float32(tmp_path, monkeypatch):
    """Read during training, from the network, the loss, the optimiser, the sums and the kept logits."""
    seen: dict[str, set[torch.dtype]] = {}

    def note(name, *tensors):
        seen.setdefault(name, set()).update(tensor.dtype for tensor in tensors)

    def hook(module, inputs, output):
        note(type(module).__name__, output)

    cache, loss_of = TeacherCache("memory", tell=quiet), Learner._loss

    def watch(moment, runs):
        learner = runs[0].learner
        note("weights", *learner.module.parameters())
        note("statistics", *(b for n, b in learner.module.named_buffers() if "running" in n))
        note("momentum", *(s["momentum_buffer"] for s in learner.optimizer.optimizer.state.values()))
        note("sums", learner.totals)
        note("kept", cache._table.values_RC)

    def losses(learner, logits_s, logits_t, *rest):
        loss = loss_of(learner, logits_s, logits_t, *rest)
        note("logits", logits_s, logits_t)
        note("loss", *loss)
        return loss

    monkeypatch.setattr(Learner, "_loss", losses)
    handles = []
    create = Learner.__init__

    def created(learner, recipe, model, *rest):
        kinds = (nn.Conv2d, nn.Linear, nn.BatchNorm2d)
        handles.extend(m.register_forward_hook(hook) for m in model.modules() if isinstance(m, kinds))
        create(learner, recipe, model, *rest)

    monkeypatch.setattr(Learner, "__init__", created)
    recipe = toy_recipe("normkd", epochs=1, precision="bf16-mixed")
    where = replace(toy_where(tmp_path), teacher_cache=cache)
    train(recipe, tmp_path / "run", where, watch=watch, dataset=toy_dataset())
    half = {name for name, dtypes in seen.items() if torch.bfloat16 in dtypes}
    assert half == {"Conv2d", "Linear", "BatchNorm2d"}  # BatchNorm's output; its statistics are float32
    assert all(seen[name] == {torch.float32} for name in seen.keys() - half) and len(seen) == 10
    stored = load_file(tmp_path / "run" / "student.safetensors")
    assert {t.dtype for n, t in stored.items() if not n.endswith("num_batches_tracked")} == {torch.float32}


def test_equals_a_plain_loop_under_autocast(tmp_path):
    """Not bit for bit: the package folds the teacher's batch normalisation, and bfloat16 has three digits."""
    dataset, where, recipe = toy_dataset(), toy_where(tmp_path), toy_recipe("kd", lr=0.02, precision="bf16-mixed")
    train(recipe, tmp_path / "run", where, watch=quiet, dataset=dataset)
    teacher = load_checkpoint("resnet8", where.teacher_weights, num_classes=CLASSES).eval()
    torch.manual_seed(recipe.seed)
    student = create_model("resnet8", num_classes=CLASSES)
    first = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    optimizer = torch.optim.SGD(student.parameters(), recipe.lr, momentum=0.9, weight_decay=recipe.weight_decay)
    batches = make_batches(dataset, "train", BATCH, augment=True, seed=recipe.seed)
    for epoch in range(recipe.epochs):
        for step, batch in enumerate(batches.epoch(epoch)):
            for group in optimizer.param_groups:
                at = epoch * len(batches) + step
                group["lr"] = learning_rate(recipe.schedule, recipe.lr, at, len(batches), recipe.epochs)
            with torch.autocast("cpu", torch.bfloat16):
                with torch.no_grad():
                    logits_t = teacher(batch.images_BCHW)
                logits_s = student(batch.images_BCHW)
            kd = 16 * F.kl_div(
                F.log_softmax(logits_s.float() / 4, dim=1),
                F.softmax(logits_t.float() / 4, dim=1),
                reduction="batchmean",
            )
            (0.1 * F.cross_entropy(logits_s.float(), batch.labels_B) + 0.9 * kd).backward()
            optimizer.step()
            optimizer.zero_grad()
    ours, theirs = load_file(tmp_path / "run" / "student.safetensors"), student.state_dict()
    moved = torch.cat([(theirs[n] - first[n]).flatten() for n in first if first[n].is_floating_point()])
    apart = torch.cat([(theirs[n] - ours[n]).flatten() for n in first if first[n].is_floating_point()])
    assert apart.norm() < 0.03 * moved.norm()
