"""One table of the teacher's logits for all processes, for as long as they run."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from normkd_explore.training.machine.fabric import device_kind
from normkd_explore.training.teacher.cache import TeacherCache
from normkd_explore.training.where import Where

NAME = "teacher-table"
OURS = re.compile(rf"{NAME}\.(\d+)")


@contextmanager
def one_table(where: Where, root: Path) -> Iterator[Where]:
    """`where` with a cache that several processes share: kept in a folder below `root` which goes with them.

    A folder that the user named stays as it is. Each GPU has memory of its own, and keeps its own table there.
    """
    cache = where.teacher_cache
    if cache is None or cache.place not in ("auto", "memory") or device_kind(where.device) != "cpu":
        yield where
        return
    _remove_orphans(root)
    folder = root / f"{NAME}.{os.getpid()}"
    try:
        yield replace(where, teacher_cache=TeacherCache(cache.place, cache.limit, cache.tell, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_orphans(root: Path) -> None:
    """Delete the tables of commands that were killed by force."""
    for path in root.glob(f"{NAME}.*"):
        found = OURS.fullmatch(path.name)
        if found and not _alive(int(found[1])):
            shutil.rmtree(path, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
