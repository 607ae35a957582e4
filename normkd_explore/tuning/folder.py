"""The folder of a search, from which it goes on after a stop.

tune.json      what is searched: recipe, ranges, images, digests of data and teacher
study.db       every setting that was tried (Optuna's storage)
progress.json  the runs on fresh seeds, and what everything cost so far
settings.yaml  the chosen settings, for `normkd train --settings`
result.json    the whole answer
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from normkd_explore.files.regular import require_regular
from normkd_explore.files.writing import explained, remove_leftovers, write_json
from normkd_explore.training.runs.folder import RunFolder
from normkd_explore.tuning.track import Cost


class TuneFolder:
    """One folder a search; the caller holds its lock."""

    def __init__(self, path: Path) -> None:
        self.path, self.settings, self.result = path, path / "settings.yaml", path / "result.json"

    def start(self, identity: dict[str, Any], resume: bool) -> None:
        """Begin a search here, or check that this one can go on.

        Raises:
            FileExistsError: there is one, and `resume` is off; or a run.
            ValueError: it searches something else; the text names what.
        """
        header = self.path / "tune.json"
        if RunFolder(self.path).started or (header.exists() and not resume):
            raise FileExistsError(
                f"{self.path} holds a {'search' if header.exists() else 'run'} already: go on with --resume, or choose "
                "another folder with --out."
            )
        with explained(self.path):
            remove_leftovers(self.path)
        if not header.exists():
            write_json(header, identity)
            return
        before = _read(header)
        changed = [name for name, value in identity.items() if before.get(name) != json.loads(json.dumps(value))]
        if changed:
            raise ValueError(
                f"{self.path}: found a search with another {', '.join(changed)}. Go on with what it was started with, "
                "or begin a new one with --out."
            )

    def progress(self) -> tuple[Cost, dict[str, dict[int, float]]]:
        """What it cost so far, and top-1 on fresh seeds by the name of a setting (see `key`)."""
        path = self.path / "progress.json"
        if not path.exists():
            return Cost(), {}
        found = _read(path)
        try:
            fresh = {key: {int(seed): float(top1) for seed, top1 in by.items()} for key, by in found["fresh"].items()}
            return Cost(**found["cost"]), fresh
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _damaged(path, error) from error

    def keep(self, cost: Cost, fresh: dict[str, dict[int, float]]) -> None:
        """Write what `progress` reads."""
        write_json(self.path / "progress.json", {"cost": vars(cost), "fresh": fresh})


def key(values: dict[str, float]) -> str:
    """A setting's name in progress.json: its numbers, every digit."""
    return " ".join(f"{name}={value!r}" for name, value in sorted(values.items()))


def _read(path: Path) -> dict[str, Any]:
    try:
        require_regular(path)
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError(f"a {type(found).__name__}")
        return found
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> ValueError:
    return ValueError(
        f"{path} is damaged ({str(error).splitlines()[0]}), wanted what `normkd tune` wrote. Delete the folder and "
        "search again, or choose another with --out."
    )
