"""A settings file: the arguments and weights of one method, as `normkd tune` writes and `normkd train` reads them.

It is YAML, for people to read and change: preset, method, loss, ce_weight, kd_weight, warmup_epochs, source.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from normkd_explore.files.regular import NotRegularError, require_regular
from normkd_explore.files.writing import write_text
from normkd_explore.methods import Settings, get_method
from normkd_explore.methods.options import arguments_of

FORMAT = 1
MOST_BYTES = 100_000
FIELDS = ("format", "preset", "method", "loss", "ce_weight", "kd_weight", "warmup_epochs", "source")


@dataclass(frozen=True)
class SettingsFile:
    """What one file says."""

    preset: str
    """The pair that the settings were found for."""
    method: str
    settings: Settings


class SettingsFileError(ValueError):
    """A settings file cannot be used; the text names it, what was found and what to do."""


def write_settings(path: Path, preset: str, method: str, settings: Settings) -> None:
    """Write a settings file atomically."""
    values = {
        "format": FORMAT,
        "preset": preset,
        "method": method,
        "loss": dict(settings.loss),
        **{name: getattr(settings, name) for name in FIELDS[4:]},
    }
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=110)
    write_text(path, f"# Train with these settings: normkd train {preset} --settings {path.name}\n{text}")


def read_settings(path: Path) -> SettingsFile:
    """Read a settings file.

    Raises:
        SettingsFileError: no such file, or it does not hold the settings of a method.
    """
    try:
        return _checked(_load(path))
    except (OSError, ValueError, TypeError, yaml.YAMLError, RecursionError) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else str(error).splitlines()[0]
        raise SettingsFileError(
            f"{path}: found {said.rstrip('.')}; wanted a settings file as `normkd tune` writes it. Name its "
            "settings.yaml, or give the settings with --method, --set, --ce-weight and --kd-weight."
        ) from error


def _load(path: Path) -> Any:
    try:
        size = require_regular(path)
    except NotRegularError as error:
        raise ValueError(str(error).removeprefix(f"{path} is ").partition(",")[0]) from error
    if size > MOST_BYTES:
        raise ValueError(f"{size:,} bytes")
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(values, dict):
        raise ValueError("nothing" if values is None else f"a {type(values).__name__}")
    return values


def _checked(values: dict[str, Any]) -> SettingsFile:
    missing, extra = set(FIELDS) - set(values), set(values) - set(FIELDS)
    if missing or extra:
        names = sorted(map(str, missing or extra))
        raise ValueError(f"{'no' if missing else 'an unknown'} {', '.join(names)}")
    if values["format"] != FORMAT:
        raise ValueError(f"format {values['format']!r}, and this version reads {FORMAT}")
    method, loss = get_method(str(values["method"])), values["loss"]
    known = arguments_of(method)
    if not isinstance(loss, dict) or not set(loss) <= set(known):
        raise ValueError(f"loss: {loss!r}, whose names are not all among {', '.join(known) or 'none'}")
    for name in ("ce_weight", "kd_weight", "warmup_epochs"):
        value = values[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
            raise ValueError(f"{name}: {value!r}")
    method.build(**loss)  # it says what is wrong with a value
    named = {name: values[name] for name in ("ce_weight", "kd_weight", "warmup_epochs")}
    settings = Settings(dict(loss), **named, published=False, source=str(values["source"]))
    return SettingsFile(str(values["preset"]), method.name, settings)
