"""The examples inside other people's trainers: each does what the formula says, and one step of several batches is one.

A test whose library is not installed is skipped: they come with `pip install "normkd-explore[examples]"`.
"""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from normkd_explore.examples.plain_loop import train_epoch
from normkd_explore.language import TokenNormKD
from normkd_explore.losses import CTKD, NormKD

PICTURES = torch.randn(20, 3, 4, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(20) % 5
WHY = 'needs `pip install "normkd-explore[examples]"`'


def batches(size: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return list(zip(PICTURES.split(size), LABELS.split(size), strict=True))


def flat_network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 5))


def with_norm(seed: int) -> nn.Module:
    """A network whose batch norm would notice being trained."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(48, 5))


def values(module: nn.Module) -> dict[str, torch.Tensor]:
    return copy.deepcopy(module.state_dict())


def assert_equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor], atol: float = 0.0) -> None:
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], atol=atol, rtol=0, msg=name)


def assert_one_step(before: nn.Module, after: nn.Module, teacher: nn.Module, lr: float, atol: float) -> None:
    """`after` is `before` moved by the gradient of CE x 0.1 + NormKD x 0.9 over all pictures at once."""
    wanted = copy.deepcopy(before)
    logits_s, logits_t = wanted(PICTURES), teacher(PICTURES).detach()
    T_s, T_t = 2 * logits_s.std(1, keepdim=True), 2 * logits_t.std(1, keepdim=True)
    kl_B = F.kl_div(F.log_softmax(logits_s / T_s, 1), F.softmax(logits_t / T_t, 1), reduction="none").sum(1)
    (0.1 * F.cross_entropy(logits_s, LABELS) + 0.9 * (T_t.squeeze(1).square() * kl_B).mean()).backward()
    with torch.no_grad():
        for parameter in wanted.parameters():
            parameter -= lr * parameter.grad
    assert_equal(wanted.state_dict(), after.state_dict(), atol)


def small_sgd(student: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(student.parameters(), lr=0.01)  # gradients stay below the limit of clipping


@pytest.mark.parametrize(("size", "accumulate"), [(20, 1), (8, 3), (5, 4)])
@pytest.mark.parametrize(
    ("dtype", "scaled", "atol"), [(torch.bfloat16, False, 2e-4), (torch.float16, True, 4e-5)], ids=["bf16", "f16"]
)
def test_plain_loop_makes_one_step_of_several_batches(size, accumulate, dtype, scaled, atol):
    """Batches of 8, 8 and 4 give the step of 20, with and without a loss scale, up to half precision's rounding."""
    before, teacher = flat_network(seed=1), flat_network(seed=2)
    student = copy.deepcopy(before)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, enabled=scaled)
    optimizer = small_sgd(student)
    train_epoch(student, teacher, batches(size), optimizer, scaler, NormKD(2.0), dtype, accumulate)
    assert_one_step(before, student, teacher, 0.01, atol)


def test_plain_loop_leaves_the_teacher_and_a_bad_step_alone():
    teacher, student = with_norm(1), with_norm(2)
    before, scaler = values(teacher), torch.amp.GradScaler("cpu", init_scale=1024.0)
    train_epoch(student, teacher, batches(10), small_sgd(student), scaler, NormKD(2.0), torch.float16)
    assert_equal(before, teacher.state_dict())
    before = values(student[2])
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)  # overflows: the scaler must skip the step
    train_epoch(student, teacher, batches(20), small_sgd(student), scaler, NormKD(2.0), torch.float16)
    assert_equal(before, student[2].state_dict())
    assert scaler.get_scale() < 2.0**40


def fit_lightning(student: nn.Module, teacher: nn.Module, distil: nn.Module, size: int, folder, **trainer):
    lightning = pytest.importorskip("lightning", reason=WHY)
    from normkd_explore.examples.lightning_module import Distillation

    class Plain(Distillation):
        def configure_optimizers(self):
            return torch.optim.SGD([*self.student.parameters(), *self.distil.parameters()], self.lr)

    options = {"max_epochs": 1, "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    loader = torch.utils.data.DataLoader(list(zip(PICTURES, LABELS, strict=True)), size)
    module = (Distillation if trainer.pop("scheduled", False) else Plain)(student, teacher, distil, lr=0.01)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice on worker processes
        found = lightning.Trainer(accelerator="cpu", default_root_dir=folder, **options, **trainer)
        found.fit(module, loader, loader)
    return module, found


@pytest.mark.parametrize(("size", "accumulate"), [(20, 1), (5, 4)])
def test_lightning_makes_the_step_of_the_formula(tmp_path, size, accumulate):
    before, teacher = flat_network(seed=1), flat_network(seed=2)
    student = copy.deepcopy(before)
    more = {"accumulate_grad_batches": accumulate, "enable_checkpointing": False}
    fit_lightning(student, teacher, NormKD(2.0), size, tmp_path, **more)
    assert_one_step(before, student, teacher, 0.01, 1e-6)


def test_lightning_keeps_the_teacher_out_of_training_and_checkpoints(tmp_path):
    teacher, distil = with_norm(1), CTKD()
    before, learned = values(teacher), values(distil)
    module, trainer = fit_lightning(with_norm(2), teacher, distil, 10, tmp_path, scheduled=True)
    assert_equal(before, teacher.state_dict())
    saved = torch.load(trainer.checkpoint_callback.best_model_path, weights_only=True)["state_dict"]
    assert saved.keys() == module.state_dict().keys() and not any(name.startswith("teacher") for name in saved)
    assert any(not torch.equal(value, learned[name]) for name, value in distil.state_dict().items())
    assert 0 <= trainer.callback_metrics["val/top1"] <= 1


def test_timm_task_is_the_formula_and_shows_the_teacher_its_own_normalisation():
    pytest.importorskip("timm", reason=WHY)
    from timm import create_model

    from normkd_explore.examples.timm_loop import NormKDTask

    student, teacher = (create_model(name, num_classes=5) for name in ("test_efficientnet", "test_resnet"))
    student.pretrained_cfg = {**student.pretrained_cfg, "mean": (0.1, 0.2, 0.3), "std": (0.5, 0.6, 0.7)}
    task = NormKDTask(student, teacher, NormKD(2.0), criterion=nn.CrossEntropyLoss(), task_loss_weight=0.1)
    task.train()
    pictures, mean, std = torch.randn(4, 3, 64, 64), *(torch.tensor(v) for v in ((0.1, 0.2, 0.3), (0.5, 0.6, 0.7)))
    found = task(pictures, LABELS[:4])
    raw = pictures * std.view(3, 1, 1) + mean.view(3, 1, 1)
    own_mean, own_std = (torch.tensor(teacher.pretrained_cfg[name]).view(3, 1, 1) for name in ("mean", "std"))
    wanted = NormKD(2.0)(found["output"], teacher.eval()((raw - own_mean) / own_std))
    torch.testing.assert_close(found["kd_loss"], wanted, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found["loss"], 0.1 * F.cross_entropy(found["output"], LABELS[:4]) + 0.9 * wanted)
    assert not teacher.training and student.training


def test_timm_loop_trains_on_mixed_pictures():
    pytest.importorskip("timm", reason=WHY)
    from timm.data import Mixup
    from timm.loss import SoftTargetCrossEntropy

    from normkd_explore.examples import timm_loop

    torch.manual_seed(0)
    student, teacher = (timm_loop.create_model("test_resnet", num_classes=5) for _ in range(2))
    task = timm_loop.NormKDTask(student, teacher, NormKD(2.0), criterion=SoftTargetCrossEntropy(), task_loss_weight=0.0)
    before = values(teacher)
    pairs = [(torch.randn(8, 3, 64, 64), LABELS[:8])] * 4
    losses = timm_loop.train(task, pairs, 3, 4, Mixup(mixup_alpha=0.8, num_classes=5))
    assert losses[-1] < 0.9 * losses[0]
    assert_equal(before, teacher.state_dict())
    assert task.has_ema()


def hugging_face(folder, size: int, accumulate: int, rows: list[torch.Tensor], teacher, student, kind=None, **named):
    transformers = pytest.importorskip("transformers", reason=WHY)
    quiet = {"report_to": [], "disable_tqdm": True, "save_strategy": "no", "dataloader_pin_memory": False}
    args = transformers.TrainingArguments(
        str(folder), max_steps=1, per_device_train_batch_size=size, gradient_accumulation_steps=accumulate,
        learning_rate=0.1, optim="sgd", lr_scheduler_type="constant", max_grad_norm=0.0, use_cpu=True,
        logging_strategy="no", **quiet,
    )  # fmt: skip
    data = [{"input_ids": row.clamp_min(0), "labels": row} for row in rows]
    kind(student, args, train_dataset=data, teacher=teacher, **named).train()


def test_hugging_face_step_counts_tokens_whatever_batches_they_come_in(tmp_path):
    """Rows with few and many labels: two batches of two give the step of one batch of four, and that of the formula."""
    pytest.importorskip("transformers", reason=WHY)
    from normkd_explore.examples.hugging_face import DistillationTrainer, tiny_model

    torch.manual_seed(0)
    teacher, student = tiny_model(1, 16, 30).eval(), tiny_model(1, 8, 30)
    rows = torch.randint(0, 30, (4, 12), generator=torch.Generator().manual_seed(1))
    rows[:2, 4:] = -100  # labels that do not count
    ends = []
    for size, accumulate in ((4, 1), (2, 2)):
        copied = copy.deepcopy(student)
        named = {"kind": DistillationTrainer, "distil": TokenNormKD(1.0), "kd_weight": 0.5}
        hugging_face(tmp_path, size, accumulate, list(rows), teacher, copied, **named)
        ends.append(copied)
    wanted = copy.deepcopy(student)
    shown, labels = rows.clamp_min(0), rows[:, 1:]
    z_s, z_t = wanted(shown).logits[:, :-1], teacher(shown).logits[:, :-1].detach()
    kd = NormKD(1.0)(z_s[labels != -100], z_t[labels != -100])
    (F.cross_entropy(z_s.flatten(0, 1), labels.flatten(), ignore_index=-100) + 0.5 * kd).backward()
    for after in ends:
        for moved, parameter in zip(after.parameters(), wanted.parameters(), strict=True):
            torch.testing.assert_close(moved, parameter - 0.1 * parameter.grad, atol=2e-6, rtol=0)
