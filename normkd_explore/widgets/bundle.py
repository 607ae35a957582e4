"""Joins the small modules and styles of browser/ into the one module and the one style that a widget carries."""

import re
from pathlib import Path

FOLDER = Path(__file__).parent / "browser"
_IMPORT = re.compile(r'^import \{([^}]*)\} from "\./([a-z]+)\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|const|let|class) (\w+))", re.MULTILINE)


def join_modules(*names: str, folders: tuple[Path, ...] = ()) -> str:
    """Join modules, each after those it imports, into one that imports nothing.

    Every module keeps a scope of its own, ``const $dom = (() => { ... return { h, label }; })();``, and takes what it
    imports from there. A module that ends in ``export default`` comes last and is not wrapped.

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
    for _, needed in _IMPORT.findall(text):
        _collect(needed, joined, (*path, name), folders)
    joined[name] = _scoped(name, _IMPORT.sub(r"const {\1} = $\2;\n", text))


def _scoped(name: str, text: str) -> str:
    if re.search(r"^\s*import\b", text, re.MULTILINE):
        raise ValueError(
            f'{name}.js has an import that cannot be joined; write it as import {{ a, b }} from "./module.js"; '
            "on one line"
        )
    if re.search(r"^export default\b", text, re.MULTILINE):
        return text
    given = ", ".join(_EXPORT.findall(text))
    return f"const ${name} = (() => {{\n{_EXPORT.sub('', text)}return {{ {given} }};\n}})();"


def join_styles(*names: str) -> str:
    """The style that all explorers share, and after it the named ones."""
    return "\n".join((FOLDER / f"{name}.css").read_text(encoding="utf-8") for name in ("base", *names))
