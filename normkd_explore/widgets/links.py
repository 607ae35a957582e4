"""A view as a short text that stands in a page's address: "explorer:sample=3,T=6.5".

browser/links.js reads and writes the same. Only what differs from the first view is written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import traitlets

WORDS: Mapping[str, Any] = {"none": None, "true": True, "false": False}


def write_link(name: str, state: Mapping[str, Any], start: Mapping[str, Any]) -> str:
    """The text of a view: "name:key=value,key=value" with the keys that differ from `start`."""
    changed = {key: value for key, value in state.items() if value != start[key]}
    return f"{name}:{','.join(f'{key}={_written(value)}' for key, value in changed.items())}"


def _written(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def read_link(text: str, name: str) -> dict[str, Any]:
    """The view in such a text, in a "#..." or in a whole address; values that were not written are not in it.

    Where the text holds several views, the one called `name` is taken; a single one is taken whatever its name.

    Raises:
        ValueError: there is no view in it, several and none called `name`, or a part is not key=value.
    """
    parts = [part for part in unquote(text.rpartition("#")[2]).strip().split(";") if part]
    views = {part.partition(":")[0]: part.partition(":")[2] for part in parts if ":" in part}
    if not views and len(parts) == 1 and "=" in parts[0]:
        views = {name: parts[0]}
    if not views:
        raise ValueError(f'{text!r} holds no view, wanted something like "{name}:sample=3,T=6.5".')
    if name not in views and len(views) > 1:
        raise ValueError(f"{text!r} holds the views {', '.join(views)}, wanted one called {name}.")
    return dict(map(_pair, filter(None, views.get(name, next(iter(views.values()))).split(","))))


def _pair(part: str) -> tuple[str, Any]:
    key, sign, value = part.partition("=")
    if not sign:
        raise ValueError(f'{part!r} is no part of a view, wanted key=value, such as "T=6.5".')
    if value in WORDS:
        return key, WORDS[value]
    try:
        number = float(value)
    except ValueError:
        return key, value
    return key, int(number) if number.is_integer() and "." not in value else number


class ViewState(traitlets.Dict):
    """A widget's view: a dict, or the text of a link, which stands for a whole view.

    The widget has `link_name`, and `link_start` for the values that a link leaves out.
    """

    def validate(self, obj: Any, value: Any) -> Any:
        if isinstance(value, str):
            value = {**obj.link_start, **read_link(value, obj.link_name)}
        return super().validate(obj, value)


def check_name(name: str) -> str:
    """A name that can stand in a link.

    Raises:
        ValueError: it holds something else than small letters, with digits at its end.
    """
    if not re.fullmatch(r"[a-z]+\d*", name):
        raise ValueError(f'name is {name!r}, wanted small letters with digits at most at the end, such as "explorer2".')
    return name
