"""The options of a run are written once, and four commands take them: the same names, defaults, help and checks."""

from __future__ import annotations

import inspect
import subprocess
import sys
from dataclasses import fields

import pytest

from normkd_explore.cli import main, options
from normkd_explore.cli.main import COMMANDS, app, load
from normkd_explore.cli.options import Keeping, MethodChoice, Pair, RunOptions, Seed, Teacher
from normkd_explore.training import get_preset

RUNS = ("train", "teacher", "compare", "estimate")
SHARED = [field.name for group in (Pair, RunOptions) for field in fields(group)]
SOME = [field.name for group in (MethodChoice, Seed, Teacher, Keeping) for field in fields(group)]
VALUES = {  # one value of each option that changes the recipe, as typed and as the recipe has it
    ("--epochs", "7"): {"epochs": 7},
    ("--batch-size", "12"): {"batch_size": 12},
    ("--lr", "0.5"): {"lr": 0.5},
    ("--protocol", "paper"): {"protocol": "paper"},
    ("--data-seed", "4"): {"data_seed": 4},
    ("--image-size", "40"): {"image_size": 40},
    ("--precision", "bf16-mixed"): {"precision": "bf16-mixed"},
    ("--compile",): {"compile": True},
    ("--compile", "on"): {"compile": True},
    ("--compile", "off"): {"compile": False},
    ("--compile", "auto"): {"compile": "auto"},
    (): {"epochs": 5, "batch_size": 64, "lr": 0.1, "protocol": "holdout", "precision": "auto", "compile": False},
}


class Asked(Exception):
    """Ends a command once its recipe is known."""


@pytest.fixture
def recipe_of(monkeypatch):
    """The recipe that a command line leads to."""
    change, found = RunOptions.change, []

    def record(self, recipe):
        found.append(change(self, recipe))
        raise Asked

    def ask(*words: str):
        monkeypatch.setattr(RunOptions, "change", record)
        with pytest.raises(Asked):
            app(list(words))
        return found.pop()

    return ask


def described(command: str) -> dict[str, tuple]:
    """All that a user sees of each parameter of a command."""
    names = ("opts", "default", "help", "metavar", "min", "required", "rich_help_panel")
    return {p.name: tuple(getattr(p, name, None) for name in names) for p in load(command).params}


@pytest.mark.parametrize("name", SHARED)
def test_four_commands_share_each_option_of_a_run(name):
    found = [described(command)[name] for command in RUNS]
    assert found[1:] == found[:-1]


@pytest.mark.parametrize("name", SOME)
def test_an_option_that_some_have_is_the_same_for_all_of_them(name):
    found = [options[name] for command in RUNS if name in (options := described(command))]
    assert len(found) >= 1 and all(one == found[0] for one in found)


@pytest.mark.parametrize("command", RUNS)
@pytest.mark.parametrize("words, wanted", VALUES.items(), ids=" ".join)
def test_an_option_reaches_the_recipe(recipe_of, command, words, wanted):
    recipe = recipe_of(command, *words, "glyphs/resnet14-resnet8")  # the name behind --compile is not its value
    assert recipe.preset == "glyphs/resnet14-resnet8"
    assert {name: getattr(recipe, name) for name in wanted} == wanted


def test_arguments_of_the_loss_reach_the_recipe_and_are_marked(recipe_of):
    recipe = recipe_of("train", "--set", "t_norm=1.5", "--kd-weight", "2", "--seed", "9")
    assert recipe.settings.loss["t_norm"] == 1.5 and recipe.settings.kd_weight == 2 and recipe.seed == 9
    assert not recipe.settings.published and recipe.settings.source == "changed on the command line"
    assert recipe_of("train").settings == get_preset("glyphs/resnet20-resnet8").settings


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_says_what_it_does(command):
    for param in load(command).params:
        assert param.help, f"{command} {param.name} has no help"
        assert param.metavar or param.is_flag, f"{command} {param.name} shows no name for its value"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_first_sentence_of_the_help_stands_in_the_list_of_commands(command):
    first = inspect.getdoc(load(command).callback).split("\n\n")[0]
    assert COMMANDS[command][1] == " ".join(first.split())


def test_the_list_of_commands_imports_none_of_them():
    code = (
        "import sys\n"
        "from normkd_explore.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([name for name in ('torch', 'numpy', 'rich', 'normkd_explore.cli.train') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]" and "compare" in done.stdout


@pytest.mark.parametrize(
    "words, text",
    [
        (["trian"], "No such command 'trian'. Close to it: train."),
        (["train", "--protocol", "papr"], "--protocol"),
        (["train", "--epochs", "0"], "--epochs"),
        (["train", "--compile", "maybe"], "maybe"),
        (["train", "--data-rot", "x"], "--data-root"),
    ],
)
def test_a_mistyped_line_names_what_was_wrong(words, text, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["normkd", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2 and text in capsys.readouterr().err


def test_groups_do_not_share_a_name():
    groups = (Pair, MethodChoice, Seed, RunOptions, Teacher, Keeping)
    names = [field.name for group in groups for field in fields(group)]
    assert len(names) == len(set(names)) and options.__doc__.count("A new ") == 2
