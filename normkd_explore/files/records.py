"""The one reader of JSON and YAML files: whatever is wrong with one is said in one line, with the way out.

Only regular files of a modest size are opened, and every value is of the type that its reader asks for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from normkd_explore.files.regular import NotRegularError, require_regular
from normkd_explore.files.shapes import mismatch

LARGEST = 64 << 20  # bytes; the largest of ours, the records of a run's epochs, have some hundred thousand
CHECKSUM = "checksum"


class RecordError(ValueError):
    """A file cannot be used; the text names it, what was found in it, and what to do."""


def read_json(path: Path, shape: Any, remedy: str) -> Any:
    """The value in a JSON file, of the type hint `shape` (see `mismatch`).

    `remedy` ends every RecordError: what the user can do about a file that is missing, damaged or of another kind.
    """
    return _read(path, _json, shape, remedy)


def read_json_lines(path: Path, shape: Any, remedy: str) -> list[Any]:
    """The values, one a line, of a file, each of the type hint `shape`; errors as in `read_json`."""
    return _read(path, lambda text: [_json(line) for line in text.splitlines()], list[shape], remedy)


def read_yaml(path: Path, shape: Any, remedy: str) -> Any:
    """The value in a YAML file, of the type hint `shape`; errors as in `read_json`."""
    return _read(path, parse_yaml, shape, remedy)


def parse_yaml(text: str) -> Any:
    """The plain values in a YAML text; ValueError, in one line, where it is none."""
    try:
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        place = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ValueError(f"it is no YAML ({error.problem or error.context}{place})") from error
    except (yaml.YAMLError, TypeError, AttributeError) as error:
        raise ValueError(f"it is no YAML ({_first_line(error)})") from error


def sealed(record: dict[str, Any]) -> dict[str, Any]:
    """The record with a checksum of all that it says."""
    return {CHECKSUM: json_checksum(record), **record}


def unsealed(record: dict[str, Any], path: Path, remedy: str) -> dict[str, Any]:
    """The record that was sealed; RecordError where it was changed since. One without a checksum is taken as it is."""
    rest = {name: value for name, value in record.items() if name != CHECKSUM}
    if record.get(CHECKSUM, json_checksum(rest)) != json_checksum(rest):
        raise RecordError(f"{path} was changed or damaged after it was written: its checksum does not fit. {remedy}")
    return rest


def json_checksum(value: Any) -> str:
    """SHA-256 of a value as canonical JSON: sorted keys, no spaces."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _read(path: Path, parse: Callable[[str], Any], shape: Any, remedy: str) -> Any:
    try:
        value = parse(_text(path))
        problem = mismatch(value, shape)
    except NotRegularError as error:
        raise RecordError(f"{str(error).removesuffix('; replace or remove it')}. {remedy}") from error
    except OSError as error:
        raise RecordError(f"{path} cannot be read: {error.strerror or error}. {remedy}") from error
    except RecursionError as error:
        raise RecordError(f"{path} is damaged: its values lie too deep inside each other. {remedy}") from error
    except ValueError as error:  # of a parser, or of text that is none
        raise RecordError(f"{path} is damaged: {_first_line(error)}. {remedy}") from error
    if problem:
        raise RecordError(f"{path} is damaged or of another kind: {problem}. {remedy}")
    return value


def _text(path: Path) -> str:
    size = require_regular(path)
    if size > LARGEST:
        raise ValueError(f"it has {size:,} bytes, and such files have at most {LARGEST:,}")
    content = path.read_bytes()
    if not content.strip():
        raise ValueError("it is empty")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"it is no UTF-8 text (byte {error.start + 1} is 0x{content[error.start]:02x})") from error


def _json(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON ({error.msg} in line {error.lineno}, column {error.colno})") from error


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"it holds {name}, which is no number")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
