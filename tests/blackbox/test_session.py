"""Runs of `distil_black_box`: exact resume wherever they stop, counted and enforced queries, what the folder says."""

import json
import os
import signal
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from normkd_explore.blackbox import (
    BlackBox,
    BlackBoxFolder,
    BudgetError,
    blackbox_preset,
    distil_black_box,
    load_generator,
)
from normkd_explore.blackbox import session as session_module
from normkd_explore.models import create_model
from normkd_explore.training import Interrupted, NonFiniteError, Recipe, RunFolder, Where
from normkd_explore.training.measure import measure
from normkd_explore.training.runs.checkpoint import latest_checkpoint, save_checkpoint
from normkd_explore.training.runs.report import collect, tabulate
from tests.helpers.toy import CLASSES, toy_dataset
from tests.helpers.watchers import quiet

HERE = Where(device="cpu")
SIZES = {"queries": 150, "batch_size": 16, "generator_epochs": 2, "generator_batch": 16, "channels": 4, "epochs": 3}


def toy(method=None, **changes):
    return blackbox_preset("glyphs/resnet8-resnet8", method, **{**SIZES, **changes})


def network():
    torch.manual_seed(7)
    return create_model("resnet8", num_classes=CLASSES)


def run(recipe, out, **options):
    watchers = {"watch": quiet, "watch_generator": quiet}
    return distil_black_box(recipe, out, HERE, **{**watchers, **options}, dataset=toy_dataset(), teacher=network())


def weights(out):
    return load_file(out / "student.safetensors")


def same(first, second):
    return all(torch.equal(tensor, second[name]) for name, tensor in first.items())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A MEKD run that was never stopped."""
    out = tmp_path_factory.mktemp("whole") / "run"
    return out, run(toy(), out)


# --- queries -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "step_one"),
    [
        ({}, 16),  # a share of 0.2 pays for one batch of 16
        ({"information_share": 0.7}, 80),  # six of eight steps, two of them with the rest of an epoch
        ({"information_weight": 0.0}, 0),
        ({"answers": "hard"}, 0),
        ({"answers": "hard", "information_by": "index"}, 16),
        ({"pictures": "local"}, 0),
        ({"pictures": "noise", "answers": "top2"}, 0),
    ],
)
def test_every_query_is_counted_and_all_are_spent(tmp_path, monkeypatch, changes, step_one):
    asked = []
    answer = BlackBox.__call__
    monkeypatch.setattr(BlackBox, "__call__", lambda self, images: (asked.append(len(images)), answer(self, images))[1])
    summary = run(toy(epochs=1, **changes), tmp_path / "run")
    found = summary["queries"]
    assert sum(asked) == found["asked"] == found["budget"] == 150
    assert found["step_one"] == pytest.approx(step_one, abs=8)  # the last batch of an epoch has eight
    kept, queries = BlackBoxFolder(tmp_path / "run").read_answers()
    assert len(kept) == 150 - found["step_one"] and queries == 150


def test_the_budget_is_enforced_in_the_box_itself():
    box = BlackBox(lambda images: images, budget=4)
    box(torch.zeros(3, 5))
    with pytest.raises(BudgetError):
        box(torch.zeros(2, 5))


# --- resume --------------------------------------------------------------------------------------------------


class Stop:
    """Presses Ctrl-C once, at a place."""

    def __init__(self, epoch, step):
        self.place = (epoch, step)

    def __call__(self, moment, what):
        if (moment.epoch, moment.step) == self.place:
            os.kill(os.getpid(), signal.SIGINT)


STEPS = 4  # 56 local images in batches of 16


@pytest.mark.parametrize("place", [(0, 1), (0, 3), (0, STEPS), (1, 2)])
def test_step_one_goes_on_exactly(whole, tmp_path, place):
    out = tmp_path / "run"
    with pytest.raises(Interrupted) as stopped:
        run(toy(), out, watch_generator=Stop(*place))
    assert stopped.value.unit == "generator epoch"
    assert not (out / "generator.safetensors").exists()
    summary = run(toy(), out, resume=True)
    assert same(weights(out), weights(whole[0])) and summary["queries"] == whole[1]["queries"]
    for name in ("generator.safetensors", "answers.safetensors"):
        assert (out / name).read_bytes() == (whole[0] / name).read_bytes()
    for mine, theirs in zip(lines(out), lines(whole[0]), strict=True):
        assert {**mine, "seconds": 0} == {**theirs, "seconds": 0}


def lines(out):
    return [json.loads(line) for line in (out / "generator" / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("place", [(0, 1), (0, 9), (1, 4), (2, 2)])
def test_the_student_goes_on_exactly(whole, tmp_path, place):
    out = tmp_path / "run"
    with pytest.raises(Interrupted):
        run(toy(epochs=8), out, watch=Stop(*place))
    other = tmp_path / "other"
    run(toy(epochs=8), out, resume=True)
    run(toy(epochs=8), other)
    assert same(weights(out), weights(other))


@pytest.mark.parametrize("block", [0, 1])
def test_answers_that_were_paid_for_are_not_asked_again(tmp_path, monkeypatch, block):
    monkeypatch.setattr("normkd_explore.blackbox.pictures.ASKED", 32)
    out, asked = tmp_path / "run", []
    answer = BlackBox.__call__

    def counted(self, images):
        asked.append(len(images))
        if len(asked) == block + 1:
            os.kill(os.getpid(), signal.SIGINT)
        return answer(self, images)

    monkeypatch.setattr(BlackBox, "__call__", counted)
    with pytest.raises(Interrupted):
        run(toy(pictures="local"), out)
    assert len(BlackBoxFolder(out).read_answers()[0]) == (32, 56)[block]  # 56 local images: a block of 32, one of 24
    run(toy(pictures="local"), out, resume=True)
    run(toy(pictures="local"), tmp_path / "other")
    assert sum(asked) == 2 * 150
    assert same(weights(out), weights(tmp_path / "other"))


@pytest.mark.parametrize("part", ["optimisers", "discriminator", "step"])
def test_whatever_were_forgotten_would_be_noticed(whole, tmp_path, part):
    """The comparison above can fail: each part of step one's state is needed."""
    out = tmp_path / "run"
    with pytest.raises(Interrupted):
        run(toy(), out, watch_generator=Stop(1, 2))
    folder = BlackBoxFolder(out)
    point = latest_checkpoint(folder.step_one)
    state = point.state
    if part == "optimisers":
        for slots in state["training"]["optimisers"]:
            for slot in slots.values():
                slot["exp_avg"].zero_()
    elif part == "discriminator":
        for tensor in state["training"]["discriminator"].values():
            tensor.zero_()
    else:
        state["step"] = 1
    save_checkpoint(folder.step_one, point.epoch, point.step, state, point.recipe)
    run(toy(), out, resume=True)
    assert (out / "generator.safetensors").read_bytes() != (whole[0] / "generator.safetensors").read_bytes()


def test_a_finished_run_is_left_as_it_is_and_others_are_refused(whole):
    out, summary = whole
    assert run(toy(), out, resume=True) == summary
    with pytest.raises(ValueError, match=r"another recipe \(digits: None before, 3 now"):
        run(toy(digits=3), out, resume=True)
    with pytest.raises(FileExistsError, match="finished run"):
        run(toy(), out)


# --- what the folder says ------------------------------------------------------------------------------------


def test_the_folder_is_one_like_any_other(whole, tmp_path):
    out, summary = whole
    assert json.loads((out / "summary.json").read_text()) == summary
    assert BlackBoxFolder(out).recipe() == toy() and type(RunFolder(out).recipe()) is Recipe
    assert summary["method"] == "kd on generated pictures" and "image x 1" in summary["settings"]
    assert 1 <= summary["classes_covered"] <= CLASSES
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 1  # 134 pictures for 3 x 56: one pass
    run(toy(pictures="local"), out.parent / "local")
    found = tabulate(collect([out.parent]))
    assert {pooled.method for pooled in found.methods} == {"kd on generated pictures", "kd on local pictures"}
    assert len(found.differences) == 1, "one budget: runs with the same queries are pairs"
    generator, queries = load_generator(out)
    assert generator.channels == 4 and queries == summary["queries"]["step_one"]


def test_a_generator_can_be_handed_over_and_its_queries_count(whole, tmp_path):
    first = run(toy(information_share=0.7), tmp_path / "first")
    again = run(toy("normkd", seed=1), tmp_path / "again", generator=tmp_path / "first")
    assert again["queries"]["step_one"] == first["queries"]["step_one"] and again["queries"]["asked"] == 150
    assert not (tmp_path / "again" / "generator" / "metrics.jsonl").exists()
    with pytest.raises(ValueError, match="none would be left to ask with"):
        run(toy(queries=60), tmp_path / "less", generator=tmp_path / "first")
    with pytest.raises(FileNotFoundError, match="wanted a run folder of `normkd blackbox`"):
        run(toy(), tmp_path / "none", generator=tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"student.safetensors is no generator"):
        run(toy(), tmp_path / "none", generator=tmp_path / "first" / "student.safetensors")
    with pytest.raises(ValueError, match="which need none"):
        run(toy(pictures="noise"), tmp_path / "none", generator=tmp_path / "first")


def test_local_labels_are_never_used(tmp_path):
    dataset = toy_dataset()
    changed = replace(dataset, train=replace(dataset.train, labels_N=dataset.train.labels_N.flip(0)))
    options = {"watch": quiet, "watch_generator": quiet, "teacher": network()}
    for pictures in ("generated", "local"):
        outs = [tmp_path / f"{pictures}{i}" for i in range(2)]
        for out, data in zip(outs, (dataset, changed), strict=True):
            distil_black_box(toy(pictures=pictures), out, HERE, dataset=data, **options)
        assert same(weights(outs[0]), weights(outs[1]))


def test_hard_answers_of_a_sure_teacher_teach_its_classes(tmp_path):
    """Colours are told apart at once: a student of local pictures agrees with whoever knows them."""

    class Colours(torch.nn.Module):
        def forward(self, images):
            level = (images.mean(dim=(1, 2, 3)) * 0.25 + 0.5) * 255
            centres = 30.0 + 40 * torch.arange(CLASSES)
            return -((level[:, None] - centres) ** 2) / 100

    summary = distil_black_box(
        toy(pictures="local", answers="hard", queries=300, epochs=30, lr=0.05),
        tmp_path / "run",
        HERE,
        watch=quiet,
        dataset=toy_dataset(),
        teacher=Colours(),
    )
    assert summary["test"]["top1"] > 0.8 and summary["method"] == "ce on local pictures"


def test_what_does_not_fit_is_said_before_anything_is_asked(tmp_path):
    for changes, text in [
        ({"pictures": "dreams"}, "pictures: found 'dreams', wanted one of generated, local, noise"),
        ({"pictures": "local", "image_weight": 1.0}, "without a generator there are no pictures to align"),
        ({"answers": "loud"}, "answers: found 'loud'"),
        ({"answers": "hard", "digits": 3}, "digits: found 3 with answers='hard'"),
        ({"information_share": 1.0}, "information_share: found 1.0"),
        ({"queries": 0}, "queries: found 0"),
        ({"method": "fitnet"}, "a black box gives answers alone"),
    ]:
        with pytest.raises(ValueError, match=text):
            run(toy(**changes), tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_generator_that_breaks_is_named(tmp_path):
    with pytest.raises(NonFiniteError, match="generator: a loss was not finite"):
        run(toy(generator_lr=1e30), tmp_path / "run")


def test_a_run_can_be_measured_as_any_other(whole, monkeypatch):
    monkeypatch.setattr("normkd_explore.training.measure.open_dataset", lambda recipe, root: toy_dataset())
    found = measure(whole[0], device="cpu")
    assert found["top1"] == whole[1]["test"]["top1"]


def test_sizes_beyond_memory_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("normkd_explore.blackbox.pictures.MOST_BYTES", 10_000)
    with pytest.raises(ValueError, match="queries: found 150 pictures of 12 pixels"):
        run(toy(), tmp_path / "run")


def test_channels_are_settled_by_the_device_and_stay(tmp_path, capsys):
    with pytest.raises(Interrupted):
        run(toy(channels=None), tmp_path / "run", watch_generator=Stop(0, 1))
    assert BlackBoxFolder(tmp_path / "run").recipe().channels == 32
    assert "32 channels on a CPU, a quarter of the published 128" in capsys.readouterr().err
    assert session_module.settled_channels(toy(channels=None), "cuda").channels == 128
