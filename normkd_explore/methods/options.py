"""A method and the arguments of its loss as a user types them: NAME=VALUE, and METHOD:NAME=VALUE:NAME=VALUE."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from normkd_explore.methods.registry import Method, Settings, get_method

WEIGHTS = ("ce_weight", "kd_weight")


def arguments_of(method: Method) -> dict[str, Any]:
    """The arguments that `--set` can change, with their defaults: numbers, switches, words and lists of numbers.

    One without a default of its own has the method's setting.
    """
    defaults = {name: p.default for name, p in inspect.signature(method.build).parameters.items()}
    known = {
        name: method.cifar100.loss.get(name) if value is inspect.Parameter.empty else value
        for name, value in defaults.items()
    }
    return {name: value for name, value in known.items() if isinstance(value, (bool, int, float, str, tuple))}


def read_argument(method: Method, text: str) -> tuple[str, Any]:
    """Name and value of "NAME=VALUE", the value of the kind that the argument's default has.

    Raises:
        ValueError: no such argument, or another kind of value.
    """
    known = arguments_of(method)
    name, equals, value = text.partition("=")
    if name not in known or not equals:
        wanted = f"NAME=VALUE with NAME one of {', '.join(known)}" if known else "no --set: it has no arguments"
        raise ValueError(f"--set: found {text!r}, wanted for {method.name} {wanted}.")
    default = known[name]
    try:
        if isinstance(default, bool):
            return name, {"true": True, "false": False}[value.lower()]
        if isinstance(default, str):
            return name, value
        if isinstance(default, tuple):
            return name, [float(part) for part in value.split(",")]
        return name, float(value)
    except (KeyError, ValueError) as error:
        kinds = {bool: "true or false", tuple: "numbers with commas between them"}
        raise ValueError(f"--set {name}: found {value!r}, wanted {kinds.get(type(default), 'a number')}.") from error


def changed_settings(
    method: Method, settings: Settings, arguments: Sequence[str] = (), **weights: float | None
) -> Settings:
    """`settings` with the NAME=VALUE of `arguments` and those of `weights` that are given, marked as not published."""
    loss = {**settings.loss, **dict(read_argument(method, text) for text in arguments)}
    given: dict[str, Any] = {name: value for name, value in weights.items() if value is not None}
    if loss == settings.loss and not given:
        return settings
    return replace(settings, loss=loss, **given, published=False, source="changed on the command line")


def split_spec(spec: str) -> tuple[str, list[str], dict[str, float]]:
    """The parts of METHOD:NAME=VALUE:...: the method's name, arguments of its loss, and weights by name.

    `kd:temperature=2:kd_weight=9` is KD at T = 2 with its distillation term counted 9 times.

    Raises:
        ValueError: no such method, no such argument, or a value of another kind.
    """
    name, *changes = (part.strip() for part in spec.split(":"))
    method, arguments, weights = get_method(name), [], {}
    for change in changes:
        key, _, value = change.partition("=")
        if key in WEIGHTS:
            weights[key] = _number(spec, key, value)
        else:
            read_argument(method, change)
            arguments.append(change)
    return name, arguments, weights


def _number(spec: str, key: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise ValueError(f"methods: found {spec!r}, wanted a number for {key}, not {value!r}.") from None


def format_argument(value: Any) -> str:
    """A value as `read_argument` takes it."""
    if isinstance(value, (list, tuple)):
        return ",".join(map(format_argument, value))
    return str(value).lower() if isinstance(value, bool) else value if isinstance(value, str) else f"{value:g}"
