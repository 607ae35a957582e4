"""A whole search on a toy data set: what it writes, how it goes on, and what it refuses."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

from normkd_explore.training import Interrupted, Where
from normkd_explore.training import material as material_module
from normkd_explore.training.recipes.settings_file import read_settings
from normkd_explore.tuning import Plan, track, tune
from normkd_explore.tuning.study import Study
from tests.helpers.toy import toy_dataset, toy_recipe, toy_where

PLAN = Plan(trials=5, together=3, images=30, seeds=2)


def search(folder, resume: bool = False, plan: Plan = PLAN, recipe=None, **named):
    """Two epochs each; the recipe says three."""
    recipe = recipe or toy_recipe("normkd", epochs=3)
    named = {"dataset": toy_dataset(), **named}
    return tune(recipe, folder / "tuned", toy_where(folder), resume, plan, epochs=2, **named)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    return folder, search(folder)


@pytest.fixture
def copied(done, tmp_path):
    """The finished search's folder, to be spoiled."""
    shutil.copytree(done[0], tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_it_tries_as_many_as_planned_and_begins_with_the_published(done):
    _, tuned = done
    assert len(tuned.tried) == 5
    assert tuned.tried[0]["values"] == {"t_norm": 2.0, "ce_weight": 0.1, "kd_weight": 0.9} == tuned.finals[0].values
    assert tuned.finals[0].name == "default" and len(tuned.finals) == 3
    assert all(set(final.by_seed) == {1, 2} for final in tuned.finals)
    for row in tuned.tried:
        assert all(low <= row["values"][name] <= high for name, (low, high) in tuned.ranges.items())
    assert tuned.chosen.mean == max(final.mean for final in tuned.finals)


def test_what_it_writes_is_what_it_says(done):
    folder, tuned = done
    kept = json.loads((folder / "tuned" / "result.json").read_text())
    assert kept == json.loads(json.dumps(tuned.as_json()))
    found = read_settings(folder / "tuned" / "settings.yaml")
    assert (found.preset, found.method) == ("glyphs/resnet8-resnet8", "normkd")
    chosen = tuned.chosen.values
    assert found.settings.loss == {"t_norm": chosen["t_norm"]} and found.settings.kd_weight == chosen["kd_weight"]
    assert {path.name for path in (folder / "tuned").iterdir()} == {
        "tune.json", "study.db", "progress.json", "settings.yaml", "result.json"
    }  # fmt: skip


def test_its_cost_is_counted(done):
    """Two epochs for every whole run, at least one for a stopped one; the teacher is asked once for all students."""
    _, tuned = done
    run, whole = 2 * tuned.images, sum(row["top1"] is not None for row in tuned.tried)
    fresh = 2 * run * len(tuned.finals)
    assert 20 <= tuned.images <= 30
    assert run * whole + fresh <= tuned.cost.images <= run * len(tuned.tried) + fresh
    races = 2 + 2
    assert tuned.cost.asked <= run * races + tuned.images and tuned.cost.seconds > 0


def test_more_seeds_and_settings_leave_what_is_known(copied, monkeypatch):
    seen = []
    race = track.Track.race
    monkeypatch.setattr(
        track.Track, "race", lambda self, s, seed, *a: (seen.append((len(s), seed)), race(self, s, seed, *a))[1]
    )
    tuned = search(copied, resume=True, plan=replace(PLAN, seeds=3))
    assert seen == [(3, 3)]
    assert all(set(final.by_seed) == {1, 2, 3} for final in tuned.finals)
    seen.clear()
    assert len(search(copied, resume=True, plan=replace(PLAN, trials=6)).tried) == 6
    assert seen[0] == (1, 0)


def test_a_stopped_search_goes_on(tmp_path, monkeypatch):
    """Ctrl-C in the second handful: its two settings are tried again, and none is lost."""
    race, calls = track.Track.race, []

    def interrupted(self, settings, seed, *stop):
        calls.append([each.loss["t_norm"] for each in settings])
        if len(calls) == 2:
            raise Interrupted(0, 1, None)
        return race(self, settings, seed, *stop)

    monkeypatch.setattr(track.Track, "race", interrupted)
    with pytest.raises(Interrupted):
        search(tmp_path)
    tuned = search(tmp_path, resume=True)
    assert len(tuned.tried) == 5 and calls[2] == pytest.approx(calls[1])


def test_a_folder_with_a_search_is_not_begun_again(copied):
    with pytest.raises(FileExistsError, match="holds a search already: go on with --resume"):
        search(copied)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"recipe": toy_recipe("normkd", epochs=3, lr=0.5)}, "recipe"),
        ({"search": ["t_norm=1:3"]}, "ranges"),
        ({"plan": replace(PLAN, images=20)}, "images"),
        ({"dataset": toy_dataset(side=16)}, "inputs"),
    ],
)
def test_another_search_is_not_mixed_in(copied, change, words):
    with pytest.raises(ValueError, match=f"found a search with another .*{words}"):
        search(copied, resume=True, **change)


@pytest.mark.parametrize("name", ["study.db", "tune.json", "progress.json"])
@pytest.mark.parametrize(
    "content", [b"", b"\x00\xff" * 300, b'{"cost": 3}', b"[1]"], ids=["empty", "binary", "wrong", "list"]
)
def test_damaged_files_are_named(copied, name, content):
    if name == "study.db" and content == b"":
        pytest.skip("an empty file is a new database")
    (copied / "tuned" / name).write_bytes(content)
    with pytest.raises(
        ValueError, match=name if content != b'{"cost": 3}' or name != "tune.json" else "another recipe"
    ):
        search(copied, resume=True)


def test_a_teacher_that_knows_the_held_out_images_is_refused(tmp_path, monkeypatch):
    leak = {"verdict": "learned", "why": "The teacher was trained on these images."}
    monkeypatch.setattr(material_module, "validation_trust", lambda *_: leak)
    with pytest.raises(ValueError, match=r"tune: The teacher was trained on these images.*normkd teacher"):
        search(tmp_path)
    assert not (tmp_path / "tuned").exists()


def test_the_test_split_is_not_for_choosing(tmp_path):
    with pytest.raises(ValueError, match="no held-out images to choose on"):
        search(tmp_path, dataset=replace(toy_dataset(), val=None))


def test_several_processes_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="several processes"):
        search(tmp_path)


def test_what_is_done_is_announced_and_runs_that_are_too_short(copied, capsys):
    tuned = search(copied, resume=True)
    said = capsys.readouterr().err
    assert f"5 settings, 3 at a time, 2 epochs of {tuned.images} images each; the best on 2 fresh seeds." in said
    assert f"At most {(5 + 3 * 2) * 2 * tuned.images} images are trained on." in said
    assert "a run of 3 updates shows who starts fast" in said


@pytest.mark.parametrize("change", [{"trials": 1}, {"images": 0}, {"seeds": 1.5}])
def test_impossible_plans_are_refused(change):
    with pytest.raises(ValueError, match="wanted"):
        Plan(**change)


def test_a_study_stops_what_falls_behind(tmp_path):
    """After four whole runs, a setting below their median in its first epoch is hopeless; the best is not."""
    from normkd_explore.methods import settings_for
    from normkd_explore.tuning.space import Space
    from normkd_explore.tuning.track import Entry

    start = settings_for("kd", "cifar100", "resnet32x4", "resnet8x4")
    study = Study(tmp_path, Space.around("kd", start), 0)
    trials = study.ask(4)
    entries = [Entry(number, start, [0.1 * number, 0.2 * number]) for number in range(4)]
    for entry in entries:
        first = Entry(entry.number, start, entry.top1[:1])
        assert study.hopeless(trials, 1, [first]) == []
    study.tell(trials, entries)
    trials = study.ask(2)
    late = [Entry(0, start, [0.05]), Entry(1, start, [0.29])]
    assert study.hopeless(trials, 1, late) == late[:1]
    late[0].stopped, late[1].diverged = True, True
    study.tell(trials, late)
    assert [row["top1"] for row in study.tried()] == pytest.approx([0, 0.2, 0.4, 0.6, None, None])
    assert [row["diverged"] for row in study.tried()] == [False] * 5 + [True]


def test_own_networks_are_tuned(tmp_path):
    from normkd_explore.models import create_model

    nets = {"teacher": create_model("resnet8", 5), "student": create_model("resnet8", 5)}
    plan = Plan(trials=2, together=2, images=20, seeds=1)
    tuned = tune(toy_recipe("kd", 1), tmp_path / "x", Where(device="cpu"), plan=plan, dataset=toy_dataset(), **nets)
    assert len(tuned.finals) == 2 and tuned.finals[0].std is None
    assert "held-out images is uncertain" in tuned.how_sure()
