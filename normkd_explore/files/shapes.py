"""Whether a value that was read from JSON or YAML is what a type hint says, and if not, where and why."""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, Literal, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

NAMES = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "named values",
    list: "a list",
    tuple: "a list",
    types.NoneType: "nothing",
}
LONGEST = 40  # characters of a value that are shown


def mismatch(value: Any, hint: Any, place: str = "") -> str | None:
    """A phrase such as "test.top1 is 'high', wanted a number" where `value` is not of the type `hint`; else None.

    Understood are plain types, `Any`, unions, `Literal`, `list[T]`, `tuple[T, ...]` (a list in the file),
    `dict[str, T]`, typed dicts, which may have further keys, and dataclasses, which may not. A whole number is a number
    too, `true` is none.
    """
    return next(_problems(value, hint, place), None)


def _problems(value: Any, hint: Any, place: str) -> Iterator[str]:
    hint = types.NoneType if hint is None else hint
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return
    if origin in (Union, types.UnionType):
        yield from _problems_of_all(value, hint, place)
    elif origin is Literal:
        if value not in arguments or isinstance(value, bool):
            yield _said(value, hint, place)
    elif not _is_a(value, _kind(hint)):
        yield _said(value, hint, place)
    elif is_typeddict(hint) or is_dataclass(hint):
        yield from _key_problems(value, hint, place)
    elif arguments and _kind(hint) is list:
        for i, part in enumerate(value):
            yield from _problems(part, arguments[0], f"{place}[{i}]")
    elif arguments:
        for name, part in value.items():
            yield from _problems(part, arguments[1], _inside(place, name))


def _problems_of_all(value: Any, hint: Any, place: str) -> Iterator[str]:
    """Of a union: none if one option fits; else what is wrong inside the option that has such parts."""
    options = get_args(hint)
    if any(mismatch(value, option, place) is None for option in options):
        return
    alike = [option for option in options if _kind(option) in (dict, list) and _is_a(value, _kind(option))]
    yield from _problems(value, alike[0], place) if alike else [_said(value, hint, place)]


def _key_problems(value: dict[Any, Any], hint: Any, place: str) -> Iterator[str]:
    hints = get_type_hints(hint, include_extras=True)
    optional = {name for name, part in hints.items() if get_origin(part) is NotRequired}
    if is_dataclass(hint):
        optional = {field.name for field in fields(hint) if _has_default(field)}
        if unknown := sorted(map(str, set(value) - set(hints))):
            names = ", ".join(_inside(place, name) for name in unknown)
            yield f"{names} is unknown, known are {', '.join(sorted(hints))}"
    if missing := sorted(set(hints) - optional - set(value)):
        yield f"{', '.join(_inside(place, name) for name in missing)} is missing"
    for name, part in hints.items():
        if name in value:
            part = get_args(part)[0] if get_origin(part) is NotRequired else part
            yield from _problems(value[name], part, _inside(place, name))


def _has_default(field: Field[Any]) -> bool:
    return field.default is not MISSING or field.default_factory is not MISSING


def _kind(hint: Any) -> Any:
    """The type that a parser makes of it."""
    if is_typeddict(hint) or is_dataclass(hint):
        return dict
    origin = get_origin(hint) or hint
    return list if origin is tuple else origin


def _is_a(value: Any, kind: Any) -> bool:
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def _said(value: Any, hint: Any, place: str) -> str:
    text = " ".join(repr(value).split())
    shown = text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
    return f"{place or 'it'} is {shown}, wanted {_words(hint)}"


def _words(hint: Any) -> str:
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(_words(option) for option in get_args(hint))
    if get_origin(hint) is Literal:
        return " or ".join(map(repr, get_args(hint)))
    return NAMES[_kind(hint)]


def _inside(place: str, name: Any) -> str:
    return f"{place}.{name}" if place else str(name)
