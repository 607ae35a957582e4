"""Joins the small JavaScript modules of browser/ into the one module that a widget may carry."""

import re
from pathlib import Path

FOLDER = Path(__file__).parent / "browser"
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./[a-z]+\.js";\n', re.MULTILINE)


def join_modules(*names: str) -> str:
    """Concatenate modules in the given order, each after those it imports, without their import lines.

    Every module stands alone for an editor and for tests; joined they share one scope, so no two may define
    the same top-level name.

    Raises:
        FileNotFoundError: there is no such module in this folder.
        ValueError: an import is not of the one-line form ``import { a, b } from "./module.js";``.
    """
    parts = [_IMPORT.sub("", (FOLDER / f"{name}.js").read_text(encoding="utf-8")) for name in names]
    for name, part in zip(names, parts, strict=True):
        if re.search(r"^\s*import\b", part, re.MULTILINE):
            raise ValueError(
                f'{name}.js has an import that cannot be joined; write it as import {{ a, b }} from "./module.js"; '
                "on one line"
            )
    return "\n".join(parts)
