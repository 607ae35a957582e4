"""Joins the small modules and styles of browser/ into the one module and the one style that a widget carries."""

import re
from pathlib import Path

FOLDER = Path(__file__).parent / "browser"
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./([a-z]+)\.js";\n', re.MULTILINE)


def join_modules(*names: str, folders: tuple[Path, ...] = ()) -> str:
    """Concatenate modules, each after those it imports and without its import lines.

    Every module stands alone for an editor and for tests; joined they share one scope, so no two may define
    the same top-level name.

    Args:
        names: of the modules, without ".js".
        folders: where to look before this package's own modules.
    Raises:
        FileNotFoundError: there is no such module in these folders.
        ValueError: an import is not of the one-line form ``import { a, b } from "./module.js";``, or modules import
            each other in a circle.
    """
    joined: dict[str, str] = {}
    for name in names:
        _collect(name, joined, (), (*folders, FOLDER))
    return "\n".join(joined.values())


def _collect(name: str, joined: dict[str, str], path: tuple[str, ...], folders: tuple[Path, ...]) -> None:
    if name in path:
        raise ValueError(f"{' > '.join([*path, name])}: these modules import each other; move what they share apart.")
    if name in joined:
        return
    files = [folder / f"{name}.js" for folder in folders]
    text = next((file for file in files if file.exists()), files[-1]).read_text(encoding="utf-8")
    for needed in _IMPORT.findall(text):
        _collect(needed, joined, (*path, name), folders)
    joined[name] = _IMPORT.sub("", text)
    if re.search(r"^\s*import\b", joined[name], re.MULTILINE):
        raise ValueError(
            f'{name}.js has an import that cannot be joined; write it as import {{ a, b }} from "./module.js"; '
            "on one line"
        )


def join_styles(*names: str) -> str:
    """The style that all explorers share, and after it the named ones."""
    return "\n".join((FOLDER / f"{name}.css").read_text(encoding="utf-8") for name in ("base", *names))
