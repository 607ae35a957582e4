"""Names, defaults and published settings of all methods, and the page that says how to add one, tried out."""

import inspect
import json
import re
import sys
from pathlib import Path

import pytest
import torch

from normkd_explore import losses, methods
from normkd_explore.analysis.grid import evaluate_grid
from normkd_explore.losses import NormKD
from normkd_explore.methods import METHODS, Method, Settings, get_method, register, settings_for
from normkd_explore.training import compare, material, train
from tests.helpers.command import normkd
from tests.helpers.toy import toy_dataset, toy_recipe, toy_where
from tests.helpers.watchers import quiet

PAGE = Path(__file__).parents[2] / "CONTRIBUTING.md"
NEW = ["rld", "atlc", "dtkd", "ctkd", "dist", "mlkd", "ttm", "wttm", "nkd", "bild"]
NEW += ["normrld", "normmlkd", "normdist", "normbild"]
NEW += ["jsd", "skl", "srkl", "abkd", "taid", "wkd"]

CONTRACT = {
    "RLD": "(alpha=1.0, beta=8.0, temperature=4.0, confidence_temperature=1.0)",
    "ATLC": "(source='both',",
    "DTKD": "(temperature=4.0,",
    "CTKD": "(start=1.0, end=20.0,",
    "DIST": "(beta=1.0, gamma=1.0, temperature=1.0)",
    "MLKD": "(temperature=4.0, temperatures=(2.0, 3.0, 5.0, 6.0),",
    "TTM": "(exponent)",
    "WTTM": "(exponent)",
    "NKD": "(gamma=1.5, temperature=1.0)",
    "BiLD": "(k=8, temperature=3.0)",
}


@pytest.mark.parametrize(("name", "words"), CONTRACT.items())
def test_arguments_and_defaults_of_the_named_losses(name, words):
    parameters = inspect.signature(getattr(losses, name)).parameters.values()
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in parameters]
    assert str(inspect.Signature(bare)).startswith(words)


def test_every_new_method_is_registered_and_says_where_its_settings_come_from():
    assert set(NEW) < set(METHODS)
    for name in NEW:
        for settings in (METHODS[name].cifar100, settings_for(name, "imagenet", "resnet34", "resnet18")):
            loss = METHODS[name].build(**settings.loss)
            assert settings.source and loss.needs_target in (True, False)
        assert not settings_for(name, "glyphs", "resnet20", "resnet8").published


def cifar(method: str, pair: str) -> Settings:
    return settings_for(method, "cifar100", *pair.split("-"))


def test_rld_settings():
    values = {"alpha": 1.0, "beta": 8.0, "temperature": 4.0, "confidence_temperature": 1.0}
    s = cifar("rld", "vgg13-vgg8")
    assert (s.loss, s.ce_weight, s.kd_weight, s.warmup_epochs, s.published) == (values, 1.0, 1.0, 20, True)
    assert not cifar("rld", "resnet32x4-ShuffleV1").published
    betas = [
        settings_for("rld", "imagenet", *pair).loss["beta"]
        for pair in (("resnet34", "resnet18"), ("resnet50", "mobilenetv1"))
    ]
    assert betas == [0.5, 2.0]


@pytest.mark.parametrize(
    ("pair", "alpha", "beta"),
    [
        ("resnet56-resnet20", 1.0, 0.5),
        ("resnet110-resnet32", 1.0, 0.5),
        ("wrn_40_2-wrn_40_1", 1.0, 0.5),
        ("wrn_40_2-ShuffleV1", 2.0, 0.5),
        ("ResNet50-MobileNetV2", 3.0, 2.0),
        ("resnet32x4-resnet8x4", 3.0, 1.0),
        ("wrn_40_2-wrn_16_2", 3.0, 1.0),
        ("vgg13-vgg8", 3.0, 1.0),
    ],
)
def test_dtkd_settings(pair, alpha, beta):
    s = cifar("dtkd", pair)
    assert s.loss == {"temperature": 4.0, "alpha": alpha, "beta": beta}
    assert (s.ce_weight, s.kd_weight, s.warmup_epochs, s.published) == (1.0, 1.0, 20, True)
    assert not cifar("dtkd", "resnet110-resnet20").published


def test_settings_published_for_a_single_pair_are_marked_for_that_pair_alone():
    for method, pair in (("ttm", "vgg13-vgg8"), ("ctkd", "resnet56-resnet20")):
        assert cifar(method, pair).published and not cifar(method, "resnet32x4-resnet8x4").published
    assert (cifar("ttm", "vgg13-vgg8").loss, cifar("ttm", "vgg13-vgg8").kd_weight) == ({"exponent": 0.1}, 45.0)
    s = cifar("ctkd", "resnet56-resnet20")
    assert s.loss == {"start": 1.0, "end": 20.0, "ramp": 10.0} and (s.ce_weight, s.kd_weight) == (0.1, 0.9)


def test_what_nobody_published_is_marked():
    for method in ("atlc", "dist", "mlkd", "wttm", "bild", "normrld", "normmlkd", "normdist", "normbild", *NEW[-6:]):
        assert not cifar(method, "resnet32x4-resnet8x4").published
    for method in ("atlc", "dtkd", "dist", "mlkd", "ttm", "bild"):
        s = settings_for(method, "imagenet", "resnet34", "resnet18")
        assert not s.published and "none are known for ImageNet" in s.source
    s = settings_for("ctkd", "imagenet", "resnet34", "resnet18")
    assert not s.published and s.loss["ramp"] == 5.0 and (s.ce_weight, s.kd_weight) == (1.0, 1.0)
    s = settings_for("nkd", "imagenet", "resnet34", "resnet18")
    assert s.published and s.loss == {"gamma": 1.5, "temperature": 1.0}


@pytest.mark.parametrize(
    ("method", "loss", "weights"),
    [
        ("wttm", {"exponent": 0.2}, (1.0, 4.0)),
        ("ttm", {"exponent": 0.1}, (1.0, 45.0)),
        ("atlc", {"factor": (1 + 3**0.5) / 2}, (0.1, 9.0)),
        ("nkd", {"gamma": 3.5, "temperature": 3.0}, (1.0, 1.0)),
        ("normdist", {"beta": 1.0, "gamma": 1.0, "t_norm": 2.0}, (1.0, 1.0)),
    ],
)
def test_default_values_of_a_cifar_pair(method, loss, weights):
    s = cifar(method, "resnet32x4-resnet8x4")
    assert s.loss == pytest.approx(loss) and (s.ce_weight, s.kd_weight) == weights


@pytest.mark.parametrize("name", ["NormKD", "NormDKD", "NormRLD", "NormMLKD", "NormDIST", "NormBiLD"])
def test_the_norm_forms_have_the_factor_two(name):
    assert inspect.signature(getattr(losses, name)).parameters["t_norm"].default == 2.0


def test_names_are_taken_once():
    with pytest.raises(ValueError, match=r"found 'normkd' twice.*another name"):
        register(Method("normkd", "again", NormKD, Settings()))


@pytest.mark.parametrize("name", NEW)
def test_every_new_method_trains(name, tmp_path):
    """Two epochs on toy images: the loss is finite, the weights move, and it is a summary like any other."""
    summary = train(toy_recipe(name, lr=0.01), tmp_path / "run", toy_where(tmp_path), quiet, dataset=toy_dataset())
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert summary["method"] == name and all(abs(line["train"]["kd"]) < 1e6 for line in lines)
    assert lines[0]["train"]["loss"] != lines[1]["train"]["loss"]


def test_the_learned_temperature_is_trained_saved_and_resumed_exactly(tmp_path):
    """Stopped after one epoch of three and resumed, CTKD ends with the same weights as in one go."""
    where, recipe = toy_where(tmp_path), toy_recipe("ctkd", epochs=3, lr=0.05)
    seen: dict[str, list[float]] = {"whole": [], "parts": []}

    def watch_into(key, stop_at=None):
        def watch(moment, runs):
            seen[key].append(runs[0].learner.objective.distillation.policy.theta.item())
            if stop_at == (moment.epoch, moment.step):
                raise KeyboardInterrupt

        return watch

    train(recipe, tmp_path / "whole", where, watch=watch_into("whole"), dataset=toy_dataset())
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "parts", where, watch=watch_into("parts", (1, 1)), dataset=toy_dataset())
    del seen["parts"][-1]  # the interrupted step was not saved
    train(recipe, tmp_path / "parts", where, True, watch_into("parts"), dataset=toy_dataset())
    assert seen["parts"] == seen["whole"] and len(set(seen["whole"])) == len(seen["whole"]) == 12


# The page


def code_on_the_page() -> str:
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    return block


@pytest.fixture
def newcomer(tmp_path, monkeypatch):
    """The page's file in the package's folder of methods, as a contributor would save it."""
    (tmp_path / "extra").mkdir()
    (tmp_path / "extra" / "devkd.py").write_text(code_on_the_page(), encoding="utf-8")
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path / "extra")])
    methods._load_all()
    yield
    del METHODS["devkd"]
    del sys.modules["normkd_explore.methods.devkd"]


def test_the_page_is_short_and_true(newcomer):
    body = re.search(r"    factor: float\n(.*?)\n\n\ndef deviation_kd", code_on_the_page(), flags=re.DOTALL).group(1)
    assert len([line for line in body.splitlines() if line.strip()]) <= 10
    loss = get_method("devkd").build()
    s, t = torch.tensor([[0.0, 1.0, 2.0, 5.0]]), torch.tensor([[-4.0, 0.0, 0.0, 4.0]])  # mean deviations 1.5 and 2
    want = 25 * losses.KD(1.0)(s / 3.75, t / 5)
    assert loss(s, t).item() == pytest.approx(want.item(), rel=1e-5)
    assert loss.policy.describe().startswith("Each sample has the temperature T = 2.5")


def test_a_new_file_appears_in_the_command_line(newcomer, tmp_path, monkeypatch):
    shown = normkd("presets", "--method", "devkd")
    assert "factor=2.5" in shown and "nobody published values" in shown and "devkd" in shown.split("Methods:")[1]
    where = toy_where(tmp_path)
    monkeypatch.setattr(material, "open_dataset", lambda recipe, root: toy_dataset())
    small = ("--epochs", 1, "--batch-size", 16, "--device", "cpu", "--teacher-weights", where.teacher_weights)
    preset, out = "glyphs/resnet8-resnet8", tmp_path / "cli"
    told = normkd("train", preset, "--method", "devkd", "--set", "factor=2", *small, "--out", out)
    assert "factor 2" in told and "last epoch" in told
    compared = normkd("compare", preset, "--methods", "kd,devkd", "--seeds", 1, *small, "--out", tmp_path / "both")
    assert "devkd" in compared and (tmp_path / "both" / "devkd-seed0" / "summary.json").exists()


def test_a_new_method_runs_beside_others_from_python(newcomer, tmp_path):
    recipes = [toy_recipe(name, epochs=1) for name in ("normkd", "devkd")]
    outs = [tmp_path / recipe.method for recipe in recipes]
    found = compare(recipes, outs, toy_where(tmp_path), watch=quiet, dataset=toy_dataset())
    assert [summary["method"] for summary in found] == ["normkd", "devkd"]


def test_a_new_method_has_a_row_in_the_table_of_notebook_03(newcomer):
    s, t = torch.randn(2, 6, 12, generator=torch.Generator().manual_seed(0))
    grid = evaluate_grid(t, s, torch.arange(6))
    assert "Deviation(2.5)" in grid.policies
    assert grid.cells["Deviation(2.5)", "KL"].methods == ("devkd",)


def test_the_newcomer_left_nothing_behind():
    assert "devkd" not in METHODS
