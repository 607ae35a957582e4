"""Arguments of a loss from the command line: read, shown, saved and used."""

import pytest

from normkd_explore.methods import METHODS, get_method
from normkd_explore.methods.options import arguments_of, format_argument, read_argument
from normkd_explore.methods.registry import Settings
from normkd_explore.training.summary import describe_settings


@pytest.mark.parametrize(
    ("method", "text", "value"),
    [
        ("normkd", "t_norm=1.5", 1.5),
        ("atlc", "source=teacher", "teacher"),
        ("mlkd", "as_coded=true", True),
        ("mlkd", "as_coded=False", False),
        ("mlkd", "temperatures=2,3.5", [2.0, 3.5]),
        ("mlkd", "temperatures=2", [2.0]),
        ("crd", "negatives=64", 64.0),
    ],
)
def test_values_have_the_kind_of_the_default_and_build_the_loss(method, text, value):
    entry = get_method(method)
    name, found = read_argument(entry, text)
    assert name == text.partition("=")[0] and found == value and type(found) is type(value)
    assert read_argument(entry, f"{name}={format_argument(found)}") == (name, found)
    entry.build(**{name: found})


def test_options_change_the_loss_that_is_built():
    def repr_with(text):
        return repr(get_method("mlkd").build(**dict([read_argument(get_method("mlkd"), text)])))

    assert "as_coded=True" in repr_with("as_coded=true") and "as_coded=False" in repr_with("as_coded=false")
    assert "temperatures=(2.0, 7.0)" in repr_with("temperatures=2,7")


@pytest.mark.parametrize(
    ("method", "text", "words"),
    [
        ("mlkd", "as_coded=1", "true or false"),
        ("mlkd", "temperatures=2;3", "numbers with commas"),
        ("normkd", "t_norm=two", "a number"),
        ("normkd", "T=2", "one of t_norm"),
        ("normkd", "t_norm", "NAME=VALUE"),
        ("ce", "temperature=4", "it has no arguments"),
    ],
)
def test_mistakes_say_what_is_wanted(method, text, words):
    with pytest.raises(ValueError, match=words):
        read_argument(get_method(method), text)


def test_every_setting_of_every_method_can_be_set():
    """What the settings hold is among the loss's arguments; nothing is changed in silence."""
    for method in METHODS.values():
        assert method.cifar100.loss.keys() <= arguments_of(method).keys(), method.name


def test_a_run_says_which_options_it_had():
    settings = Settings({"factor": 1.0, "source": "teacher", "as_coded": True, "temperatures": [2.0, 3.0]}, 0.1, 9.0)
    told = describe_settings(settings)
    assert told == "factor=1 source=teacher as_coded=true temperatures=2,3 CE x 0.1 KD x 9"
