"""One cache folder, several processes: made once, and nobody reads what another teacher, or nobody, wrote."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from benchmarks.cache_races import REFUSED, SHARED, run_races
from normkd_explore.files import locks
from normkd_explore.training.teacher import cache, table_folder
from normkd_explore.training.teacher.cache import TeacherCache
from normkd_explore.training.teacher.kept_rows import KeptRows, row_checks
from normkd_explore.training.teacher.logit_table import CacheError, LogitTable

ROWS, CLASSES = 6, 3
ALL = torch.arange(ROWS)
LOGITS = torch.arange(1.0, 19).view(ROWS, CLASSES)
IDENTITY = {"teacher's weights": "mine"}


@pytest.mark.skipif(locks.fcntl is None, reason="this system has no file locks")
def test_two_processes_make_one_folder_at_the_same_instant(tmp_path):
    assert run_races(24, tmp_path) == {SHARED: 12, REFUSED: 12}


def test_without_locks_a_folder_that_changed_hands_meanwhile_is_refused(tmp_path, monkeypatch):
    """Another process makes its own table between our look at the header and our opening of the files."""
    monkeypatch.setattr(locks, "fcntl", None)
    table_folder.create_folder(tmp_path / "c", ROWS, CLASSES, IDENTITY)
    map_file = table_folder._map_file

    def others_come(path, *shape):
        (tmp_path / "c" / table_folder.HEADER).unlink(missing_ok=True)
        table_folder.create_folder(tmp_path / "c", ROWS, CLASSES, {"teacher's weights": "theirs"})
        return map_file(path, *shape)

    monkeypatch.setattr(table_folder, "_map_file", others_come)
    with pytest.raises(CacheError, match="found theirs, wanted mine"):
        table_folder.open_folder(tmp_path / "c", ROWS, CLASSES, IDENTITY, torch.device("cpu"))


def test_what_a_killed_maker_left_is_removed(tmp_path):
    for name in ("logits.f32.tmp-1", "checks.i32.tmp-22", "cache.json.tmp-333", "checks.i32"):
        (tmp_path / name).write_bytes(b"half")
    table_folder.create_folder(tmp_path, ROWS, CLASSES, IDENTITY)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache.json", "checks.i32", "logits.f32"]
    assert (tmp_path / "checks.i32").read_bytes() == bytes(4 * ROWS)


@pytest.fixture
def gpus(tmp_path):
    """The tables of two processes with a GPU each: values of their own, and one file."""
    file = torch.zeros(ROWS, CLASSES), torch.zeros(ROWS, dtype=torch.int32)

    def process():
        own_RC = torch.full((ROWS, CLASSES), torch.nan)
        return LogitTable(own_RC, torch.zeros(ROWS, dtype=torch.bool), KeptRows(*file, tmp_path / "lock"))

    return process(), process()


def test_rows_of_another_process_are_read_from_the_file_before_they_count(gpus):
    mine, theirs = gpus
    theirs.write(ALL[:4], LOGITS[:4])
    assert not mine.known_R.any()
    assert torch.equal(mine.missing(ALL), ALL >= 4)
    assert torch.equal(mine.read(ALL[:4]), LOGITS[:4]) and mine.read(ALL[4:]).isnan().all()
    assert theirs.missing(ALL[4:]).all()


def test_a_row_that_is_not_whole_is_missing(gpus):
    """Another process was killed inside its write, or another machine sees an old page of the file."""
    mine, theirs = gpus
    theirs.write(ALL, LOGITS)
    mine.kept.rows_RC[2] = 0
    assert torch.equal(mine.missing(ALL), ALL == 2)
    mine.write(ALL[2:3], LOGITS[2:3])
    assert torch.equal(mine.kept.rows_RC, LOGITS) and mine.kept.known(ALL).all()


def test_the_first_of_two_that_write_a_row_stays(gpus):
    """On a GPU their last bits may differ; the row and its checksum must be one process's."""
    mine, theirs = gpus
    theirs.write(ALL, LOGITS)
    mine.write(ALL, LOGITS + 1e-6)
    assert torch.equal(mine.kept.rows_RC, LOGITS)
    assert torch.equal(mine.kept.checks_R, row_checks(ALL, LOGITS))
    assert torch.equal(mine.read(ALL), LOGITS + 1e-6)


def test_a_row_that_is_just_being_written_is_not_called_damaged(tmp_path, monkeypatch):
    """Its checksum was seen before the row: the second look, under the lock, finds both."""
    table_folder.create_folder(tmp_path, ROWS, CLASSES, IDENTITY)
    table = table_folder.open_folder(tmp_path, ROWS, CLASSES, IDENTITY, torch.device("cpu"))
    table.write(ALL, LOGITS)
    known, looks = KeptRows.known, []

    def known_late(kept, rows_B):
        looks.append(1)
        return known(kept, rows_B) & (len(looks) > 1)

    monkeypatch.setattr(KeptRows, "known", known_late)
    again = table_folder.open_folder(tmp_path, ROWS, CLASSES, IDENTITY, torch.device("cpu"))
    assert again.filled == ROWS and len(looks) == 2


def test_a_gpu_is_asked_for_the_memory_of_a_folders_table(monkeypatch):
    """The table goes there as a whole, whatever the disk has."""
    teacher = SimpleNamespace(fabric=SimpleNamespace(device=torch.device("cuda")))
    asked = []
    monkeypatch.setattr(cache, "available_bytes", lambda device: asked.append(device.type) or 999)
    TeacherCache("folder")._refuse_size(teacher, 999)
    with pytest.raises(CacheError, match=r"0.0 MB of memory wanted, 0.0 MB are free.*--teacher-cache off"):
        TeacherCache("folder")._refuse_size(teacher, 1000)
    assert asked == ["cuda", "cuda"]
    TeacherCache("folder")._refuse_size(SimpleNamespace(fabric=SimpleNamespace(device=torch.device("cpu"))), 10**15)
