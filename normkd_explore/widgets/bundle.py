"""Joins the small modules and styles of browser/ into the one module and the one style that a widget carries."""

import re
from pathlib import Path

FOLDER = Path(__file__).parent / "browser"
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./([a-z]+)\.js";\n', re.MULTILINE)


def join_modules(*names: str) -> str:
    """Concatenate modules, each after those it imports and without its import lines.

    Every module stands alone for an editor and for tests; joined they share one scope, so no two may define
    the same top-level name.

    Raises:
        FileNotFoundError: there is no such module in this folder.
        ValueError: an import is not of the one-line form ``import { a, b } from "./module.js";``, or modules import
            each other in a circle.
    """
    joined: dict[str, str] = {}
    for name in names:
        _collect(name, joined, path=())
    return "\n".join(joined.values())


def _collect(name: str, joined: dict[str, str], path: tuple[str, ...]) -> None:
    if name in path:
        raise ValueError(f"{' > '.join([*path, name])}: these modules import each other; move what they share apart.")
    if name in joined:
        return
    text = (FOLDER / f"{name}.js").read_text(encoding="utf-8")
    for needed in _IMPORT.findall(text):
        _collect(needed, joined, (*path, name))
    joined[name] = _IMPORT.sub("", text)
    if re.search(r"^\s*import\b", joined[name], re.MULTILINE):
        raise ValueError(
            f'{name}.js has an import that cannot be joined; write it as import {{ a, b }} from "./module.js"; '
            "on one line"
        )


def join_styles(*names: str) -> str:
    """The style that all explorers share, and after it the named ones."""
    return "\n".join((FOLDER / f"{name}.css").read_text(encoding="utf-8") for name in ("base", *names))
